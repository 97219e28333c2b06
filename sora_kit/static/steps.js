// The step explorer: every step of a run against the time of the film. All pictures and sounds are here already; nothing asks the kernel.

async function render({ model, el }) {
  const data = model.get("data"), media = parts(model), rows = data.rows, F = data.frames.length, last = rows.length - 1;
  const root = shell(el, data.title, data.lead, data);
  let at = last, frame = 0, what = "x0";

  const screen = h("canvas", { class: "picture", width: data.size, height: data.size, role: "img" });
  const grid = h("canvas", { class: "grid", "aria-hidden": "true" }), bars = svg(300, 84, say("How much the expected film changes in each step"));
  const words = h("p", { class: "words", "aria-live": "polite" }), sound = h("audio", { controls: true, preload: "none" });
  const mel = h("canvas", { class: "mel", role: "img" });
  const table = numbers(say("Steps of this run"), ["step", "noise level", "level after", "change of the picture", "change of the sound"].map(word => say(word)), rows.map(r =>
    [r.name, round(r.t, 3), round(r.to, 3), r.change === null ? "–" : `${round(100 * r.change, 1)} %`, r.heard === null ? "–" : `${round(100 * r.heard, 1)} %`]));

  const step = slider(say("Step"), { min: 0, max: last, value: at, show: k => say("{} of {}", rows[k].name, data.steps), change: k => { at = k; draw(); hear(); } });
  const time = slider(say("Time in the film"), { min: 0, max: F - 1, value: 0, show: k => `${round(data.times[k], 2)} s`, change: k => { frame = k; draw(); } });
  const views = choice(say("What to look at"), [["x0", say("film the model expects")], ["x", say("noisy film")], ["change", say("change in this step")]].filter(([k]) => k !== "x" || data.x), what, v => { what = v; draw(); });
  let clock = 0;
  const walk = playing(say("Walk the steps"), s => { film.run(false); clock += s; if (clock > .16) { clock = 0; at = (at + 1) % rows.length; step.put(at); draw(); } });
  const film = playing(say("Play the film"), s => { walk.run(false); clock += s; if (clock > data.pause) { clock = 0; frame = (frame + 1) % F; time.put(frame); draw(); } });
  for (const button of [walk, film]) button.addEventListener("click", () => { if (!walk.running()) hear(); });

  root.append(views, h("div", { class: "three explorer" },
    h("div", {}, h("p", { class: "label over" }, say("steps ↓  film's time →")), grid),
    h("div", {}, screen, h("div", { class: "pair" }, film, walk)),
    h("div", { class: "side" }, step, time, h("div", {}, h("p", { class: "label" }, say("How much the expected film changes in each step")), bars),
      data.sounds.length ? h("div", { class: "heard" }, h("p", { class: "label" }, say("The expected sound: high pitch above, time to the right")), mel, sound) : null)), words, table);

  // Decode once; from then on a step is one drawImage.
  const strips = { x0: await Promise.all(data.x0.map(media.bitmap)), x: data.x ? await Promise.all(data.x.map(media.bitmap)) : [] };
  const spectra = await Promise.all(data.mels.map(media.bitmap));
  const tile = strips.x0[0].height, wide = strips.x0[0].width / F, size = Math.max(16, Math.min(46, Math.floor(560 / rows.length))), cell = 2 * size;
  const pen = screen.getContext("2d"), thumbs = h("canvas", { width: F * cell, height: rows.length * cell });
  screen.width = wide; screen.height = tile; screen.style.aspectRatio = `${wide} / ${tile}`;
  grid.width = thumbs.width; grid.height = thumbs.height; grid.style.width = `${F * size}px`;
  let drawn = "";

  function paint(ctx, k, f, x, y, w, hh) {
    const strip = strips[what === "x" ? "x" : "x0"];
    ctx.globalCompositeOperation = "source-over"; ctx.filter = "none";
    if (what === "change" && k === 0) { ctx.fillStyle = "#000"; ctx.fillRect(x, y, w, hh); return; }
    ctx.drawImage(strip[k], f * wide, 0, wide, tile, x, y, w, hh);
    if (what !== "change") return;
    ctx.globalCompositeOperation = "difference"; ctx.drawImage(strip[k - 1], f * wide, 0, wide, tile, x, y, w, hh);
    ctx.globalCompositeOperation = "color-dodge"; ctx.fillStyle = "rgb(150,150,150)"; ctx.fillRect(x, y, w, hh);       // small changes shown brighter
    ctx.globalCompositeOperation = "source-over";
  }

  function overview() {
    if (drawn !== what) {
      const ctx = thumbs.getContext("2d");
      rows.forEach((_, k) => data.frames.forEach((_, f) => paint(ctx, k, f, f * cell + 2, k * cell + 2, cell - 4, cell - 4)));
      drawn = what;
    }
    const ctx = grid.getContext("2d");
    ctx.clearRect(0, 0, grid.width, grid.height); ctx.drawImage(thumbs, 0, 0);
    ctx.lineWidth = 3; ctx.strokeStyle = ink(root, "control"); ctx.strokeRect(1.5, at * cell + 1.5, grid.width - 3, cell - 3);
    ctx.lineWidth = 6; ctx.strokeStyle = ink(root, "second"); ctx.strokeRect(frame * cell + 3, at * cell + 3, cell - 6, cell - 6);
  }

  function chart() {
    const most = Math.max(...rows.map(r => r.change || 0), 1e-6), w = 300 / rows.length;
    bars.replaceChildren(h("svg:path", { class: "axis", d: "M0 64H300" }), ...rows.map((r, k) => h("svg:rect", { x: k * w + 1.5, width: Math.max(1, w - 3),
      y: 62 - 58 * (r.change || 0) / most, height: Math.max(1, 58 * (r.change || 0) / most), rx: 2, style: `fill: var(--${k === at ? "second" : "accent"})` })),
      h("svg:text", { x: 0, y: 80 }, say("first step")), h("svg:text", { x: 300, y: 80, "text-anchor": "end" }, say("last step")));
  }

  function draw() {
    const r = rows[at];
    paint(pen, at, frame, 0, 0, wide, tile); overview(); chart();
    if (spectra.length) { mel.width = spectra[at].width; mel.height = spectra[at].height; mel.getContext("2d").drawImage(spectra[at], 0, 0); }
    const seen = { x0: say("the film that the model expects"), x: say("the film still covered by noise"), change: say("what changed since the step before") }[what];
    screen.setAttribute("aria-label", say("{} at step {}, {} s: {}", seen, r.name, round(data.times[frame], 2), data.alt));
    mel.setAttribute("aria-label", say("spectrogram of the sound expected at step {}", r.name));
    if (!walk.running() && !film.running()) words.textContent = say("Step {} of {}: the noise falls from {} to {}.", r.name, data.steps, round(r.t, 3), round(r.to, 3)) + " " + (r.change === null ? say("This is the model's first guess.") :
      say("Since the step before, the expected picture changed by {} % and the expected sound by {} %.", round(100 * r.change, 1), round(100 * r.heard, 1)));
    root.dataset.drawn = `${what} ${at} ${frame}`;
  }

  const nearest = () => data.sounds.length ? data.sounds.reduce((a, b) => Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a) : null;
  function hear() {
    const near = nearest();
    if (!near || sound.dataset.row === String(near[0])) return;
    sound.dataset.row = near[0]; sound.src = media.link(near[1]);
    sound.setAttribute("aria-label", say("the sound expected at step {}", rows[near[0]].name));
  }

  let down = false;
  const point = e => {
    const box = grid.getBoundingClientRect(), clamp = (v, n) => Math.max(0, Math.min(n - 1, v));
    frame = clamp(Math.floor((e.clientX - box.left) / box.width * F), F); at = clamp(Math.floor((e.clientY - box.top) / box.height * rows.length), rows.length);
    step.put(at); time.put(frame); draw();
  };
  grid.addEventListener("pointerdown", e => { down = true; grid.setPointerCapture(e.pointerId); point(e); });
  grid.addEventListener("pointermove", e => down && point(e));
  grid.addEventListener("pointerup", () => { down = false; hear(); });
  draw(); hear();
  return () => { walk.run(false); film.run(false); media.free(); };
}

export default { render };
