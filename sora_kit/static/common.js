// What all figures share. The host puts this text in front of a figure's own file, so each figure stays one module without imports.

// JupyterLab's one-key shortcuts would take the arrow keys away from a slider; this attribute keeps them out, and it counts on the focused element itself.
const KEYED = new Set(["input", "select", "textarea", "button", "a", "summary", "video", "audio"]);

// An element with properties and children. Text children become text nodes: nothing that a person typed is ever read as markup.
function h(tag, props = {}, ...children) {
  const el = tag.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4)) : document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (value === true) el.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) el.setAttribute(key, value);
  }
  if (KEYED.has(tag) || "tabindex" in props) el.setAttribute("data-lm-suppress-shortcuts", "true");
  el.append(...children.flat().filter(c => c !== null && c !== undefined));
  return el;
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
const unique = (() => { let n = 0; const page = Math.random().toString(36).slice(2, 8); return word => `sk-${word}-${page}-${++n}`; })();
const round = (x, digits = 2) => x === null || x === undefined ? "–" : Number.isFinite(x) ? x.toFixed(digits) : "∞";

// A figure's own words in the reader's language: the English text is the key to the translation, and {} stands for a value.
let phrases = {};
const say = (text, ...values) => (Object.hasOwn(phrases, text) ? phrases[text] : text).replace(/\{\}/g, hole => values.length ? values.shift() : hole);

// The frame of every figure: a labelled region with title and one sentence of what to do; `data` may bring `lang` and `phrases`.
function shell(el, title, lead, data = {}) {
  const name = unique("title");
  phrases = data.phrases || {};
  const root = h("section", { class: "sk", "aria-labelledby": name, lang: data.lang }, h("h2", { id: name }, say(title)), h("p", { class: "lead" }, say(lead)));
  el.replaceChildren(root);
  return root;
}

// A labelled native slider; `show` turns its number into words, for eyes and for screen readers.
function slider(label, { min, max, step = 1, value, show = String, change }) {
  const output = h("output", {}, show(value));
  const input = h("input", { type: "range", min, max, step, value, "aria-label": label, "aria-valuetext": show(value) });
  const field = h("label", { class: "field" }, h("span", {}, label, output), input);
  const tell = () => { output.textContent = show(+input.value); input.setAttribute("aria-valuetext", show(+input.value)); };
  input.addEventListener("input", () => { tell(); change(+input.value); });
  field.put = number => { input.value = number; tell(); };
  field.input = input;
  return field;
}

// One of a few, as native radio buttons side by side: options are [value, words].
function choice(label, options, value, change) {
  const name = unique("choice");
  const labels = options.map(([v, words]) => h("label", {}, h("input", { type: "radio", name, value: v, checked: v === value, onchange: () => change(v) }), h("span", {}, words)));
  return h("fieldset", {}, h("legend", { class: "label" }, label), h("div", { class: "choice" }, labels));
}

function check(label, value, change) {
  return h("label", { class: "check" }, h("input", { type: "checkbox", checked: value, onchange: e => change(e.target.checked) }), label);
}

// The same numbers as a table, for whoever reads rather than looks. `rows` may be a function, asked when the table is opened.
function numbers(caption, head, rows) {
  const place = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption });
  const fill = () => place.replaceChildren(h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, head.map(c => h("th", { scope: "col" }, c)))),
    h("tbody", {}, (typeof rows === "function" ? rows() : rows).map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, String(first)), rest.map(c => h("td", {}, String(c))))))));
  const details = h("details", { ontoggle: () => details.open && fill() }, h("summary", {}, say("The numbers as a table")), place);
  details.refresh = () => details.open && fill();
  return details;
}

// A button that plays and stops; `tick` is called with the seconds since the last call, while it plays.
function playing(words, tick) {
  let last = 0, running = false, timer = 0;
  const button = h("button", { type: "button", "aria-pressed": "false", onclick: () => button.run(!running) }, `▶ ${words}`);
  const frame = now => { if (!running || !button.isConnected) { running = false; return; } tick((now - last) / 1000); last = now; timer = requestAnimationFrame(frame); };
  button.run = on => {
    running = on; cancelAnimationFrame(timer); last = performance.now();
    button.textContent = on ? `❚❚ ${say("Stop")}` : `▶ ${words}`;
    button.setAttribute("aria-pressed", String(on));
    if (on) timer = requestAnimationFrame(frame);
  };
  button.running = () => running;
  return button;
}

// Bytes travel as base64 text: Jupyter's client of a kernel gateway breaks on binary messages.
const bytesOf = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));

// Pictures and sounds travel as one block of bytes; `data.parts` says where each begins, how long it is and what it is.
function parts(model) {
  const { buffer, byteOffset } = bytesOf(model.get("blob"));
  const blob = ([start, length, type]) => new Blob([new Uint8Array(buffer, byteOffset + start, length)], { type });
  const list = model.get("data").parts || [], links = new Map();
  return {
    bitmap: i => createImageBitmap(blob(list[i])),
    link: i => { if (!links.has(i)) links.set(i, URL.createObjectURL(blob(list[i]))); return links.get(i); },
    numbers: i => { const [start, length] = list[i]; return new Float32Array(buffer.slice(byteOffset + start, byteOffset + start + length)); },
    free: () => { for (const link of links.values()) URL.revokeObjectURL(link); links.clear(); },
  };
}

const svg = (width, height, label) => h("svg:svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
const path = points => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
const ink = (el, name) => getComputedStyle(el).getPropertyValue(`--${name}`).trim();
