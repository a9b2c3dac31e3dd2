// The pictures of a message, and the view in which one is seen large.

import { h } from "./dom.js";

const PATIENCE = 1500; // milliseconds that old pictures stay until new ones are decoded

const size = (bytes) => bytes < 1024 ? `${bytes} bytes` : bytes < 1048576 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;

// Gives an element its children, unless it has them: one that is put in again is laid out and read out again.
function fill(element, children) {
  const same = children.length === element.childElementCount && children.every((child, index) => element.children[index] === child);
  if (!same) element.replaceChildren(...children);
}

// The shape of a message's pictures as width by height; 1 if they differ. Discord cuts squares out of several wide pictures;
// here each is seen whole.
function shapeOf(pictures) {
  const shapes = new Set(pictures.map(({ width, height }) => width / height));
  return shapes.size === 1 ? [...shapes][0] : 1;
}

// Shows files; a picture that is there already keeps its element, so that it neither flashes nor loads again.
export class Gallery {
  constructor() {
    this.element = h("div", { class: "files", hidden: true });
    this.grid = h("div", { class: "grid" });
    this.known = new Map();
    this.turn = 0;
  }

  async show(files, lazy) {
    const turn = ++this.turn;
    const isNew = (file) => !this.known.has(file.id);
    const fresh = files.filter(isNew).map((file) => [file.id, this.make(file, files, lazy)]);
    const hadSome = this.grid.childElementCount > 0;
    const all = new Map([...this.known, ...fresh]);
    if (hadSome && fresh.length) {
      const decoded = fresh.map(([, figure]) => figure.querySelector("img")?.decode().catch(() => {}));
      await Promise.race([Promise.all(decoded), new Promise((done) => setTimeout(done, PATIENCE))]);
      if (turn !== this.turn) return;
    }
    this.known = new Map(files.map((file) => [file.id, all.get(file.id)]));
    const pictures = files.filter((file) => file.width).map((file) => this.known.get(file.id));
    const others = files.filter((file) => !file.width).map((file) => this.known.get(file.id));
    this.pictures = files.filter((file) => file.width);
    const shape = shapeOf(this.pictures);
    this.grid.className = `grid grid-${Math.min(pictures.length, 5)} ${shape > 1.2 ? "wide" : shape < 0.8 ? "tall" : ""}`;
    this.grid.style.setProperty("--shape", shape);
    fill(this.grid, pictures);
    fill(this.element, [...(pictures.length ? [this.grid] : []), ...others]);
    this.element.hidden = !files.length;
  }

  make(file, files, lazy) {
    if (!file.width) {
      return h("p", { class: "file" }, h("a", { href: file.url, download: file.name }, file.name), ` ${size(file.bytes)}`);
    }
    const image = h("img", { src: file.url, alt: file.alt || file.name, width: file.width, height: file.height, decoding: "async", loading: lazy ? "lazy" : "eager" });
    const open = h("button", { type: "button", class: "picture", "aria-label": `Enlarge: ${file.alt || file.name}` }, image);
    const figure = h("div", { class: "cell" }, open);
    let hidden = file.spoiler;
    if (hidden) {
      figure.classList.add("covered");
      open.setAttribute("aria-label", "Spoiler. Press to show the picture.");
      figure.append(h("span", { class: "cover", "aria-hidden": "true" }, "Spoiler"));
    }
    open.addEventListener("click", () => {
      if (!hidden) return zoom(this.pictures, file.id);
      hidden = false;
      figure.classList.remove("covered");
      figure.querySelector(".cover").remove();
      open.setAttribute("aria-label", `Enlarge: ${file.alt || file.name}`);
    });
    return figure;
  }
}

// Shows one of several pictures as large as the window allows.
export function zoom(pictures, id) {
  let at = Math.max(0, pictures.findIndex((file) => file.id === id));
  const image = h("img", { alt: "" });
  const words = h("p", { class: "alt" });
  const original = h("a", { target: "_blank", rel: "noopener" }, "Open the original");
  const step = (by) => { at = (at + by + pictures.length) % pictures.length; show(); };
  const dialog = h("dialog", { class: "zoom", "aria-label": "Picture", onclose: () => dialog.remove() },
    image,
    h("div", { class: "zoom-bar" }, words,
      pictures.length > 1 && h("button", { type: "button", onclick: () => step(-1), "aria-label": "Previous picture" }, "←"),
      pictures.length > 1 && h("button", { type: "button", onclick: () => step(1), "aria-label": "Next picture" }, "→"),
      original, h("button", { type: "button", onclick: () => dialog.close() }, "Close")));
  function show() {
    const file = pictures[at];
    image.src = file.url;
    image.alt = file.alt || file.name;
    words.textContent = pictures.length > 1 ? `${at + 1} of ${pictures.length} · ${image.alt}` : image.alt;
    original.href = file.url;
  }
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  show();
  document.body.append(dialog);
  dialog.showModal();
}
