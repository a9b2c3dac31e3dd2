// What one can try with one press. A pressed example makes room for the next one; more come by a button.

import { state } from "./api.js";
import { h } from "./dom.js";

const SHOWN = 3;
// The built-in model paints one thing much alike each time; how many of several there are differs.
const PROMPTS = [
  { words: "a red apple on a blue background" },
  { words: "a fox in the snow" },
  { words: "ducks on a lake", images: "4" },
  { words: "a {red, green} car" },
  { words: "a cat with a hat", images: "2" },
  { words: "an owl at night --ar 16:9" },
  { words: "a robot in the city" },
];
const COMMANDS = [
  { command: "storyboard" },
  { command: "search", words: "robot" },
  { command: "animate", words: "a fox in the snow to:a wolf in the snow" },
];
const FOR_MODERATORS = [
  { command: "limits set", words: "images:2" },
  { command: "mod cases" },
  { command: "limits explain", words: "Ada" },
];

const title = ({ command, words }) => command ? `/${[command, words].filter(Boolean).join(" ")}` : words;
// Puts some at the end of a pool, so that others are shown.
const back = (pool, from, count) => pool.push(...pool.splice(from, count));

export class Examples {
  // `run` gets the example that was pressed.
  constructor(run) {
    this.run = run;
    this.line = h("span", { class: "examples-line" });
    this.element = h("div", { id: "examples", class: "examples", role: "group", "aria-label": "Examples" }, h("span", { class: "examples-title" }, "Try one:"), this.line,
      h("button", { type: "button", class: "round small-round", title: "Other examples", "aria-label": "Other examples", onclick: () => this.turn() }, "↻"));
  }

  turn() {
    back(PROMPTS, 0, SHOWN);
    back(COMMANDS, 0, 1);
    back(FOR_MODERATORS, 0, 1);
    this.draw();
  }

  // Draws what the person may do here; the button that had the focus has it again.
  draw() {
    const at = [...this.line.children].indexOf(document.activeElement);
    const shown = [...PROMPTS.slice(0, SHOWN).map((example) => [PROMPTS, example]), [COMMANDS, COMMANDS[0]], ...(state.moderates ? [[FOR_MODERATORS, FOR_MODERATORS[0]]] : [])];
    this.line.replaceChildren(...shown.map(([pool, example]) => this.chip(pool, example)));
    this.line.children[at]?.focus();
  }

  chip(pool, example) {
    return h("button", { type: "button", class: "chip example", onclick: () => {
      back(pool, pool.indexOf(example), 1);
      this.draw();
      this.run(example);
    } }, title(example), example.images && h("small", {}, ` ×${example.images}`));
  }
}
