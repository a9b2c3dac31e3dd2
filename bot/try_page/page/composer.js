// The box in which one writes, adds files and chooses commands, with the examples and advice above it.

import { act, state } from "./api.js";
import { CommandForm } from "./command.js";
import { commandIn, fitting, isUnclear, nearest, wordsAfter } from "./commands.js";
import { byId, h, NARROW, toast } from "./dom.js";
import { Examples } from "./examples.js";
import { showForm } from "./form.js";
import { toEnd } from "./log.js";
import { Suggestions } from "./popup.js";

const SHORT = 40; // characters of one's words on a button

let files = [];
let form = null;
let input, list, chips, box, advice, examples;

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

// Opens a command with the words that were typed after it. One that takes no options is used at once, and with `now` also
// one whose words and files are all that it needs.
async function openCommand(name, words = "", now = false) {
  const command = state.commands.find((each) => each.name === name);
  if (!command) return toast("You do not have that command here.");
  advise();
  if (!command.options.length) {
    if (!words) return use(name);
    write(`/${name} ${words}`);
    return advise(`/${name} takes no words after it. What you typed is still in the box.`, [`/${name}`, () => use(name)]);
  }
  const back = (typed) => { box.replaceWith(box = simple()); write([typed, form.draft].filter(Boolean).join("\n")); form = null; };
  const made = new CommandForm(command, words, {
    done: (over) => { if (form === made) back(over); },
    left: (typed, added) => { back(typed); files = [...files, ...added]; showFiles(); },
  });
  files = made.attach(files);
  if (now && made.isReady && !files.length) {
    showFiles();
    if (await made.send()) return;
  }
  // What stands in the box, and what the command cannot take, is there for the next message.
  made.draft = form ? [form.typed(), form.draft].filter(Boolean).join("\n") : input.value;
  form?.clear();
  form = made;
  list.remove();
  box.replaceWith(box = form.element);
  place();
  form.focus();
}

async function use(name, options = {}) {
  toEnd();
  const answer = await act({ kind: "command", name, options });
  if (answer?.form) showForm(answer.form);
}

function tryOut({ command, words, images }) {
  if (command) return openCommand(command, words, true);
  return use(state.command, images ? { prompt: words, images } : { prompt: words });
}

function write(text) {
  input.value = text;
  input.focus();
  grow();
}

// Shows a sentence above the box, with buttons for what could be meant; nothing without one.
function advise(words = "", ...buttons) {
  advice.replaceChildren(words, ...buttons.map(([label, run]) => h("button", { type: "button", class: "chip", onclick: () => { advise(); run(); } }, label)));
  advice.classList.toggle("unseen", !words);
}

function cut(text) { return text.length > SHORT ? `${text.slice(0, SHORT).trimEnd()}…` : text; }

function show(found) {
  list.show(found.map((command) => ({ label: `/${command.name}`, hint: command.description, value: command.name })), input.value.trim());
}

function suggest() {
  const typed = input.value;
  if (!typed.startsWith("/") || typed.includes("\n")) return list.hide();
  show(fitting(state.commands, typed.slice(1)));
}

function take({ value: name }, isChosen) {
  const typed = input.value;
  const takesOptions = state.commands.find((each) => each.name === name)?.options.length;
  // The first one of several opens or is written out, but is not used unseen.
  if (!isChosen && !takesOptions && isUnclear(fitting(state.commands, typed.slice(1)), typed.slice(1))) {
    write(`/${name}`);
    return suggest();
  }
  input.value = "";
  openCommand(name, wordsAfter(typed, name));
}

function send() {
  const typed = input.value;
  if (!typed.trim() && !files.length) return;
  if (!typed.startsWith("/")) return post(typed);
  const known = commandIn(state.commands, typed);
  if (known) { write(""); return openCommand(known.command.name, known.words, Boolean(known.words || files.length)); }
  const word = typed.slice(1).split(/\s/)[0];
  const whole = fitting(state.commands, typed.slice(1).trim());
  const found = whole.length || !word ? whole : fitting(state.commands, word);
  const like = found.length === 1 ? { command: found[0], words: wordsAfter(typed, found[0].name) } : nearest(state.commands, typed);
  if (!like && found.length) {
    show(found);
    return advise(`Several commands fit “${cut(typed.trim())}”. Choose one of the list.`);
  }
  const meant = like && [cut(`/${like.command.name} ${like.words}`.trim()), () => { write(""); openCommand(like.command.name, like.words, Boolean(like.words)); }];
  advise(`You have no command “/${cut(word)}” here.${like ? " Did you mean this?" : " Type / to see yours; moderators have more."}`, ...[meant].filter(Boolean), ["Send it as text", () => post(typed)]);
}

// Says that text is only chat, and offers to paint it, in the main channel for one who writes to Atelier alone.
function adviseToPaint(words) {
  const main = here()?.direct ? state.channels[0] : null;
  const paint = () => {
    if (main) document.dispatchEvent(new CustomEvent("enter", { detail: main.id }));
    openCommand(state.command, words, Boolean(words));
  };
  advise(`Ordinary text is only chat: Atelier does not answer it. To paint it${main ? ` in #${main.name}` : ""}:`, [cut(`/${state.command} ${words}`.trim()), paint]);
}

async function post(typed) {
  const sent = files;
  input.value = "";
  files = [];
  showFiles();
  grow();
  advise();
  if (!await act({ kind: "say", content: typed }, { file: sent })) {
    // Nothing that was typed is lost.
    write(typed);
    files = sent;
    showFiles();
  } else if (typed.trim()) adviseToPaint(typed.replace(/^\/\S*/, "").trim());
}

function simple() {
  const pick = h("input", { type: "file", multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => { addFiles(pick.files); pick.value = ""; } });
  input = h("textarea", { id: "say", rows: 1, maxlength: 2000, "aria-label": "Message, or a command after a slash" });
  chips = h("div", { class: "chosen-files", hidden: true });
  list = new Suggestions(input, take, { name: "Commands" });
  input.addEventListener("input", () => { grow(); advise(); suggest(); });
  input.addEventListener("keydown", (event) => {
    if (list.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  });
  const made = h("div", { class: "box" }, chips, h("div", { class: "line" },
    h("button", { type: "button", class: "round", "aria-label": "Add a file", title: "Add a file", onclick: () => pick.click() }, "+"), pick, input,
    h("button", { type: "button", class: "round slash", "aria-label": "Show the commands", title: "Show the commands", onclick: () => { input.value = "/"; input.focus(); suggest(); } }, "/"),
    h("button", { type: "button", class: "round", "aria-label": "Send", title: "Send", onclick: send }, "➤")));
  showFiles();
  queueMicrotask(place);
  return made;
}

const here = () => state.channels.find((channel) => channel.id === state.channel);

// Names the place in which one writes.
export function place() {
  const channel = here();
  if (channel) input.placeholder = `${!NARROW.matches ? `Message ${channel.direct ? "" : "#"}${channel.name}, or type ` : "Type "}/ for commands`;
  examples.element.hidden = Boolean(channel?.direct || form);
  examples.draw();
}

// Ends what was begun in one channel or as one person; what was typed stays in the box.
export function leaveCommand() {
  form?.close();
  advise();
}

export function startComposer() {
  const composer = byId("composer");
  examples = new Examples(tryOut);
  advice = h("p", { class: "advice unseen", role: "status" });
  box = simple();
  composer.append(examples.element, advice, box);
  NARROW.addEventListener("change", place);
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
