// Buttons, menus and containers of a message: https://discord.com/developers/docs/components/reference

import { act, state } from "./api.js";
import { h } from "./dom.js";
import { markdown } from "./markdown.js";
import { Gallery } from "./gallery.js";
import { showForm } from "./form.js";
import { choose } from "./popup.js";

const STYLES = { 1: "primary", 2: "secondary", 3: "success", 4: "danger", 5: "link-button" };

export const people = () => state.seats.map((seat) => ({ label: state.names.people[seat.id], value: seat.id }));
const named = (kind, sign) => () => Object.entries(state.names[kind]).map(([value, name]) => ({ label: sign + name, value }));
export const roles = named("roles", "@");
export const channels = named("channels", "#");
const ENTITIES = { 5: people, 6: roles, 7: () => [...people(), ...roles()], 8: channels };

// What buttons with a sign instead of words do; Discord shows no such hints.
const SIGNS = {
  "🔁": "Paint the same words again with another seed", "❤️": "Make this a favourite of yours",
  "⬅️": "Paint on to the left of the picture", "➡️": "Paint on to the right of the picture", "⬆️": "Paint on above the picture", "⬇️": "Paint on below the picture",
};
const NUMBER = /^([UV])(\d+)$/;
const NUMBERED = { U: "Show picture # alone, with its own buttons", V: "Paint variations of picture #" };

function hintFor(label) {
  const numbered = NUMBER.exec(label);
  return numbered ? NUMBERED[numbered[1]].replace("#", numbered[2]) : SIGNS[label];
}

const emojiOf = (emoji) => emoji ? (emoji.id ? `:${emoji.name}:` : emoji.name) : "";

// Does something to a message by one of its controls, which shows meanwhile that it is busy.
async function use(control, asked) {
  control.setAttribute("aria-busy", "true");
  const answer = await act(asked);
  control.removeAttribute("aria-busy");
  if (answer?.form) showForm(answer.form);
}

function button(part, message) {
  const emoji = emojiOf(part.emoji);
  const words = [emoji && h("span", { class: "emoji", "aria-hidden": part.label ? "true" : null }, emoji), part.label];
  if (part.style === 5) return h("a", { class: "control link-button", href: part.url, target: "_blank", rel: "noopener noreferrer" }, words);
  const made = h("button", { type: "button", class: `control ${STYLES[part.style] ?? "secondary"}`, disabled: part.disabled, "data-control": part.custom_id }, words);
  const hint = hintFor(part.label || emoji);
  // A name begins with what is to be seen, so that who speaks to the page may say that.
  if (hint) { made.title = hint; made.setAttribute("aria-label", `${part.label || emoji} ${hint}`); }
  made.addEventListener("click", () => {
    if (!made.hasAttribute("aria-busy")) use(made, { kind: "click", message, control: part.custom_id });
  });
  return made;
}

function select(part, message) {
  const entries = part.type === 3
    ? part.options.map((option) => ({ label: option.label, hint: option.description, icon: emojiOf(option.emoji), value: option.value, chosen: option.default }))
    : ENTITIES[part.type]();
  const chosen = entries.filter((entry) => entry.chosen).map((entry) => entry.label).join(", ");
  const name = part.placeholder || "Choose";
  const made = h("button", { type: "button", class: "control select", "aria-haspopup": "listbox", "aria-expanded": "false", disabled: part.disabled, "data-control": part.custom_id },
    h("span", { class: chosen ? "" : "placeholder" }, chosen || name), h("span", { "aria-hidden": "true" }, "▾"));
  const limits = { least: part.min_values ?? 1, most: part.max_values ?? 1 };
  made.addEventListener("click", () => choose(made, name, entries, limits, (taken) =>
    use(made, { kind: "select", message, control: part.custom_id, values: taken.map((entry) => entry.value) })));
  return made;
}

function media(items) {
  const gallery = new Gallery();
  gallery.show(items.map((item, index) => ({
    id: item.media.url + index, url: item.media.url, name: "picture", alt: item.description ?? "", spoiler: item.spoiler,
    width: item.media.width ?? 512, height: item.media.height ?? 512, bytes: 0,
  })), true);
  return gallery.element;
}

const below = (part, message) => (part.components ?? []).map((child) => component(child, message));

function component(part, message) {
  switch (part.type) {
    case 1: return h("div", { class: "row" }, below(part, message));
    case 2: return button(part, message);
    case 3: case 5: case 6: case 7: case 8: return select(part, message);
    case 9: return h("div", { class: "section" }, h("div", {}, below(part, message)), part.accessory && component(part.accessory, message));
    case 10: return h("div", {}, markdown(part.content));
    case 11: return h("img", { class: "thumbnail", src: part.media.url, alt: part.description ?? "" });
    case 12: return media(part.items);
    case 13: return h("p", { class: "file" }, h("a", { href: part.file.url, download: true }, part.name ?? "file"));
    case 14: return part.divider === false ? h("div", { class: "gap" }) : h("hr");
    case 17: {
      const box = h("div", { class: "container" }, below(part, message));
      if (part.accent_color) box.style.borderLeftColor = colour(part.accent_color);
      return box;
    }
    default: return h("span");
  }
}

export const colour = (number) => `#${number.toString(16).padStart(6, "0")}`;

// The parts of a message, with words for its numbered buttons where no pointer can ask for them.
export function controls(parts, message) {
  const isNumbered = parts.some((row) => row.components?.some(({ label }) => NUMBER.test(label)));
  return [...parts.map((part) => component(part, message)), ...(isNumbered ? [h("p", { class: "legend" }, "U1 shows picture 1 alone, V1 paints variations of it.")] : [])];
}

// Whether something can be done with a message besides cancelling what it waits for.
export const goesOn = (parts) => parts.some((part) => part.type === 2 ? STYLES[part.style] !== "danger" : goesOn(part.components ?? []));
