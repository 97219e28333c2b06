// The training film: two losses over the steps, and the films that the model makes at each moment of its training.

const LOOK = `
.sk .learn { display: grid; grid-template-columns: minmax(0, 6fr) minmax(0, 5fr); gap: 28px; margin-top: 18px; align-items: start; }
@container (max-width: 720px) { .sk .learn { grid-template-columns: minmax(0, 1fr); } }
.sk .learn .said { display: block; font-weight: 450; color: var(--soft); font-size: 13.5px; }
.sk .rows { display: grid; gap: 10px; }
.sk .rows canvas { width: 100%; }
`;

async function render({ model, el }) {
  const data = model.get("data"), media = parts(model), { moments } = data, last = moments.length - 1, B = data.sentences.length;
  const root = shell(el, data.title, data.lead);
  root.append(h("style", {}, LOOK));
  let at = last;
  const words = h("p", { class: "words", "aria-live": "polite" }), plot = svg(620, 400, "Loss against training steps");
  const moment = slider("Moment", { min: 0, max: last, value: at, show: k => `after ${moments[k].step} steps`, change: k => { at = k; draw(); } });
  let clock = 0;
  const play = playing("Watch it learn", s => { clock += s; if (clock < .6) return; clock = 0; if (at === last) { play.run(false); draw(); return; } at += 1; moment.put(at); draw(); });
  play.addEventListener("click", () => { if (play.running() && at === last) { at = 0; moment.put(0); draw(); } });
  const loss = x => x === null ? "–" : x.toPrecision(3);
  const table = numbers("Losses", ["step", "in training", "on held-out films"], moments.map(m => [m.step, loss(m.train), loss(m.held)]));
  const screens = data.sentences.map(() => h("canvas", { role: "img" }));
  root.append(h("div", { class: "row" }, moment, play), h("div", { class: "learn" }, h("div", {}, plot),
    h("div", { class: "rows" }, screens.map((canvas, k) => h("div", {}, h("p", { class: "said" }, data.sentences[k]), canvas)))), words, table);
  const sheets = await Promise.all(moments.map(m => media.bitmap(m.sheet)));

  const all = moments.flatMap(m => [m.train, m.held]).filter(x => x !== null && x > 0), low = Math.log(Math.min(...all) / 1.06), high = Math.log(Math.max(...all) * 1.06);
  const X = step => 58 + 548 * step / Math.max(1, moments[last].step), Y = v => 360 - 330 * (Math.log(v) - low) / (high - low);
  const marks = () => {
    const found = [];
    for (let e = Math.floor(low / Math.LN10); e <= high / Math.LN10; e++) for (const d of [1, 2, 5]) { const v = d * 10 ** e; if (Math.log(v) >= low && Math.log(v) <= high) found.push(v); }
    return found;
  };

  function chart() {
    const line = (key, style) => h("svg:path", { d: path(moments.filter(m => m[key] !== null).map(m => [X(m.step), Y(m[key])])), fill: "none", "stroke-width": 2.5, style });
    const now = moments[at], legend = (x, style, text) => [h("svg:path", { d: `M${x} 16h30`, "stroke-width": 2.5, style }), h("svg:text", { x: x + 38, y: 20 }, text)];
    const train = "stroke: var(--accent)", held = "stroke: var(--second); stroke-dasharray: 7 5";
    plot.replaceChildren(...marks().map(v => h("svg:g", {}, h("svg:path", { class: "axis", d: `M58 ${Y(v)}H606` }), h("svg:text", { x: 50, y: Y(v) + 4, "text-anchor": "end" }, String(+v.toPrecision(2))))),
      h("svg:path", { d: `M${X(now.step)} 30V360`, style: "stroke: var(--control); stroke-dasharray: 2 4" }), line("train", train), line("held", held),
      ...moments.flatMap((m, k) => [["train", "accent"], ["held", "second"]].filter(([key]) => m[key] !== null).map(([key, colour]) =>
        h("svg:circle", { cx: X(m.step), cy: Y(m[key]), r: k === at ? 7 : 3.5, style: `fill: var(--${colour})` }))),
      ...legend(250, train, "in training"), ...legend(410, held, "on held-out films"), h("svg:text", { x: 58, y: 20, class: "strong" }, "loss"),
      h("svg:text", { x: 58, y: 388 }, "untrained"), h("svg:text", { x: 606, y: 388, "text-anchor": "end" }, `${moments[last].step} steps`));
  }

  function draw() {
    const m = moments[at], picture = sheets[at], tall = picture.height / B;
    chart();
    screens.forEach((canvas, k) => {
      canvas.width = picture.width; canvas.height = tall;
      canvas.getContext("2d").drawImage(picture, 0, k * tall, picture.width, tall, 0, 0, picture.width, tall);
      canvas.setAttribute("aria-label", `film for “${data.sentences[k]}” after ${m.step} steps`);
    });
    root.dataset.drawn = String(at);
    if (play.running()) return;
    words.textContent = m.train === null ? `Before the first step the loss on held-out films is ${loss(m.held)}: the films show what the codec makes of a model that knows nothing.` :
      `After ${m.step} steps the loss is ${loss(m.train)} in training and ${loss(m.held)} on films that were never trained on; untrained it was ${loss(moments[0].held)}. ` + (m.step === data.best ? "No other moment has a lower held-out loss." : `It is lowest after ${data.best} steps.`);
  }
  draw();
  return () => { play.run(false); media.free(); };
}

export default { render };
