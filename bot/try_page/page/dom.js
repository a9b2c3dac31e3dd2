// Makes elements. Words become text nodes, never HTML.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A phone, as in the style sheets.
export const NARROW = matchMedia("(max-width: 640px)");

export const byId = (id) => document.getElementById(id);

let count = 0;
export const freshId = (kind) => `${kind}-${++count}`;

// Says a sentence to a screen reader.
export function announce(words) {
  const line = h("p", {}, words);
  const news = byId("news");
  news.append(line);
  while (news.childElementCount > 5) news.firstElementChild.remove();
}

// A sentence without Discord's marks for code.
export const plain = (words) => words.replace(/`([^`]+)`/g, "“$1”");

let hiding;
// Shows a sentence for a while: what went wrong with what was just done.
export function toast(words) {
  const box = byId("toast");
  box.textContent = plain(words);
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { box.hidden = true; }, 7000);
}
