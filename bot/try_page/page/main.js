// Starts the page: hears what changes and tells the parts.

import { listen, state } from "./api.js";
import { byId, h } from "./dom.js";
import { leaveCommand, place, startComposer } from "./composer.js";
import { draw, forget, jump, startLog } from "./log.js";
import { avatar } from "./message.js";

const seen = new Map(); // the newest message that was read in each channel
let latest = {};
let wanted = null; // a message to go to once its channel is shown

// Draws buttons anew; the one that had the focus has it again.
function redraw(box, elements) {
  const at = [...box.querySelectorAll("button")].indexOf(document.activeElement);
  box.replaceChildren(...elements);
  if (at >= 0) box.querySelectorAll("button")[at]?.focus();
}

function enter(channel) {
  if (channel === state.channel) return;
  state.channel = channel;
  leaveCommand();
  forget();
  start();
}

function sit(seat) {
  if (seat === state.seat) return;
  state.seat = seat;
  sessionStorage.setItem("seat", seat);
  const here = state.channels.find((channel) => channel.id === state.channel);
  // Everybody has direct messages of their own.
  if (here?.direct) { state.channel = ""; forget(); }
  leaveCommand();
  start();
}

function drawChannels() {
  const shown = (channel) => {
    const here = channel.id === state.channel;
    const unread = !here && latest[channel.id] && latest[channel.id] !== seen.get(`${state.me} ${channel.id}`);
    return h("li", {}, h("button", { type: "button", class: unread ? "channel unread" : "channel", "aria-current": here ? "page" : null, onclick: () => enter(channel.id) },
      h("span", { class: "sign", "aria-hidden": "true" }, channel.direct ? "@" : "#"), channel.name, unread && h("span", { class: "unseen" }, ", new messages")));
  };
  redraw(byId("channels"), state.channels.filter((channel) => !channel.direct).map(shown));
  redraw(byId("direct"), state.channels.filter((channel) => channel.direct).map(shown));
}

function drawSeats() {
  redraw(byId("seats"), state.seats.map((seat) =>
    h("button", { type: "button", class: "seat", "aria-pressed": String(seat.key === state.seat), onclick: () => sit(seat.key) },
      avatar(seat.id, 32), h("span", { class: "who" }, h("span", { class: "who-name" }, state.names.people[seat.id]), h("span", { class: "who-role" }, seat.role)))));
}

function drawHead() {
  const here = state.channels.find((channel) => channel.id === state.channel);
  byId("channel").textContent = `${here.direct ? "@" : "#"} ${here.name}`;
  byId("topic").textContent = here.topic;
  byId("server").textContent = state.server;
  document.title = `${here.direct ? "@" : "#"}${here.name} · Atelier`;
  const welcome = byId("welcome");
  welcome.hidden = false;
  const start = h("p", { class: "small" }, "Each start is a new server; the terminal says where the pictures stay.");
  welcome.replaceChildren(h("img", { src: "atelier.svg", alt: "", width: 56, height: 56 }), h("div", {}, ...(here.direct
    ? [h("h2", {}, "Your direct messages with Atelier"), h("p", {}, "To get a copy of a result here, react to it with ✉️: the ⋯ at its top right has the reactions.")]
    : here.name === "easel"
      ? [h("h2", {}, "Welcome to Atelier"), h("p", {}, "Press an example below, or type ", h("b", {}, `/${state.command}`), " and describe a picture. The buttons under a picture change it; 👍 and 👎 rate it. Act as somebody else under “You are”: the moderator sets limits."), start]
      : [h("h2", {}, `This is #${here.name}`), h("p", {}, here.topic)])));
}

function hear(news) {
  if (news.latest) latest = news.latest;
  if (news.kind === "everything") {
    const { kind, messages, gone, latest: _, ...rest } = news;
    Object.assign(state, rest);
    drawHead();
    drawSeats();
    place();
  }
  if (latest[state.channel]) seen.set(`${state.me} ${state.channel}`, latest[state.channel]);
  if (news.kind === "everything" || news.latest) drawChannels();
  draw(news, news.kind === "everything");
  document.body.dataset.ready = "true";
  if (wanted && jump(wanted)) wanted = null;
}

function start() { listen(hear, (lost) => document.body.classList.toggle("lost", lost)); }

document.addEventListener("jump", (event) => {
  const { channel, message } = event.detail;
  if (channel === state.channel || !state.channels.some((each) => each.id === channel)) return;
  wanted = message;
  enter(channel);
});

document.addEventListener("enter", (event) => enter(event.detail));

startLog();
startComposer();
start();
