// Asks the server to do something as the person one is, and hears what changed.

import { toast } from "./dom.js";

export const state = {
  seat: sessionStorage.getItem("seat") ?? "member",
  channel: "",
  me: "", bot: "", command: "imagine", moderates: false,
  names: { people: {}, roles: {}, channels: {} },
  seats: [], channels: [], commands: [], menus: [],
};

let stream = null;

// Listens as the chosen person in the chosen channel; what was heard before ends.
export function listen(hear, lost) {
  stream?.close();
  const where = new URLSearchParams({ as: state.seat, in: state.channel });
  const mine = new EventSource(`feed?${where}`);
  stream = mine;
  mine.onmessage = (event) => { if (stream === mine) { lost(false); hear(JSON.parse(event.data)); } };
  mine.onerror = () => { if (stream === mine) lost(true); };
}

// Does something; returns what the page should do now, or null after an error, which `tell` has shown.
export async function act(asked, files = {}, tell = toast) {
  const form = new FormData();
  form.set("asked", JSON.stringify({ as: state.seat, in: state.channel, ...asked }));
  for (const [name, list] of Object.entries(files)) for (const file of list) form.append(name, file, file.name);
  let answer;
  try {
    const response = await fetch("act", { method: "POST", body: form });
    if (response.status === 413) answer = { error: "These files are too large: together they may have up to 40 MB." };
    else if (!response.ok) answer = { error: `Atelier cannot do that now (${response.status}). Try again.` };
    else answer = await response.json();
  } catch {
    answer = { error: "Atelier is not running any more. Start it again in the terminal." };
  }
  if (answer.error) {
    if (asked.kind !== "complete") tell(answer.error);
    return null;
  }
  return answer;
}
