// Picture and sound on one time line: where something moves, where something is heard, and how far apart they are.

async function render({ model, el }) {
  const data = model.get("data"), media = parts(model), L = data.seconds;
  const root = shell(el, data.title, data.lead, data);
  let now = 0, delay = 0;
  const film = h("video", { src: media.link(data.film), playsinline: true, controls: true, "aria-label": data.alt });
  film.append(h("track", { kind: "captions", label: say("captions"), srclang: data.spoken, src: URL.createObjectURL(new Blob([data.vtt], { type: "text/vtt" })) }));
  const words = h("p", { class: "words", "aria-live": "polite" }), plot = svg(700, 320, say("Motion, loudness, onsets and captions over time"));
  const said = h("p", { class: "caption", "aria-live": "off" });
  const where = slider(say("Time"), { min: 0, max: L, step: .01, value: 0, show: t => `${round(t, 2)} s`, change: t => { now = t; film.pause(); film.currentTime = t; line(); } });
  const shift = slider(say("Shift the sound by"), { min: -500, max: 500, step: 5, value: 0, show: v => `${v > 0 ? "+" : v < 0 ? "−" : ""}${Math.abs(v)} ms`, change: v => { delay = v / 1000; draw(); } });
  const home = h("button", { type: "button", onclick: () => { shift.put(Math.round(-data.lag * 200) * 5); delay = +shift.input.value / 1000; draw(); } }, say("Move it to where it fits best"));
  const table = numbers(say("Moments"), [say("moment"), say("seconds")], () => [...data.peaks.map((t, i) => [say("motion peak {}", i + 1), round(t, 3)]), ...data.onsets.map((t, i) => [say("onset {}", i + 1), round(t + delay, 3)])]);
  root.append(h("div", { class: "two explorer" }, h("div", {}, film, said), h("div", {}, plot, h("div", { class: "row" }, where, shift), h("div", { class: "row" }, home))), words, table);

  // With a shift, the picture plays without its own sound and the sound plays beside it.
  const sound = new Audio(media.link(data.sound));
  film.addEventListener("play", () => { film.muted = delay !== 0; if (delay !== 0) { setTimeout(() => { if (film.paused) return; sound.currentTime = Math.max(0, film.currentTime - delay); sound.play(); }, Math.max(0, delay - film.currentTime) * 1000); } tick(); });
  film.addEventListener("pause", () => sound.pause());
  const tick = () => { now = film.currentTime; where.put(now); line(); if (!film.paused && film.isConnected) requestAnimationFrame(tick); };

  const X = t => 12 + 676 * t / L, curve = (values, y, high, gap) => path(values.map((v, i) => [X(Math.min(L, i * gap)), y - high * v]));
  const head = h("svg:path", { style: "stroke: var(--ink)", "stroke-width": 1.5 });
  function line() {
    head.setAttribute("d", `M${X(now)} 10V300`);
    const caption = data.captions.find(([a, b]) => now >= a && now <= b);
    said.textContent = caption ? caption[2] : "";
  }
  const matches = () => data.peaks.map(p => data.onsets.reduce((best, o) => Math.abs(o + delay - p) < Math.abs(best) ? o + delay - p : best, Infinity)).filter(Number.isFinite);

  function draw() {
    const area = (values, y, high, gap) => `${curve(values, y, high, gap)}L${X(Math.min(L, (values.length - 1) * gap))} ${y}L${X(0)} ${y}Z`, dx = 676 * delay / L;
    plot.replaceChildren(
      h("svg:text", { x: 18, y: 20, class: "strong" }, say("motion in the picture")), h("svg:path", { d: area(data.motion, 110, 80, data.frame), style: "fill: var(--accent-soft); stroke: var(--accent)", "stroke-width": 1.5 }),
      ...data.peaks.map(t => h("svg:path", { d: `M${X(t)} 26V110`, style: "stroke: var(--accent); stroke-dasharray: 3 3" })),
      h("svg:text", { x: 18, y: 138, class: "strong" }, say("loudness of the sound")),
      h("svg:g", { transform: `translate(${dx} 0)` }, h("svg:path", { d: area(data.loudness, 226, 78, 1 / data.rate), style: "fill: none; stroke: var(--second)", "stroke-width": 1.5 }),
        ...data.onsets.map(t => h("svg:path", { d: `M${X(t)} 146V226`, style: "stroke: var(--second)", "stroke-width": 2 })), ...data.onsets.map(t => h("svg:circle", { cx: X(t), cy: 148, r: 4, style: "fill: var(--second)" }))),
      h("svg:text", { x: 18, y: 252, class: "strong" }, say("captions")), ...data.captions.map(([a, b]) => h("svg:rect", { x: X(a), width: Math.max(2, X(b) - X(a) - 2), y: 260, height: 14, rx: 4, style: "fill: var(--third)" })),
      ...Array.from({ length: Math.floor(L / .5) + 1 }, (_, i) => h("svg:text", { x: X(i / 2), y: 312, "text-anchor": "middle" }, `${i / 2} s`)), head);
    line(); table.refresh();
    const found = matches(), close = found.filter(d => Math.abs(d) <= data.frame).length, lag = data.lag + delay;
    const best = Math.abs(lag) < .005 ? say("Sound and motion fit best as they are (correlation {}).", round(data.fit, 2))
      : say("Sound and motion fit best when the sound is moved by {} ms (correlation {}).", `${lag > 0 ? "−" : "+"}${Math.round(Math.abs(lag) * 1000)}`, round(data.fit, 2));
    words.textContent = `${best} ` + (data.peaks.length ? say("{} of {} motion peaks have an onset within one frame ({} ms).", close, data.peaks.length, Math.round(data.frame * 1000)) : say("The picture has no clear motion peak."));
  }
  draw();
  return () => { film.pause(); sound.pause(); media.free(); };
}

export default { render };
