// Finds commands by what was typed: while one types, when it is sent, and when it is misspelt.

const first = (name) => name.split(" ")[0];

// Those that fit the text after the slash, the likeliest first.
export function fitting(commands, typed) {
  const word = typed.toLowerCase();
  const found = commands.filter((command) => command.name.includes(word));
  return found.sort((a, b) => Number(b.name.startsWith(word)) - Number(a.name.startsWith(word)));
}

// Whether several commands with one first word fit what was typed, so that none of them is what was meant for sure.
export function isUnclear(found, typed) {
  const word = typed.toLowerCase();
  const [best] = found;
  if (!best || !word || !best.name.includes(" ") || !best.name.startsWith(word)) return false;
  return found.filter(({ name }) => name.startsWith(word) && first(name) === first(best.name)).length > 1;
}

// The command that a text begins with, and what follows it; null if there is none.
export function commandIn(commands, text) {
  const typed = text.slice(1);
  const found = commands.filter(({ name }) => typed.toLowerCase().startsWith(name) && /^(\s|$)/.test(typed.slice(name.length)));
  const command = found.sort((a, b) => b.name.length - a.name.length)[0];
  return command ? { command, words: typed.slice(command.name.length).trim() } : null;
}

// What stands after the words by which a command was looked for.
export function wordsAfter(text, name) {
  let rest = text.slice(1);
  name.split(" ").forEach((word, index) => {
    const match = /^\s*(\S+)/.exec(rest);
    if (match && (!index || word.startsWith(match[1].toLowerCase()))) rest = rest.slice(match[0].length);
  });
  return rest.trim();
}

function distance(a, b) {
  let row = [...Array(b.length + 1).keys()];
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + Number(a[i - 1] !== b[j - 1]));
    row = next;
  }
  return row[b.length];
}

// The command that a misspelt one is most like, and what follows it; null if it is like none.
export function nearest(commands, text) {
  const words = text.slice(1).split(/\s+/);
  let best = null;
  for (const command of commands) {
    const count = command.name.split(" ").length;
    const typed = words.slice(0, count).join(" ").toLowerCase().slice(0, 40);
    const away = distance(typed, command.name);
    if (away <= Math.min(2, Math.floor(command.name.length / 3)) && away < (best?.away ?? Infinity)) best = { command, words: words.slice(count).join(" "), away };
  }
  return best;
}
