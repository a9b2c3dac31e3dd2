// The box in which one writes, adds files and chooses commands, and the examples above it.

import { act, state } from "./api.js";
import { CommandForm } from "./command.js";
import { byId, h, toast } from "./dom.js";
import { Suggestions } from "./popup.js";
import { showForm } from "./form.js";

const EXAMPLES = [
  { words: "a red apple on a blue background" },
  { words: "a fox in the snow" },
  { words: "a rocket in space", images: "4" },
];

let files = [];
let form = null;
let input, list, chips, box;

function grow() {
  input.style.height = "auto";
  input.style.height = `${Math.min(input.scrollHeight, 200)}px`;
}

function showFiles() {
  chips.replaceChildren(...files.map((file) => h("span", { class: "chip" }, file.name,
    h("button", { type: "button", class: "drop", "aria-label": `Remove ${file.name}`, onclick: () => { files = files.filter((each) => each !== file); showFiles(); } }, "×"))));
  chips.hidden = !files.length;
}

function addFiles(added) {
  if (form) {
    const left = form.attach([...added]);
    if (left.length) toast("This command takes no more files.");
    return;
  }
  files.push(...added);
  showFiles();
  input.focus();
}

// Opens a command, with words for its first option.
export function openCommand(name, words = "") {
  const command = state.commands.find((each) => each.name === name);
  if (!command) return toast("You do not have that command here.");
  form?.clear();
  const back = () => { form = null; box.replaceWith(box = simple()); input.focus(); };
  form = new CommandForm(command, words, { done: back, left: back });
  // What the command cannot take stays for the next message.
  files = form.attach(files);
  list.remove();
  box.replaceWith(box = form.element);
  place();
  form.focus();
}

async function run({ words, images }) {
  const options = images ? { prompt: words, images } : { prompt: words };
  const answer = await act({ kind: "command", name: state.command, options });
  if (answer?.form) showForm(answer.form);
}

function suggest() {
  const typed = input.value;
  if (!typed.startsWith("/") || typed.includes("\n")) return list.hide();
  const word = typed.slice(1).toLowerCase();
  const found = state.commands.filter((command) => command.name.includes(word));
  found.sort((a, b) => Number(b.name.startsWith(word)) - Number(a.name.startsWith(word)));
  list.show(found.map((command) => ({ label: `/${command.name}`, hint: command.description, value: command.name })), 0);
}

async function send() {
  const typed = input.value;
  const name = state.commands.map((command) => command.name).filter((each) => typed === `/${each}` || typed.startsWith(`/${each} `)).sort((a, b) => b.length - a.length)[0];
  if (name) { input.value = ""; return openCommand(name, typed.slice(name.length + 1).trim()); }
  if (!typed.trim() && !files.length) return;
  const sent = files;
  input.value = "";
  files = [];
  showFiles();
  grow();
  if (!await act({ kind: "say", content: typed }, { file: sent })) {
    // Nothing that was typed is lost.
    input.value = typed;
    files = sent;
    showFiles();
  }
}

function simple() {
  const pick = h("input", { type: "file", multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => { addFiles(pick.files); pick.value = ""; } });
  input = h("textarea", { id: "say", rows: 1, maxlength: 2000, "aria-label": "Message, or a command after a slash" });
  chips = h("div", { class: "chosen-files", hidden: true });
  list = new Suggestions(input, (taken) => { input.value = ""; openCommand(taken.value); }, { name: "Commands" });
  input.addEventListener("input", () => { grow(); suggest(); });
  input.addEventListener("keydown", (event) => {
    if (list.key(event)) return;
    if (event.key === "Tab" && list.open && list.active >= 0) { event.preventDefault(); return list.take(list.active); }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  });
  const made = h("div", { class: "box" }, chips, h("div", { class: "line" },
    h("button", { type: "button", class: "round", "aria-label": "Add a file", onclick: () => pick.click() }, "+"), pick, input,
    h("button", { type: "button", class: "round slash", "aria-label": "Show the commands", onclick: () => { input.value = "/"; input.focus(); suggest(); } }, "/"),
    h("button", { type: "button", class: "round", "aria-label": "Send", onclick: send }, "➤")));
  showFiles();
  queueMicrotask(place);
  return made;
}

// Names the place in which one writes.
export function place() {
  const here = state.channels.find((channel) => channel.id === state.channel);
  if (here) input.placeholder = `${innerWidth > 600 ? `Message ${here.direct ? "" : "#"}${here.name}, or type ` : "Type "}/ for commands`;
  byId("examples").hidden = Boolean(here?.direct || form);
}

export function leaveCommand() { form?.close(); }

export function startComposer() {
  const composer = byId("composer");
  const examples = h("div", { id: "examples", class: "examples", role: "group", "aria-label": "Examples" }, h("span", { class: "examples-title" }, "Try one:"),
    EXAMPLES.map((example) => h("button", { type: "button", class: "chip example", onclick: () => run(example) }, example.words, example.images && h("small", {}, ` ×${example.images}`))));
  composer.append(examples);
  box = simple();
  composer.append(box);
  const room = document.querySelector(".room");
  for (const kind of ["dragenter", "dragover"]) room.addEventListener(kind, (event) => { if (event.dataTransfer.types.includes("Files")) { event.preventDefault(); room.classList.add("dropping"); } });
  room.addEventListener("dragleave", (event) => { if (!room.contains(event.relatedTarget)) room.classList.remove("dropping"); });
  room.addEventListener("drop", (event) => { event.preventDefault(); room.classList.remove("dropping"); addFiles(event.dataTransfer.files); });
  document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) { event.preventDefault(); addFiles(event.clipboardData.files); } });
  document.addEventListener("command", (event) => openCommand(event.detail));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest("input, textarea, select, dialog, .popup") && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      if (form) return form.focus();
      input.value = "/";
      input.focus();
      suggest();
    }
  });
}
