// The messages of a channel. Elements stay as long as their messages; the view follows new ones unless one scrolled up.

import { state } from "./api.js";
import { announce, byId } from "./dom.js";
import { MessageView } from "./message.js";

const NEAR = 60; // pixels from the end at which the view counts as being there

const views = new Map();
let following = true;
let lastTop = 0;
// Until something is posted, a channel shows its beginning: the welcome and what was there.
let opening = true;

const log = () => byId("log");

// Goes to the newest message and stays there.
export function toEnd() {
  log().scrollTop = opening ? 0 : log().scrollHeight;
  following = true;
  byId("newest").hidden = true;
}

export function startLog() {
  log().addEventListener("scroll", () => {
    const { scrollTop, scrollHeight, clientHeight } = log();
    const near = scrollHeight - scrollTop - clientHeight < NEAR;
    // Only a person scrolls upwards; pictures that grow move the end away.
    if (scrollTop > 0) opening = false;
    if (near) { following = true; byId("newest").hidden = true; }
    else if (scrollTop < lastTop) following = false;
    lastTop = scrollTop;
  }, { passive: true });
  const observer = new ResizeObserver(() => { if (following) toEnd(); });
  observer.observe(byId("inner"));
  observer.observe(log());
  byId("newest").addEventListener("click", () => { toEnd(); log().focus(); });
  document.addEventListener("jump", (event) => jump(event.detail.message));
}

// Goes to a message, if it is there.
export function jump(message) {
  const element = views.get(message)?.element;
  if (!element) return false;
  following = false;
  element.scrollIntoView({ block: "center" });
  element.classList.add("found");
  setTimeout(() => element.classList.remove("found"), 2000);
  return true;
}

export function forget() {
  views.clear();
  byId("messages").replaceChildren();
  following = true;
}

// Draws what is new and what changed, and removes what is gone.
export function draw({ messages = [], gone = [] }, whole) {
  const list = byId("messages");
  if (whole) {
    opening = messages.length <= 1;
    const there = new Set(messages.map((message) => message.id));
    gone = [...views.keys()].filter((id) => !there.has(id));
  }
  for (const id of gone) {
    const element = views.get(id)?.element;
    if (element?.contains(document.activeElement)) byId("composer").focus();
    element?.remove();
    views.delete(id);
  }
  let added = 0;
  let answer = false;
  for (const message of messages) {
    const known = views.get(message.id);
    if (known) {
      const before = known.message;
      known.update(message);
      // An answer that came, or a result: while something is painted, its controls stay the same.
      if (!whole && (before.waits !== message.waits || JSON.stringify(before.components) !== JSON.stringify(message.components))) announce(said(message));
      continue;
    }
    const view = new MessageView(message, whole);
    views.set(message.id, view);
    list.insertBefore(view.element, later(message.id));
    if (!whole) { added += 1; opening = false; if (!message.waits) announce(said(message)); }
    if (!whole && message.author === state.me) following = true;
    answer ||= message.hidden;
  }
  if (following) return toEnd();
  if (!added) return;
  // Who pressed a button further up goes on looking there.
  if (byId("newest").hidden || answer) byId("newest").textContent = answer ? "Your answer ↓" : "New posts ↓";
  byId("newest").hidden = false;
}

// The element before which a message belongs; null at the end.
function later(id) {
  const list = byId("messages");
  const isLater = (element) => BigInt(element.id.replace("message-", "")) > BigInt(id);
  return list.lastElementChild && isLater(list.lastElementChild) ? [...list.children].find(isLater) : null;
}

function said(message) {
  const view = views.get(message.id);
  const words = (view?.parts.body.textContent || message.content).slice(0, 200);
  const pictures = message.files.length ? `, ${message.files.length} ${message.files.length === 1 ? "file" : "files"}` : "";
  return `${state.names.people[message.author] ?? "Someone"}: ${words}${pictures}`;
}

