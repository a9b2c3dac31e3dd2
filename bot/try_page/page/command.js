// A slash command that is being filled in: a field for each option, with choices before a letter is typed.

import { act } from "./api.js";
import { freshId, h } from "./dom.js";
import { channels, people, roles } from "./controls.js";
import { showForm } from "./form.js";
import { Suggestions } from "./popup.js";

const PAUSE = 120; // milliseconds after a letter until choices are asked for
const LISTS = { user: people, role: roles, channel: channels, mentionable: () => [...people(), ...roles()] };
const entry = ([label, value]) => ({ label, value: String(value) });

class Field {
  constructor(form, option) {
    this.option = option;
    this.form = form;
    this.value = null;
    const id = freshId("option");
    this.input = option.kind === "attachment"
      ? h("input", { id, type: "file" })
      : h("input", { id, type: "text", autocomplete: "off", spellcheck: option.name === "prompt" ? "true" : "false", placeholder: option.description, "aria-describedby": `${id}-hint`,
        inputmode: { integer: "numeric", number: "decimal" }[option.kind], maxlength: option.max_length });
    this.element = h("div", { class: option.kind === "string" && option.required ? "option-field wide" : "option-field" },
      h("label", { for: id }, option.name), this.input, h("span", { id: `${id}-hint`, class: "unseen" }, option.description),
      !option.required && h("button", { type: "button", class: "drop", "aria-label": `Remove ${option.name}`, onclick: () => form.remove(this) }, "×"));
    if (this.choices) {
      this.list = new Suggestions(this.input, (taken) => this.take(taken), { name: `Choices for ${option.name}` });
      this.input.addEventListener("focus", () => this.suggest(true));
      this.input.addEventListener("click", () => { if (!this.list.open) this.suggest(true); });
      this.input.addEventListener("input", () => { this.value = null; clearTimeout(this.pause); this.pause = setTimeout(() => this.suggest(false), PAUSE); });
    }
    this.input.addEventListener("keydown", (event) => {
      if (this.list?.key(event)) return;
      if (event.key === "Enter") { event.preventDefault(); form.send(); }
      if (event.key === "Escape") { event.preventDefault(); form.close(); }
      if (event.key === "Backspace" && !this.input.value && !option.required) { event.preventDefault(); form.remove(this); }
    });
  }

  // What gives the choices: the command itself, those it lists, or the people and places of the server.
  get choices() {
    const { option } = this;
    if (option.completes) return () => this.ask();
    if (option.choices.length) return () => option.choices.map(entry);
    if (option.kind === "boolean") return () => [{ label: "True", value: "true" }, { label: "False", value: "false" }];
    return LISTS[option.kind] ?? null;
  }

  async ask() {
    const answer = await act({ kind: "complete", name: this.form.command.name, option: this.option.name, typed: this.value ? "" : this.input.value, options: this.form.values(this) });
    return (answer?.choices ?? []).map(entry);
  }

  async suggest(all) {
    const typed = this.input.value;
    const found = await this.choices();
    if (document.activeElement !== this.input || this.input.value !== typed) return;
    const matches = this.option.completes || all ? found : found.filter((each) => each.label.toLowerCase().includes(typed.toLowerCase()));
    this.list.show(matches);
  }

  take({ label, value }) {
    this.input.value = label;
    this.value = value;
    this.form.next(this);
  }

  // The value to send; null if there is none. A choice may be typed by its name.
  read() {
    if (this.option.kind === "attachment") return null;
    if (this.value !== null) return this.value;
    const typed = this.input.value.trim();
    if (!typed) return null;
    const known = this.option.completes ? [] : this.choices?.() ?? [];
    return known.find((each) => each.label.toLowerCase() === typed.toLowerCase())?.value ?? typed;
  }
}

export class CommandForm {
  constructor(command, words, { done, left }) {
    this.command = command;
    this.done = done;
    this.left = left;
    this.fields = [];
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.line = h("div", { class: "options" });
    this.rest = h("div", { class: "rest", role: "group", "aria-label": "More options" });
    this.button = h("button", { type: "button", class: "control primary", onclick: () => this.send() }, "Send");
    this.element = h("div", { class: "command", role: "group", "aria-label": `Command ${command.name}` },
      h("div", { class: "command-head" }, h("b", {}, `/${command.name}`), h("span", { class: "hint" }, command.description),
        h("button", { type: "button", class: "drop", "aria-label": "Leave this command", onclick: () => this.close() }, "×")),
      this.line, this.problem, h("div", { class: "command-foot" }, this.rest, this.button));
    for (const option of command.options.filter((each) => each.required)) this.add(option);
    if (words) {
      const first = command.options.find((each) => each.required && each.kind === "string");
      if (first) this.fields[0].input.value = words;
    }
    this.list();
  }

  list() {
    const left = this.command.options.filter((option) => !this.fields.some((field) => field.option === option));
    this.rest.replaceChildren(...left.map((option) => h("button", { type: "button", class: "chip", title: option.description, onclick: () => this.add(option).input.focus() }, `+ ${option.name}`)));
    this.rest.hidden = !left.length;
  }

  add(option) {
    const field = new Field(this, option);
    this.fields.push(field);
    this.line.append(field.element);
    this.list();
    return field;
  }

  remove(field) {
    field.list?.remove();
    field.element.remove();
    this.fields = this.fields.filter((each) => each !== field);
    this.list();
    this.focus();
  }

  focus() {
    const open = this.fields.find((each) => !each.input.value) ?? this.fields.at(-1);
    (open?.input ?? this.button).focus();
  }

  next(field) {
    const after = this.fields.slice(this.fields.indexOf(field) + 1).find((each) => !each.input.value);
    (after?.input ?? this.button).focus();
  }

  values(except) {
    return Object.fromEntries(this.fields.filter((field) => field !== except).map((field) => [field.option.name, field.read()]).filter(([, value]) => value !== null));
  }

  async send() {
    const empty = this.fields.find((field) => field.option.required && !field.input.value);
    if (empty) {
      this.problem.textContent = `Fill in ${empty.option.name}: ${empty.option.description}.`;
      this.problem.hidden = false;
      return empty.input.focus();
    }
    const files = Object.fromEntries(this.fields.filter((field) => field.input.files?.length).map((field) => [field.option.name, [...field.input.files]]));
    this.button.disabled = true;
    const answer = await act({ kind: "command", name: this.command.name, options: this.values() }, files);
    this.button.disabled = false;
    if (!answer) return;
    this.clear();
    this.done();
    if (answer.form) showForm(answer.form);
  }

  // Puts files into the first fields for files, and opens those that are needed; returns those that found no place.
  attach(files) {
    const places = this.command.options.filter((option) => option.kind === "attachment");
    return files.filter((file) => {
      const free = places.find((option) => !this.fields.some((field) => field.option === option && field.input.files.length));
      if (!free) return true;
      const field = this.fields.find((each) => each.option === free) ?? this.add(free);
      const transfer = new DataTransfer();
      transfer.items.add(file);
      field.input.files = transfer.files;
      return false;
    });
  }

  clear() { for (const field of this.fields) field.list?.remove(); }
  close() { this.clear(); this.left(); }
}
