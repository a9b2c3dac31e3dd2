// A slash command that is being filled in: a field for each option, with choices before a letter is typed.

import { act } from "./api.js";
import { readArguments } from "./arguments.js";
import { freshId, h, plain } from "./dom.js";
import { channels, people, roles } from "./controls.js";
import { showForm } from "./form.js";
import { toEnd } from "./log.js";
import { Suggestions } from "./popup.js";

const PAUSE = 120; // milliseconds after a letter until choices are asked for
const LISTS = { user: people, role: roles, channel: channels, mentionable: () => [...people(), ...roles()] };
const WANTED = { user: "A person", role: "A role", channel: "A channel", mentionable: "A person or a role", boolean: "True or False" };
const SENSIBLE = 1000000; // a larger limit says nothing to a person
const entry = ([label, value]) => ({ label, value: String(value) });

// The choices of an option that are known without asking the command; null if it has none.
function entriesOf(option) {
  if (option.completes) return null;
  if (option.choices.length) return option.choices.map(entry);
  if (option.kind === "boolean") return [{ label: "True", value: "true" }, { label: "False", value: "false" }];
  return LISTS[option.kind]?.() ?? null;
}

// From where to where a number goes; empty if that says nothing.
function range({ min_value: least, max_value: most }) {
  const number = (value) => value.toLocaleString("en");
  return least !== undefined && most <= SENSIBLE ? `${number(least)} to ${number(most)}` : "";
}

// What an empty field shows: its whole description stands under the fields while it has the focus.
function placeholder(option) {
  return WANTED[option.kind] ?? (option.choices.length ? "Choose one" : range(option) || option.description);
}

class Field {
  constructor(form, option) {
    this.option = option;
    this.form = form;
    this.value = null;
    const id = freshId("option");
    this.input = option.kind === "attachment"
      ? h("input", { id, type: "file" })
      : h("input", { id, type: "text", autocomplete: "off", spellcheck: option.name === "prompt" ? "true" : "false", placeholder: placeholder(option), "aria-describedby": `${id}-hint`,
        title: option.description, inputmode: { integer: "numeric", number: "decimal" }[option.kind], maxlength: option.max_length });
    this.element = h("div", { class: option.kind === "string" && option.required ? "option-field wide" : "option-field" },
      h("label", { for: id }, option.name), this.input, h("span", { id: `${id}-hint`, class: "unseen" }, option.description),
      !option.required && h("button", { type: "button", class: "drop", "aria-label": `Remove ${option.name}`, onclick: () => form.remove(this) }, "×"));
    this.input.addEventListener("focus", () => form.about(option));
    this.input.addEventListener("input", () => { form.corrected(option); form.about(option); });
    if (option.completes || entriesOf(option)) {
      this.list = new Suggestions(this.input, (taken) => this.take(taken), { name: `Choices for ${option.name}`, around: form.element });
      this.input.addEventListener("focus", () => { if (this.value === null) this.suggest(true); });
      this.input.addEventListener("click", () => { if (!this.list.open) this.suggest(true); });
      this.input.addEventListener("input", () => this.typed());
    }
    this.input.addEventListener("keydown", (event) => {
      if (this.list?.key(event) || event.isComposing) return;
      if (event.key === "Enter") { event.preventDefault(); form.send(); }
      if (event.key === "Backspace" && !this.input.value && !option.required) { event.preventDefault(); form.remove(this); }
    });
  }

  // Looks for what fits the letters. Until a command has answered, Enter takes nothing of its last answer.
  typed() {
    this.value = null;
    if (!this.option.completes) return this.suggest(false);
    this.list.mark(-1);
    clearTimeout(this.pause);
    this.pause = setTimeout(() => this.suggest(false), PAUSE);
  }

  async ask() {
    const answer = await act({ kind: "complete", name: this.form.command.name, option: this.option.name, typed: this.value ? "" : this.input.value, options: this.form.values(this) });
    return (answer?.choices ?? []).map(entry);
  }

  async suggest(all) {
    const typed = this.input.value;
    const found = this.option.completes ? await this.ask() : entriesOf(this.option);
    if (document.activeElement !== this.input || this.input.value !== typed) return;
    const matches = this.option.completes || all ? found : found.filter((each) => each.label.toLowerCase().includes(typed.toLowerCase()));
    this.list.show(matches, typed, all || !typed);
  }

  take({ label, value }) {
    this.input.value = label;
    this.value = value;
    this.form.corrected(this.option);
    this.form.next(this);
  }

  // The value to send; null if there is none. A choice may be typed by its name, or by a part that no other one has.
  read() {
    if (this.option.kind === "attachment") return null;
    if (this.value !== null) return this.value;
    const typed = this.input.value.trim();
    if (!typed) return null;
    const known = entriesOf(this.option) ?? [];
    const whole = known.find((each) => each.label.toLowerCase() === typed.toLowerCase());
    const parts = known.filter((each) => each.label.toLowerCase().includes(typed.toLowerCase()));
    return (whole ?? (parts.length === 1 ? parts[0] : null))?.value ?? typed;
  }
}

export class CommandForm {
  // Fills the fields with the words that were typed. `done` gets the words that found no place; `left` gets those and
  // the command as it could be typed again, and the files.
  constructor(command, words, { done, left }) {
    this.command = command;
    this.done = done;
    this.left = left;
    this.fields = [];
    this.over = "";
    this.hint = h("p", { class: "about" });
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.line = h("div", { class: "options" });
    this.rest = h("div", { class: "rest", role: "group", "aria-label": "More options" });
    this.button = h("button", { type: "button", class: "control primary", onclick: () => this.send() }, "Send");
    this.element = h("div", { class: "command", role: "group", "aria-label": `Command ${command.name}` },
      h("div", { class: "command-head" }, h("b", {}, `/${command.name}`), h("span", { class: "hint" }, command.description),
        h("button", { type: "button", class: "drop", "aria-label": "Leave this command", title: "Leave this command", onclick: () => this.close() }, "×")),
      this.line, this.hint, this.problem, h("div", { class: "command-foot" }, this.rest, this.button));
    this.element.addEventListener("keydown", (event) => { if (event.key === "Escape" && !event.isComposing) { event.preventDefault(); this.close(); } });
    for (const option of command.options.filter((each) => each.required)) this.add(option);
    this.fill(words);
    this.list();
  }

  fill(words) {
    const { given, left, wrong } = readArguments(this.command, words, entriesOf);
    for (const [option, { label, value }] of given) {
      const field = this.fields.find((each) => each.option === option) ?? this.add(option);
      field.input.value = label;
      field.value = value;
    }
    this.over = left;
    this.wrong = wrong[0]?.option;
    const over = left && `No option of this command takes “${left}”. It stays in the message box.`;
    this.say([...wrong.map((each) => each.words), over].filter(Boolean).join(" "));
  }

  // Shows the whole description of an option; without one, that the command could be sent.
  about(option) {
    this.told = option;
    const general = this.isReady ? `Send it as it is${this.rest.hidden ? "." : ", or press an option to add it."}` : "";
    this.hint.replaceChildren(...(option ? [h("b", {}, option.name), ` ${[option.description, range(option), option.required && "needed"].filter(Boolean).join(" · ")}`] : [general]));
  }

  // Shows what is wrong, between the fields and the button.
  say(words) {
    this.problem.textContent = plain(words);
    this.problem.hidden = !words;
  }

  // What was wrong about a field is changed, so nothing is said of it any more.
  corrected(option) {
    if (option === this.wrong) this.wrong = null;
    this.say("");
  }

  // An option is told when the pointer moves over it, not when it only lies where the form opens.
  list() {
    const left = this.command.options.filter((option) => !this.fields.some((field) => field.option === option));
    this.rest.replaceChildren(...left.map((option) => h("button", { type: "button", class: "chip", title: option.description, onfocus: () => this.about(option), onpointermove: (event) => { if (event.movementX || event.movementY) this.about(option); }, onclick: () => this.add(option).input.focus() }, `+ ${option.name}`)));
    this.rest.hidden = !left.length;
    if (!this.told) this.about(null);
  }

  add(option) {
    const field = new Field(this, option);
    this.fields.push(field);
    this.line.append(field.element);
    this.list();
    return field;
  }

  remove(field) {
    if (field.option === this.wrong) this.wrong = null;
    field.list?.remove();
    field.element.remove();
    this.fields = this.fields.filter((each) => each !== field);
    this.list();
    this.focus();
  }

  // Goes to the first field that is wrong or must be filled in, else to where one would go on writing.
  focus() {
    const empty = this.fields.find((field) => field.option === this.wrong || (field.option.required && !field.input.value));
    const last = this.fields.findLast((field) => !field.list);
    (empty?.input ?? last?.input ?? this.button).focus();
  }

  next(field) {
    const after = this.fields.slice(this.fields.indexOf(field) + 1).find((each) => !each.input.value);
    (after?.input ?? this.empty?.input ?? this.button).focus();
  }

  values(except) {
    return Object.fromEntries(this.fields.filter((field) => field !== except).map((field) => [field.option.name, field.read()]).filter(([, value]) => value !== null));
  }

  get empty() { return this.fields.find((field) => field.option.required && !field.input.value); }

  // Whether nothing is missing, wrong or left over.
  get isReady() { return !this.empty && !this.wrong && !this.over; }

  // Sends the command; returns whether it was taken.
  async send() {
    const { empty } = this;
    if (empty) {
      this.say(`Fill in ${empty.option.name} first.`);
      empty.input.focus();
      return false;
    }
    this.wrong = null;
    this.say("");
    toEnd();
    const files = Object.fromEntries(this.fields.filter((field) => field.input.files?.length).map((field) => [field.option.name, [...field.input.files]]));
    this.button.disabled = true;
    const answer = await act({ kind: "command", name: this.command.name, options: this.values() }, files, (words) => this.refused(words));
    this.button.disabled = false;
    if (!answer) return false;
    this.clear();
    this.done(this.over);
    if (answer.form) showForm(answer.form);
    return true;
  }

  // Shows why the command was refused, and goes to the field that is named first.
  refused(words) {
    this.say(words);
    const name = /`([^`]+)`/.exec(words)?.[1];
    const field = this.fields.find((each) => each.option.name === name);
    this.wrong = field?.option;
    field?.input.focus();
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

  // The command as it could be typed; empty if no field is filled in.
  typed() {
    const filled = this.fields.filter((field) => field.option.kind !== "attachment" && field.input.value.trim());
    const pairs = filled.map((field) => `${field.option.name}:${field.input.value.trim()}`);
    return filled.length || this.over ? [`/${this.command.name}`, this.over, ...pairs].filter(Boolean).join(" ") : "";
  }

  clear() { for (const field of this.fields) field.list?.remove(); }

  close() {
    this.clear();
    this.left(this.typed(), this.fields.flatMap((field) => [...(field.input.files ?? [])]));
  }
}
