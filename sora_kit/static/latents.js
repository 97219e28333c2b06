// The latent viewer: pixels, latent channels, decoded picture. The kernel has decoded the film without each channel; here one only leafs through the results.

const LOOK = `
.sk .trio { display: grid; grid-template-columns: minmax(0, 5fr) minmax(270px, 6fr) minmax(0, 5fr); gap: 22px; align-items: start; margin-top: 20px; }
@container (max-width: 720px) { .sk .trio { grid-template-columns: minmax(0, 1fr); } }
.sk .trio h3 { margin-bottom: 8px; }
.sk .trio .small { image-rendering: pixelated; }
.sk .trio .under { min-height: 3.1em; margin-top: 8px; }
.sk .channels { display: grid; grid-template-columns: repeat(8, minmax(0, 1fr)); gap: 5px; }
.sk .channels label { position: relative; display: block; border-radius: 6px; cursor: pointer; outline: 1px solid var(--line); }
.sk .channels canvas { width: 100%; aspect-ratio: 1; image-rendering: pixelated; border-radius: 6px; }
.sk .channels input { position: absolute; inset: 0; width: 100%; height: 100%; opacity: 0; margin: 0; cursor: pointer; }
.sk .channels label.gone canvas { opacity: .18; }
.sk .channels label:has(:checked) { outline: 3px solid var(--second); }
.sk .channels label:has(:focus-visible) { outline: 3px solid var(--accent); outline-offset: 3px; }
.sk .channels .none { grid-column: 1 / -1; padding: 5px 10px; text-align: center; min-height: 34px; }
.sk .scale { display: flex; gap: 8px; align-items: center; margin-top: 8px; flex-wrap: wrap; }
.sk .scale i { width: 84px; height: 10px; border-radius: 5px; }
`;

const count = n => n.toLocaleString("en-US");
const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));

async function render({ model, el }) {
  const data = model.get("data"), media = parts(model), [H, W, K, C, hh, ww] = data.shape, F = data.times.length;
  const root = shell(el, data.title, data.lead), film = media.numbers(data.latents), all = data.few.length - 1;
  root.append(h("style", {}, LOOK));
  let frame = 0, way = "zero", gone = -1, few = all, view = "decoded";

  const left = h("canvas", { class: "picture small", role: "img", width: W, height: H }), right = h("canvas", { class: "picture", role: "img", width: data.size, height: data.size });
  const words = h("p", { class: "words", "aria-live": "polite" }), seen = h("p", { class: "quiet under" });
  const time = slider("Time in the film", { min: 0, max: F - 1, value: 0, show: k => `${round(data.times[k], 2)} s`, change: k => { frame = k; draw(); } });
  let clock = 0;
  const play = playing("Play the film", s => { clock += s; if (clock < data.pause) return; clock = 0; frame = (frame + 1) % F; time.put(frame); draw(); });
  const name = unique("channel"), boxes = [];
  const pick = c => { gone = c; draw(); };
  const radio = (c, label) => h("input", { type: "radio", name, value: c, checked: c === -1, "aria-label": label, onchange: () => pick(c),
    onclick: () => { if (pressed === c && c >= 0) { none.checked = true; pick(-1); } } });
  let pressed = -1;                                     // a second click on a channel brings it back; arrow keys never come here with the old one
  const none = radio(-1, "all channels as they are");
  for (let c = 0; c < C; c++) boxes.push(h("label", { title: `channel ${c}`, onpointerdown: () => { pressed = gone; } }, h("canvas", { width: ww, height: hh }), radio(c, `channel ${c} to zero`)));
  const channels = h("fieldset", { class: "channels", "aria-label": "The channel that is set to zero" }, boxes, h("label", { class: "none" }, none, "all channels as they are"));
  const keep = slider("Channels kept, the weightiest first", { min: 0, max: all, value: all, show: k => `${data.few[k].count} of ${C}`, change: k => { few = k; draw(); } });
  const scale = h("p", { class: "quiet scale" });
  const ways = choice("What to take away", [["zero", "one channel"], ["few", "all but a few"]], way, v => { way = v; draw(); });
  const views = choice("What to look at on the right", [["decoded", "the decoded picture"], ["lost", "what is lost"]], view, v => { view = v; draw(); });
  const mean = list => list.reduce((a, b) => a + b) / list.length;
  const table = numbers("Channels, the weightiest first", ["channel", "its size", "PSNR of the film without it", "lost"], () => data.order.map(c =>
    [c, round(data.sizes[c], 2), `${round(mean(data.alone[c].db), 1)} dB`, `${round(mean(data.whole.db) - mean(data.alone[c].db), 1)} dB`]));

  root.append(h("div", { class: "row" }, ways, views, time, play), h("div", { class: "trio" },
    h("div", {}, h("h3", {}, "Pixels"), left, h("p", { class: "quiet under" }, `${H} × ${W} pixels of ${K} colours: ${count(data.numbers[0])} numbers a frame`)),
    h("div", {}, h("h3", {}, "Latents"), keep, channels, scale, h("p", { class: "quiet under" }, `${hh} × ${ww} cells of ${C} channels: ${count(data.numbers[1])} numbers a frame`)),
    h("div", {}, h("h3", {}, "Decoded"), right, seen)), words, table);

  const shots = new Map(), bitmap = async i => { if (!shots.has(i)) shots.set(i, await media.bitmap(i)); return shots.get(i); };
  await Promise.all([data.pixels, data.whole.strip, ...data.alone.map(v => v.strip), ...data.few.map(v => v.strip)].map(bitmap));
  left.getContext("2d").imageSmoothingEnabled = false;
  const wide = strip => strip.width / F;
  const chosen = () => way === "few" ? data.few[few] : gone < 0 ? data.whole : data.alone[gone];
  const kept = () => new Set(way === "few" ? data.order.slice(0, data.few[few].count) : data.order.filter(c => c !== gone));

  // Orange above the world's average, blue below; the paper's colour is zero.
  function latents() {
    const [low, zero, high] = ["accent", "paper", "second"].map(k => rgb(ink(root, k))), on = kept();
    boxes.forEach((box, c) => {
      const ctx = box.firstChild.getContext("2d"), tile = ctx.createImageData(ww, hh), start = (c * F + frame) * hh * ww;
      for (let i = 0; i < hh * ww; i++) {
        const v = Math.max(-1, Math.min(1, (on.has(c) ? film[start + i] : 0) / 2)), end = v < 0 ? low : high;
        tile.data.set([...zero.map((z, k) => Math.round(z + (end[k] - z) * Math.abs(v) ** .7)), 255], 4 * i);
      }
      ctx.putImageData(tile, 0, 0);
      box.classList.toggle("gone", !on.has(c));
    });
    const css = k => `rgb(${k.join(",")})`, bar = h("i", { style: `background: linear-gradient(90deg, ${css(low)}, ${css(zero)}, ${css(high)})`, "aria-hidden": "true" });
    scale.replaceChildren("below the world's average", bar, "above");
  }

  function paint() {
    const strip = shots.get(chosen().strip), ctx = right.getContext("2d"), S = right.width, w = wide(strip);
    ctx.globalCompositeOperation = "source-over"; ctx.drawImage(strip, frame * w, 0, w, strip.height, 0, 0, S, S);
    if (view !== "lost") return;
    ctx.globalCompositeOperation = "difference"; ctx.drawImage(shots.get(data.whole.strip), frame * w, 0, w, strip.height, 0, 0, S, S);
    ctx.globalCompositeOperation = "color-dodge"; ctx.fillStyle = "rgb(128,128,128)"; ctx.fillRect(0, 0, S, S);       // twice as bright
    ctx.globalCompositeOperation = "source-over";
  }

  function draw() {
    left.getContext("2d").drawImage(shots.get(data.pixels), frame * W, 0, W, H, 0, 0, W, H);
    latents(); paint();
    keep.hidden = way !== "few"; none.parentNode.hidden = way === "few";
    for (const box of [...boxes, none.parentNode]) box.querySelector("input").disabled = way === "few";
    const n = way === "few" ? data.few[few].count : C, db = chosen().db[frame], best = data.whole.db[frame];
    const what = way === "few" ? (n === C ? `with all ${C} channels` : n === 0 ? "without any channel" : `with the ${n} weightiest of ${C} channels`) : gone < 0 ? `with all ${C} channels` : `without channel ${gone}`;
    left.setAttribute("aria-label", `${data.alt} at ${round(data.times[frame], 2)} s, ${H} × ${W} pixels`);
    right.setAttribute("aria-label", `${view === "lost" ? "what is lost" : "decoded"} ${what}, at ${round(data.times[frame], 2)} s`);
    seen.textContent = `${view === "lost" ? "Difference to the decoding with all channels, twice as bright," : `${data.size} × ${data.size} pixels, decoded`} ${what}`;
    root.dataset.drawn = `${frame} ${way} ${gone} ${few} ${view}`;
    if (play.running()) return;
    const numbers = data.numbers[1] / C * n, ratio = numbers ? `${count(data.numbers[0])} pixel numbers become ${count(numbers)} latent numbers, ${round(data.numbers[0] / numbers, 1).replace(/\.0$/, "")} times fewer. ` : "Nothing is told about this film. ";
    words.textContent = (way === "zero" && gone >= 0 ? "" : ratio) + `Decoded ${what}, the picture at ${round(data.times[frame], 2)} s has a PSNR of ${round(db, 1)} dB` + (Math.abs(best - db) < .05 ? "." : `; with all channels it has ${round(best, 1)} dB.`);
  }
  draw();
  return () => { play.run(false); media.free(); };
}

export default { render };
