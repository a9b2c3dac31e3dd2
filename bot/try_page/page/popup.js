// Lists to choose from, placed at what opened them: choices of an input, of a menu, of a message.

import { freshId, h, NARROW } from "./dom.js";

// Puts a list at what opened it, above or below `around`, which it must not cover.
function place(popup, anchor, around = anchor) {
  const { left, width: wide } = anchor.getBoundingClientRect();
  const box = around.getBoundingClientRect();
  const most = innerWidth - 16;
  const width = popup.matches(".menu") ? 240 : NARROW.matches ? most : Math.min(Math.max(wide, 260), most);
  popup.style.width = `${width}px`;
  popup.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  const above = box.top > innerHeight - box.bottom;
  popup.style.maxHeight = `${Math.min(440, (above ? box.top : innerHeight - box.bottom) - 16)}px`;
  popup.style.top = above ? "" : `${box.bottom + 6}px`;
  popup.style.bottom = above ? `${innerHeight - box.top + 6}px` : "";
}

function row(entry, id, properties = {}) {
  return h("li", { id, role: "option", "aria-selected": "false", class: "option", ...properties },
    entry.icon && h("span", { class: "icon", "aria-hidden": "true" }, entry.icon),
    h("span", { class: "what" }, entry.label),
    entry.hint && h("span", { class: "hint" }, entry.hint));
}

// The list below or above an input in which one types; the focus stays in the input.
export class Suggestions {
  // The list covers neither the input nor what is `around` it.
  constructor(input, choose, { name, around = input }) {
    this.input = input;
    this.around = around;
    this.moved = new ResizeObserver(() => place(this.list, this.input, this.around));
    this.choose = choose;
    this.list = h("ul", { id: freshId("list"), role: "listbox", "aria-label": name, class: "popup", hidden: true });
    this.entries = [];
    this.active = -1;
    document.body.append(this.list);
    for (const [key, value] of Object.entries({ role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.list.id })) {
      input.setAttribute(key, value);
    }
    // The input keeps the focus while the list is pressed.
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const index = [...this.list.children].indexOf(event.target.closest("li"));
      if (index >= 0 && this.entries[index]) this.take(index, true);
    });
    input.addEventListener("blur", () => this.hide());
  }

  get open() { return !this.list.hidden; }

  // Shows the entries; the one that was typed in full is marked, else the first one that has the words in it. Enter and Tab
  // take the marked one. With `isPassed`, Tab takes none until the mark is moved: it is also how one goes past a field.
  show(entries, typed = "", isPassed = false) {
    this.entries = entries;
    if (!entries.length) return this.hide();
    this.isMoved = false;
    this.isPassed = isPassed;
    const words = typed.toLowerCase();
    const whole = entries.findIndex(({ label }) => label.toLowerCase() === words);
    const active = whole >= 0 ? whole : entries.findIndex(({ label }) => label.toLowerCase().includes(words));
    this.list.replaceChildren(...entries.map((entry, index) => row(entry, `${this.list.id}-${index}`)));
    this.list.hidden = false;
    place(this.list, this.input, this.around);
    this.moved.observe(this.around);
    this.input.setAttribute("aria-expanded", "true");
    this.mark(active);
  }

  hide() {
    this.moved.disconnect();
    this.list.hidden = true;
    this.active = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  mark(index) {
    this.list.children[this.active]?.setAttribute("aria-selected", "false");
    this.active = index;
    const item = this.list.children[index];
    if (!item) return this.input.removeAttribute("aria-activedescendant");
    item.setAttribute("aria-selected", "true");
    item.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", item.id);
  }

  // `isChosen` tells that the person went to this one; it is not only the first one.
  take(index, isChosen) {
    const entry = this.entries[index];
    this.hide();
    this.choose(entry, isChosen);
  }

  // Handles a key of the input; returns whether the list has used it.
  key(event) {
    // While letters are composed, as for Japanese, every key belongs to that.
    if (!this.open || event.isComposing) return false;
    const count = this.entries.length;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) { this.isMoved = true; this.mark((Math.max(this.active, step > 0 ? -1 : 0) + step + count) % count); }
    else if (this.active >= 0 && (event.key === "Enter" || (event.key === "Tab" && !event.shiftKey && (this.isMoved || !this.isPassed)))) this.take(this.active, this.isMoved);
    else if (event.key === "Escape") this.hide();
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  remove() { this.hide(); this.list.remove(); }
}

let current = null;

function open(anchor, popup, first) {
  current?.();
  document.body.append(popup);
  place(popup, anchor);
  anchor.setAttribute("aria-expanded", "true");
  const close = (back = true) => {
    popup.remove();
    anchor.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside, true);
    if (current === close) current = null;
    if (back && anchor.isConnected) anchor.focus();
  };
  const outside = (event) => { if (!popup.contains(event.target) && !anchor.contains(event.target)) close(false); };
  document.addEventListener("pointerdown", outside, true);
  popup.addEventListener("keydown", (event) => {
    if (event.key === "Escape" || event.key === "Tab") { event.preventDefault(); close(); }
  });
  current = close;
  first?.focus();
  return close;
}

// A list from which `least` to `most` entries are taken; `done` gets them.
export function choose(anchor, name, entries, { least = 1, most = 1 }, done) {
  if (anchor.getAttribute("aria-expanded") === "true") return current?.();
  const base = freshId("choice");
  const chosen = new Set(entries.filter((entry) => entry.chosen));
  let active = -1;
  const list = h("ul", { role: "listbox", tabindex: "0", "aria-label": name, "aria-multiselectable": most > 1 ? "true" : null },
    entries.map((entry, index) => row(entry, `${base}-${index}`, { "aria-selected": chosen.has(entry) ? "true" : "false" })));
  const send = h("button", { type: "button", class: "primary" }, "Choose");
  const popup = h("div", { class: "popup" }, list, most > 1 && send);
  const mark = (index) => {
    list.children[active]?.classList.remove("active");
    active = index;
    list.children[index].classList.add("active");
    list.children[index].scrollIntoView({ block: "nearest" });
    list.setAttribute("aria-activedescendant", list.children[index].id);
  };
  const finish = () => { close(); done([...chosen]); };
  const toggle = (index) => {
    const entry = entries[index];
    if (most === 1) { chosen.clear(); chosen.add(entry); return finish(); }
    if (chosen.has(entry)) chosen.delete(entry);
    else if (chosen.size < most) chosen.add(entry);
    list.children[index].setAttribute("aria-selected", String(chosen.has(entry)));
    send.disabled = chosen.size < least;
  };
  list.addEventListener("click", (event) => {
    const index = [...list.children].indexOf(event.target.closest("li"));
    if (index >= 0) toggle(index);
  });
  list.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") mark((active + 1) % entries.length);
    else if (event.key === "ArrowUp") mark((active - 1 + entries.length) % entries.length);
    else if (event.key === "Home") mark(0);
    else if (event.key === "End") mark(entries.length - 1);
    else if ((event.key === "Enter" || event.key === " ") && active >= 0) toggle(active);
    else return;
    event.preventDefault();
  });
  send.addEventListener("click", finish);
  const close = open(anchor, popup, list);
  mark(Math.max(0, entries.findIndex((entry) => entry.chosen)));
}

// A menu of things to do, in groups; each is { label, run, icon }.
export function menu(anchor, name, groups) {
  if (anchor.getAttribute("aria-expanded") === "true") return current?.();
  const items = [];
  const popup = h("div", { class: "popup menu", role: "menu", "aria-label": name });
  for (const { title, entries, across } of groups) {
    if (!entries.length) continue;
    const group = h("div", { role: "group", "aria-label": title, class: across ? "across" : "down" });
    if (!across) group.append(h("p", { class: "menu-title", "aria-hidden": "true" }, title));
    for (const entry of entries) {
      const item = h("button", { type: "button", role: "menuitem", tabindex: "-1", class: entry.danger ? "danger" : null, "aria-label": across ? entry.label : null,
        onclick: () => { close(); entry.run(); } }, across ? entry.icon : entry.label);
      items.push(item);
      group.append(item);
    }
    popup.append(group);
  }
  popup.addEventListener("keydown", (event) => {
    const at = items.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    items[(at + step + items.length) % items.length].focus();
  });
  const close = open(anchor, popup, items[0]);
}
