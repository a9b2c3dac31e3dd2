// Forms that the bot opens: https://discord.com/developers/docs/components/reference#label

import { act } from "./api.js";
import { freshId, h, plain } from "./dom.js";
import { markdown } from "./markdown.js";

function field(part, label, hint) {
  const id = freshId("field");
  const described = hint ? `${id}-hint` : null;
  const required = part.required ?? [3, 4].includes(part.type);
  const common = { id, name: part.custom_id, required, "aria-describedby": described };
  let control, read;
  const options = part.options ?? [];
  const many = (kind) => {
    control = h("div", { id, role: "group", "aria-label": label, "aria-describedby": described }, options.map((option) =>
      h("label", { class: "tick" }, h("input", { type: kind, name: part.custom_id, value: option.value, checked: option.default }), h("span", {}, option.label, option.description && h("small", {}, option.description)))));
    return () => [...control.querySelectorAll("input:checked")].map((input) => input.value);
  };
  switch (part.type) {
    case 3: {
      const several = (part.max_values ?? 1) > 1;
      control = h("select", { ...common, multiple: several }, !several && h("option", { value: "" }, part.placeholder ?? "Choose"),
        options.map((option) => h("option", { value: option.value, selected: option.default }, option.label)));
      read = () => [...control.selectedOptions].map((option) => option.value).filter(Boolean);
      break;
    }
    case 19:
      control = h("input", { ...common, type: "file", multiple: (part.max_values ?? 1) > 1 });
      break;
    case 21: {
      const ticked = many("radio");
      read = () => ticked()[0] ?? null;
      break;
    }
    case 22: read = many("checkbox"); break;
    case 23:
      control = h("input", { ...common, required: false, type: "checkbox", checked: part.default });
      read = () => control.checked;
      break;
    default: {
      const limits = { minlength: part.min_length || null, maxlength: part.max_length, placeholder: part.placeholder };
      control = part.style === 2 ? h("textarea", { ...common, ...limits, rows: 3 }) : h("input", { ...common, ...limits, type: "text", autocomplete: "off" });
      control.value = part.value ?? "";
      read = () => control.value;
    }
  }
  const element = h("div", { class: "field" },
    h("label", { for: id }, label, required && h("span", { class: "needed", "aria-hidden": "true" }, " *")),
    hint && h("p", { id: described, class: "hint" }, hint), control);
  return { element, name: part.custom_id, read, files: part.type === 19 ? () => [...control.files] : null };
}

// Shows a form until it is sent or left; what was typed stays when it cannot be sent.
export function showForm(form) {
  const fields = [];
  const body = form.components.map((part) => {
    if (part.type === 10) return h("div", {}, markdown(part.content));
    const inner = part.type === 18 ? [part.component] : part.components;
    return inner.map((child) => {
      const made = field(child, part.label ?? child.label, part.description);
      fields.push(made);
      return made.element;
    });
  });
  const send = h("button", { type: "submit", class: "control primary" }, "Submit");
  const title = freshId("title");
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const tell = (words) => { problem.textContent = plain(words); problem.hidden = false; };
  const dialog = h("dialog", { class: "form", "aria-labelledby": title, onclose: () => dialog.remove() },
    h("form", { method: "dialog", onsubmit: submit },
      h("h2", { id: title }, form.title), body, problem,
      h("div", { class: "form-bar" }, h("button", { type: "button", class: "control secondary", onclick: () => dialog.close() }, "Cancel"), send)));
  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    problem.hidden = true;
    const values = Object.fromEntries(fields.filter((each) => each.read).map((each) => [each.name, each.read()]).filter(([, value]) => value !== null && !(Array.isArray(value) && !value.length)));
    const files = Object.fromEntries(fields.filter((each) => each.files).map((each) => [each.name, each.files()]).filter(([, list]) => list.length));
    const answer = await act({ kind: "form", form: form.key, values }, files, tell);
    send.disabled = false;
    if (answer) dialog.close();
    if (answer?.form) showForm(answer.form);
  }
  document.body.append(dialog);
  dialog.showModal();
  fields[0]?.element.querySelector("input, textarea, select")?.focus();
}
