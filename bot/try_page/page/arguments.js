// What was typed after a command, read as on Discord: `name:value` fills an option, and other words the first text.

const oneLine = (text) => text.replace(/\s+/g, " ").trim();
const bare = (text) => text.replace(/^<?[@#]?[&!]?|>$/g, "").toLowerCase();
const isFree = (option) => option.kind === "string" && !option.choices.length && !option.completes;
const isNumber = (option) => option.kind === "integer" || option.kind === "number";

// The value that a text begins with, and the words that come after it; null if the option cannot take it.
function begin(option, entries, text) {
  const words = oneLine(text);
  if (!words || option.kind === "attachment") return null;
  if (entries) {
    const all = words.split(" ");
    for (let count = all.length; count; count -= 1) {
      const name = bare(all.slice(0, count).join(" "));
      const entry = entries.find(({ label, value }) => bare(label) === name || value === name);
      if (entry) return { label: entry.label, value: entry.value, rest: all.slice(count).join(" ") };
    }
    return null;
  }
  if (isNumber(option)) {
    const match = /^([+-]?[\d.,]*\d)(?: (.*))?$/.exec(words);
    return match && { label: match[1], value: null, rest: match[2] ?? "" };
  }
  return { label: words, value: null, rest: "" };
}

// Reads the words after a command; `entriesOf` gives an option's choices as { label, value }, or null if it has none.
// Returns the options with what fills them, the words that found no place, and which options are wrong, with sentences.
export function readArguments(command, words, entriesOf) {
  const given = new Map();
  const wrong = [];
  const loose = [];
  const named = new Map(command.options.filter((option) => option.kind !== "attachment").map((option) => [option.name, option]));
  const pairs = [];
  for (const match of words.matchAll(/(?<=^|\s)([\p{L}\p{N}_-]+):/gu)) {
    const option = named.get(match[1].toLowerCase());
    const after = words.slice(match.index + match[0].length);
    const counts = option && !pairs.some((pair) => pair.option === option) && (!isNumber(option) || begin(option, null, after));
    if (counts) pairs.push({ option, from: match.index, to: match.index + match[0].length });
  }
  loose.push(words.slice(0, pairs[0]?.from));
  pairs.forEach(({ option, to }, index) => {
    const text = oneLine(words.slice(to, pairs[index + 1]?.from));
    const entries = entriesOf(option);
    let taken = begin(option, entries, text);
    if (!taken && text) {
      const [first, ...rest] = entries ? text.split(" ") : [text];
      taken = { label: first, value: null, rest: rest.join(" ") };
      wrong.push({ option, words: `“${first}” is not among the choices of ${option.name}.` });
    } else if (taken && option.completes && option.kind === "string" && command.options.some((other) => other.required && isFree(other) && !given.has(other) && !pairs.some((pair) => pair.option === other))) {
      // Words after a choice belong to the text that the command needs.
      const [first, ...rest] = text.split(" ");
      taken = { label: first, value: null, rest: rest.join(" ") };
    }
    if (!taken) return;
    given.set(option, taken);
    loose.push(taken.rest);
  });
  let left = loose.map(oneLine).filter(Boolean).join(" ");
  const place = (option) => {
    const taken = left && !given.has(option) && begin(option, entriesOf(option), left);
    if (!taken) return;
    given.set(option, taken);
    left = taken.rest;
  };
  command.options.filter((option) => option.required).forEach(place);
  // What looks like an option that is not there, or is written wrongly, is no text for another one.
  const text = command.options.find((option) => isFree(option) && !option.required && !given.has(option));
  if (text && !/^[\p{L}\p{N}_-]+:/u.test(left)) place(text);
  return { given, left, wrong };
}
