// The schedule explorer: which noise levels does a run visit, how much film is left at each, and what does that look like?

const shiftTime = (t, s) => s * t / (1 + (s - 1) * t);
const levelsOf = (steps, shift) => Array.from({ length: steps + 1 }, (_, i) => shiftTime(1 - i / steps, shift));
const decibels = t => t <= 0 ? Infinity : t >= 1 ? -Infinity : 20 * Math.log10((1 - t) / t);
const inDecibels = t => { const d = decibels(t); return d === Infinity ? say("no noise left") : d === -Infinity ? say("nothing but noise") : `${round(d, 1).replace("-", "−")} dB`; };

// Gaussian noise that is the same at every level, so that one sees the level change and not the dice.
function gaussian(n) {
  let seed = 20240613;
  const uniform = () => { seed = (seed + 0x6D2B79F5) | 0; let t = Math.imul(seed ^ seed >>> 15, 1 | seed); t ^= t + Math.imul(t ^ t >>> 7, 61 | t); return ((t ^ t >>> 14) >>> 0) / 4294967296; };
  return Float32Array.from({ length: n }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}

async function render({ model, el }) {
  const data = model.get("data"), media = parts(model);
  const root = shell(el, data.title, data.lead, data);
  let { steps, shift } = data, at = Math.floor(steps * .7), levels = levelsOf(steps, shift);

  const words = h("p", { class: "words", "aria-live": "polite" });
  const plot = svg(640, 420, say("Noise level against step")), film = h("canvas", { class: "film", role: "img" });
  const table = numbers(say("Levels of this schedule"), [say("step"), say("level t"), say("lower by"), say("signal to noise")], () => levels.map((t, i) =>
    [i, round(t, 4), i ? round(levels[i - 1] - t, 4) : "–", inDecibels(t)]));
  const position = slider(say("Where in the run"), { min: 0, max: steps, value: at, show: i => say("after step {}", i), change: i => { at = i; draw(); } });
  const count = slider(say("Steps"), { min: 1, max: 50, value: steps, change: n => { at = Math.round(at / steps * n); steps = n; levels = levelsOf(steps, shift); position.input.max = n; position.put(at); draw(); } });
  const bend = slider(say("Shift"), { min: 0, max: 3, step: .05, value: Math.log2(shift), show: v => `${round(2 ** v, 2)}`, change: v => { shift = 2 ** v; levels = levelsOf(steps, shift); draw(); } });
  const play = playing(say("Play the run"), (() => { let clock = 0; return seconds => { clock += seconds; if (clock < .18) return; clock = 0; at = (at + 1) % (steps + 1); position.put(at); draw(); }; })());
  root.append(h("div", { class: "row" }, bend, count, position, play), h("div", { class: "plots" }, h("div", {}, plot), h("div", {}, film)), words, table);

  const strip = await media.bitmap(0), scratch = h("canvas", { width: strip.width, height: strip.height }), pen = scratch.getContext("2d", { willReadFrequently: true });
  pen.drawImage(strip, 0, 0);
  const clean = pen.getImageData(0, 0, strip.width, strip.height), noise = gaussian(strip.width * strip.height * 3), dirty = pen.createImageData(strip.width, strip.height);
  film.width = strip.width; film.height = strip.height;
  const values = Array.from(clean.data).filter((_, i) => i % 4 < 3), mean = values.reduce((a, b) => a + b) / values.length;
  const spread = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);

  // x_t = (1−t)·x0 + t·ε, the line that the model follows, on pixels in place of latents: noise as strong as the film's own contrast.
  function dim(t) {
    for (let i = 0, k = 0; i < clean.data.length; i += 4) {
      for (let c = 0; c < 3; c++, k++) dirty.data[i + c] = mean + (1 - t) * (clean.data[i + c] - mean) + t * spread * noise[k];
      dirty.data[i + 3] = 255;
    }
    film.getContext("2d").putImageData(dirty, 0, 0);
  }

  function chart() {
    const X = i => 46 + 578 * i / steps, Y = t => 382 - 350 * t;
    const straight = path(Array.from({ length: 41 }, (_, k) => [46 + 578 * k / 40, Y(1 - k / 40)]));
    const curve = path(Array.from({ length: 81 }, (_, k) => [46 + 578 * k / 80, Y(shiftTime(1 - k / 80, shift))]));
    plot.replaceChildren(
      ...[0, .25, .5, .75, 1].map(t => h("svg:g", {}, h("svg:path", { class: "axis", d: `M46 ${Y(t)}H624` }), h("svg:text", { x: 38, y: Y(t) + 4, "text-anchor": "end" }, String(t)))),
      h("svg:text", { x: 46, y: 412 }, say("start: noise")), h("svg:text", { x: 624, y: 412, "text-anchor": "end" }, say("end: film")),
      h("svg:text", { x: 54, y: 18, class: "strong" }, say("noise level t")),
      h("svg:path", { d: straight, fill: "none", style: "stroke: var(--control); stroke-dasharray: 4 5" }),
      h("svg:path", { d: curve, fill: "none", "stroke-width": 2.5, style: "stroke: var(--accent)" }),
      ...levels.map((t, i) => h("svg:circle", { cx: X(i), cy: Y(t), r: i === at ? 8 : steps > 30 ? 2.5 : 4, style: `fill: var(--${i === at ? "second" : "accent"})` })),
      h("svg:path", { d: `M${X(at)} ${Y(levels[at])}V382`, style: "stroke: var(--second); stroke-dasharray: 2 4" }));
  }

  function draw() {
    const t = levels[at], half = levels.filter(l => l > .5).length;
    chart(); dim(t); table.refresh();
    film.setAttribute("aria-label", say("{}, {} % noise", data.alt, Math.round(100 * t)));
    const one = say("After step {} of {} the level is {}: {} % film and {} % noise ({}).", at, steps, round(t, 3), Math.round(100 * (1 - t)), Math.round(100 * t), inDecibels(t));
    const two = shift > 1.02 ? say("{} of {} levels lie above one half; without the shift it would be {}.", half, steps + 1, levelsOf(steps, 1).filter(l => l > .5).length)
      : say("{} of {} levels lie above one half.", half, steps + 1);
    words.textContent = `${one} ${two}`;
  }
  draw();
  return () => { play.run(false); media.free(); };
}

export default { render };
