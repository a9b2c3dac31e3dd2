// One message. A change redraws only the part that changed.

import { act, state } from "./api.js";
import { h } from "./dom.js";
import { colour, controls, goesOn } from "./controls.js";
import { Gallery } from "./gallery.js";
import { markdown } from "./markdown.js";
import { menu } from "./popup.js";
import { showForm } from "./form.js";

const REACTIONS = ["👍", "👎", "❤️", "⭐", "✉️", "❌", "1️⃣", "2️⃣", "3️⃣", "4️⃣"];
const clock = new Intl.DateTimeFormat("en", { timeStyle: "short" });
const whole = new Intl.DateTimeFormat("en", { dateStyle: "full", timeStyle: "short" });

export function avatar(id, size) {
  if (id === state.bot) return h("img", { class: "avatar", src: "atelier.svg", alt: "", width: size, height: size });
  const seat = state.seats.findIndex((each) => each.id === id);
  return h("span", { class: `avatar letter letter-${seat}`, "aria-hidden": "true" }, (state.names.people[id] ?? "?")[0]);
}

const nameOf = (id) => state.names.people[id] ?? "Someone";

export class MessageView {
  constructor(message, lazy) {
    this.message = message;
    this.gallery = new Gallery();
    this.parts = Object.fromEntries(["used", "body", "embeds", "controls", "reactions", "foot"].map((name) => [name, h("div", { class: name })]));
    this.shown = {};
    this.more = h("button", { type: "button", class: "more", "aria-haspopup": "menu", "aria-expanded": "false", "aria-label": "More for this message", title: "Reactions, commands for this message, delete", onclick: () => this.menu() }, "⋯");
    const at = new Date(message.at);
    this.parts.meta = h("div", { class: "meta" }, h("span", { class: "author" }, nameOf(message.author)), message.author === state.bot && h("span", { class: "badge" }, "APP"),
      h("time", { datetime: message.at, title: whole.format(at) }, clock.format(at)));
    this.element = h("li", { class: "message", id: `message-${message.id}` },
      h("article", { "aria-label": `${nameOf(message.author)}, ${clock.format(at)}` },
        this.parts.used, avatar(message.author, 40),
        h("div", { class: "column" }, this.parts.meta, this.parts.body, this.gallery.element, this.parts.embeds, this.parts.controls, this.parts.reactions, this.parts.foot)),
      this.more);
    this.element.addEventListener("contextmenu", (event) => {
      if (event.target.closest("a, img, input, textarea") || String(getSelection())) return;
      event.preventDefault();
      this.menu();
    });
    this.update(message, lazy);
  }

  update(message, lazy = false) {
    this.message = message;
    this.element.classList.toggle("hidden-message", message.hidden);
    this.redraw("used", message.used, () => message.used ? [h("span", {}, h("b", {}, nameOf(message.used.by)), " used ", h("b", {}, `/${message.used.name}`))] : []);
    this.redraw("body", [message.content, message.edited, message.waits], () => this.body());
    this.gallery.show(message.files, lazy);
    this.redraw("embeds", message.embeds, () => message.embeds.map(embed));
    this.redraw("controls", message.components, () => controls(message.components, message.id));
    this.redraw("reactions", message.reactions, () => message.reactions.map((each) => this.reaction(each)));
    // Reactions come a moment after a result. Their room is kept, so that no button moves under the pointer.
    const isResult = message.author === state.bot && message.files.length && !message.hidden && goesOn(message.components);
    this.parts.reactions.hidden = !message.reactions.length && !isResult;
    this.redraw("foot", message.hidden, () => message.hidden ? ["Only you can see this · ", h("button", { type: "button", class: "link", onclick: () => this.act({ kind: "dismiss" }) }, "Dismiss")] : []);
  }

  redraw(name, what, draw) {
    const mark = JSON.stringify(what ?? null);
    if (this.shown[name] === mark) return;
    this.shown[name] = mark;
    const part = this.parts[name];
    const focused = part.contains(document.activeElement) ? document.activeElement.dataset.control : null;
    part.replaceChildren(...draw());
    part.hidden = !part.childNodes.length;
    if (focused) [...part.querySelectorAll("[data-control]")].find((each) => each.dataset.control === focused)?.focus();
  }

  body() {
    if (this.message.waits && !this.message.content) return [h("p", { class: "thinking" }, "Atelier is thinking", h("span", { class: "dots", "aria-hidden": "true" }, "…"))];
    return this.message.content ? markdown(this.message.content) : [];
  }

  reaction({ emoji, count, mine }) {
    return h("button", { type: "button", class: "reaction", "aria-pressed": String(mine), "data-control": emoji, "aria-label": `${emoji}, ${count || "no"} ${count === 1 ? "reaction" : "reactions"}`,
      onclick: () => this.act({ kind: "react", emoji, on: !mine }) }, h("span", { class: "emoji" }, emoji), count > 0 && ` ${count}`);
  }

  async act(asked) {
    const answer = await act({ ...asked, message: this.message.id });
    if (answer?.form) showForm(answer.form);
  }

  menu() {
    const { message } = this;
    const mine = new Set(message.reactions.filter((each) => each.mine).map((each) => each.emoji));
    const reactions = message.hidden ? [] : REACTIONS.map((emoji) => ({ label: `React with ${emoji}`, icon: emoji, run: () => this.act({ kind: "react", emoji, on: !mine.has(emoji) }) }));
    const apps = message.hidden ? [] : state.menus.map((name) => ({ label: name, run: () => this.act({ kind: "menu", name }) }));
    const copy = { label: "Copy the text", run: () => navigator.clipboard?.writeText(message.content) };
    const mayDelete = !message.hidden && (message.author === state.me || state.moderates);
    const remove = { label: "Delete the message", danger: true, run: () => this.act({ kind: "delete" }) };
    menu(this.more, "For this message", [
      { title: "React", entries: reactions, across: true },
      { title: "Apps", entries: apps },
      { title: "Message", entries: mayDelete ? [copy, remove] : [copy] },
    ]);
  }
}

function embed(part) {
  const picture = part.image?.url?.startsWith("files/") ? h("img", { src: part.image.url, alt: part.title ?? "" }) : null;
  const box = h("div", { class: "embed" },
    part.author && h("p", { class: "small" }, part.author.name),
    part.title && h("p", { class: "title title-3" }, markdown(part.title)[0]),
    part.description && h("div", {}, markdown(part.description)),
    (part.fields ?? []).map((field) => h("div", { class: field.inline ? "embed-field inline" : "embed-field" }, h("b", {}, field.name), h("div", {}, markdown(field.value)))),
    picture, part.footer && h("p", { class: "small" }, part.footer.text));
  if (part.color) box.style.borderLeftColor = colour(part.color);
  return box;
}
