// Discord's markdown as elements. Everything a person wrote becomes text nodes.

import { h } from "./dom.js";
import { state } from "./api.js";

const JUMP = /^https:\/\/discord\.com\/channels\/[^/]+\/(\d+)\/(\d+)$/;

const span = (tag, properties = {}) => (match) => h(tag, properties, inline(match[1]));
const mention = (words) => h("span", { class: "mention" }, words);

function link(address, children) {
  const jump = JUMP.exec(address);
  if (jump) {
    const go = () => document.dispatchEvent(new CustomEvent("jump", { detail: { channel: jump[1], message: jump[2] } }));
    return h("button", { type: "button", class: "link", onclick: go }, children);
  }
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, children);
}

// An address without words of its own. One of a message is shortened as Discord does it.
function address(text) {
  const jump = JUMP.exec(text);
  if (!jump) return link(text, [text]);
  const place = state.names.channels[jump[1]];
  const short = link(text, [place ? `#${place} › 💬` : "the message 💬"]);
  short.className = "mention";
  short.setAttribute("aria-label", place ? `#${place}, go to the message` : "the message, go to it");
  short.title = "Go to the message";
  return short;
}

function spoiler(match) {
  const words = h("span", { class: "spoiler", role: "button", tabindex: "0", "aria-label": "Spoiler. Press to show it." }, inline(match[1]));
  const show = () => { words.className = "spoiler shown"; for (const name of ["role", "tabindex", "aria-label"]) words.removeAttribute(name); };
  words.addEventListener("click", show);
  words.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); show(); } });
  return words;
}

const FORMATS = {
  t: { timeStyle: "short" }, T: { timeStyle: "medium" }, d: { dateStyle: "short" }, D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" }, F: { dateStyle: "full", timeStyle: "short" },
};
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function ago(seconds) {
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
  return relative.format(Math.round(seconds / size), unit);
}

function moment(match) {
  const at = new Date(Number(match[1]) * 1000);
  const whole = new Intl.DateTimeFormat("en", FORMATS.F).format(at);
  const element = h("time", { datetime: at.toISOString(), title: whole, class: "moment" });
  if (match[2] === "R") element.dataset.relative = match[1];
  element.textContent = match[2] === "R" ? ago(Number(match[1]) - Date.now() / 1000) : new Intl.DateTimeFormat("en", FORMATS[match[2]] ?? FORMATS.f).format(at);
  return element;
}

setInterval(() => {
  for (const element of document.querySelectorAll("time[data-relative]")) {
    const words = ago(Number(element.dataset.relative) - Date.now() / 1000);
    if (element.textContent !== words) element.textContent = words;
  }
}, 1000);

function command(match) {
  const use = () => document.dispatchEvent(new CustomEvent("command", { detail: match[1] }));
  return h("button", { type: "button", class: "mention", onclick: use }, `/${match[1]}`);
}

const RULES = [
  [/\\([^\w\s])/y, (match) => document.createTextNode(match[1])],
  [/``([^]*?[^`])``(?!`)|`([^`]+)`/y, (match) => h("code", {}, match[1] ?? match[2])],
  [/\|\|([^]+?)\|\|/y, spoiler],
  [/\*\*([^]+?)\*\*(?!\*)/y, span("strong")],
  [/__([^]+?)__(?!_)/y, span("u")],
  [/\*(?![\s*])([^*]+?)\*(?!\*)/y, span("em")],
  [/(?<!\w)_([^_]+?)_(?!\w)/y, span("em")],
  [/~~([^]+?)~~/y, span("s")],
  [/<@!?(\d+)>/y, (match) => mention(`@${state.names.people[match[1]] ?? "someone"}`)],
  [/<@&(\d+)>/y, (match) => mention(`@${state.names.roles[match[1]] ?? "a role"}`)],
  [/<#(\d+)>/y, (match) => mention(`#${state.names.channels[match[1]] ?? "a channel"}`)],
  [/<\/([^:>]+):\d+>/y, command],
  [/<t:(-?\d{1,11})(?::([tTdDfFR]))?>/y, moment],
  [/<a?:(\w+):\d+>/y, (match) => document.createTextNode(`:${match[1]}:`)],
  [/\[([^\]\n]+)\]\(<?(https?:\/\/[^\s)>]+)>?\)/y, (match) => link(match[2], inline(match[1]))],
  [/<(https?:\/\/[^\s>]+)>/y, (match) => address(match[1])],
  [/https?:\/\/[^\s<]*[^\s<.,:;"'\])]/y, (match) => address(match[0])],
];
const SPECIAL = /[\\`|*_~<[h]/;

export function inline(text) {
  const nodes = [];
  let plain = "";
  for (let at = 0; at < text.length;) {
    let found = null;
    if (SPECIAL.test(text[at])) {
      for (const [rule, make] of RULES) {
        rule.lastIndex = at;
        const match = rule.exec(text);
        if (match) { found = [match[0].length, make(match)]; break; }
      }
    }
    if (found) {
      if (plain) nodes.push(plain);
      plain = "";
      nodes.push(found[1]);
      at += found[0];
    } else plain += text[at++];
  }
  if (plain) nodes.push(plain);
  return nodes;
}

const LINE = [
  [/^(#{1,3}) +(.+)$/, (match) => h("p", { class: `title title-${match[1].length}` }, inline(match[2]))],
  [/^-# +(.+)$/, (match) => h("p", { class: "small" }, inline(match[1]))],
  [/^> ?(.*)$/, (match) => h("blockquote", {}, inline(match[1]))],
  [/^( *)[-*] +(.+)$/, (match) => h("p", { class: match[1].length ? "item deep" : "item" }, inline(match[2]))],
  [/^( *)(\d+)\. +(.+)$/, (match) => h("p", { class: "item numbered" }, `${match[2]}. `, inline(match[3]))],
];

// The parts of a text: code blocks, and lines.
export function markdown(text) {
  const parts = [];
  text.split(/(```[^]+?```)/).forEach((piece, index) => {
    if (index % 2) {
      const code = piece.slice(3, -3).replace(/^[\w+-]+\n/, "").replace(/^\n|\n$/g, "");
      const copy = h("button", { type: "button", class: "copy", onclick: () => { navigator.clipboard?.writeText(code); copy.textContent = "Copied"; } }, "Copy");
      parts.push(h("div", { class: "code" }, h("pre", { tabindex: "0" }, h("code", {}, code)), copy));
      return;
    }
    for (const line of piece.replace(/^\n|\n$/g, "").split("\n")) {
      if (!piece.trim()) continue;
      let made = null;
      for (const [rule, make] of LINE) {
        const match = rule.exec(line);
        if (match) { made = make(match); break; }
      }
      parts.push(made ?? h("p", {}, line ? inline(line) : "\u200b"));
    }
  });
  return parts;
}
