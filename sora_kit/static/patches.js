// The patch viewer: a clip cut into spacetime cubes, as the model cuts it. Everything is here already; the browser only cuts.

const LOOK = `
.sk .block { width: 100%; background: none; cursor: pointer; margin-top: 18px; border-radius: 0; image-rendering: auto; }
.sk .stacks { display: grid; margin-top: 4px; }
.sk .cubes { display: grid; grid-template-columns: minmax(250px, 4fr) 8fr; gap: 28px; margin-top: 22px; align-items: start; }
@container (max-width: 720px) { .sk .cubes { grid-template-columns: minmax(0, 1fr); } }
.sk .cubes .steps { display: grid; gap: 12px; }
.sk .pieces { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 8px 12px; margin-top: 8px; }
.sk .pieces canvas { width: 100%; image-rendering: pixelated; border-radius: 6px; }
.sk .pieces p { text-align: center; }
.sk .pieces .numbers { aspect-ratio: 2; outline: 1px solid var(--line); }
.sk .scale { display: flex; gap: 8px; align-items: center; margin-top: 8px; flex-wrap: wrap; }
.sk .scale i { width: 84px; height: 10px; border-radius: 5px; }
.sk .line { margin-top: 20px; }
.sk .line .label { margin-bottom: 6px; }
`;

const count = n => n.toLocaleString("en-US");
const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));

async function render({ model, el }) {
  const data = model.get("data"), media = parts(model), { n, groups, size, patch, cells, channels } = data;
  const G = groups.length, total = G * n * n, side = size / n, frames = groups.at(-1).at(-1) + 1, film = media.numbers(data.latents);
  const root = shell(el, data.title, data.lead);
  root.append(h("style", {}, LOOK));
  let at = data.at, apart = true;
  const place = k => ({ group: Math.floor(k / (n * n)), row: Math.floor(k / n) % n, column: k % n });
  const words = h("p", { class: "words", "aria-live": "polite" }), block = h("canvas", { class: "block", role: "img" });
  const go = k => { at = Math.max(0, Math.min(total - 1, k)); draw(); };
  const move = change => { const p = { ...place(at), ...change }; go((p.group * n + p.row) * n + p.column); };
  const said = g => groups[g].length > 1 ? `frames ${groups[g][0]} to ${groups[g].at(-1)}` : `frame ${groups[g][0]}`;
  const token = slider("Token", { min: 0, max: total - 1, value: at, show: k => `${k} of 0 … ${total - 1}`, change: go });
  const when = slider("Group", { min: 0, max: G - 1, value: 0, show: g => `${g}: ${said(g)}`, change: group => move({ group }) });
  const down = slider("Row", { min: 0, max: n - 1, value: 0, show: String, change: row => move({ row }) });
  const over = slider("Column", { min: 0, max: n - 1, value: 0, show: String, change: column => move({ column }) });
  let clock = 0;
  const play = playing("Walk along the tokens", s => { clock += s; if (clock < .25) return; clock = 0; go((at + 1) % total); });
  const gaps = check("Pull the cubes apart", apart, v => { apart = v; draw(); });
  const pieces = h("div", { class: "pieces" }), scale = h("p", { class: "quiet scale" }), line = svg(1000, 40, "The row of tokens that the model reads"), title = h("h3", {});
  const table = numbers("All tokens of the picture", ["token", "group", "frames", "row", "column", "size of its latent numbers"], () => Array.from({ length: total }, (_, k) => {
    const p = place(k), all = cubeOf(k);
    return [k, p.group, said(p.group).replace(/frames? /, ""), p.row, p.column, round(Math.sqrt(all.reduce((a, v) => a + v * v, 0) / all.length), 2)];
  }));
  root.append(h("div", { class: "row" }, play, gaps), h("div", { class: "stacks" }, block),
    h("div", { class: "cubes" }, h("div", { class: "steps" }, token, when, down, over), h("div", {}, title, pieces, scale)),
    h("div", { class: "line" }, h("p", { class: "label" }, `The row that the model reads: ${data.row.map(r => `${r.count} ${r.name}`).join(", ")}`), line), words, table);

  const strip = await media.bitmap(data.pixels);
  const number = (c, f, y, x) => film[((c * frames + f) * cells + y) * cells + x];
  function cubeOf(k) {
    const p = place(k), out = [];
    for (const f of groups[p.group]) for (let c = 0; c < channels; c++) for (let y = 0; y < patch; y++) for (let x = 0; x < patch; x++) out.push(number(c, f, p.row * patch + y, p.column * patch + x));
    return out;
  }

  // A stack a group: the last frame lies at the back, up and to the right; the cuts go through all frames.
  const face = 168, gap = 5, deep = 9, step = 232, top = 3 * deep + 30;
  block.width = 2 * ((G - 1) * step + face + 3 * gap + 3 * deep + 8); block.height = 2 * (top + face + 3 * gap + 6);
  block.style.maxWidth = `${block.width / 2}px`;
  const corner = (g, row, column, f) => [4 + g * step + column * (face / n + (apart ? gap : 0)) + f * deep, top + row * (face / n + (apart ? gap : 0)) - f * deep];

  function stacks() {
    const ctx = block.getContext("2d"), tile = face / n;
    ctx.setTransform(2, 0, 0, 2, 0, 0); ctx.clearRect(0, 0, block.width, block.height); ctx.imageSmoothingEnabled = false;
    ctx.font = "14px system-ui, sans-serif"; ctx.fillStyle = ink(root, "soft");
    groups.forEach((list, g) => ctx.fillText(said(g), 4 + g * step, 12));
    groups.forEach((list, g) => { for (let f = list.length - 1; f >= 0; f--) for (let row = 0; row < n; row++) for (let column = 0; column < n; column++) {
      const [x, y] = corner(g, row, column, f);
      ctx.drawImage(strip, list[f] * size + column * side, row * side, side, side, x, y, tile, tile);
      if (f > 0) { ctx.fillStyle = "rgba(0,0,0,.22)"; ctx.fillRect(x, y, tile, tile); }
      ctx.strokeStyle = "rgba(255,255,255,.45)"; ctx.lineWidth = 1; ctx.strokeRect(x + .5, y + .5, tile - 1, tile - 1);
    } });
    const p = place(at), last = groups[p.group].length - 1, [x, y] = corner(p.group, p.row, p.column, 0), [u, v] = corner(p.group, p.row, p.column, last);
    for (const [colour, width] of [[ink(root, "paper"), 6], [ink(root, "second"), 3]]) {
      ctx.strokeStyle = colour; ctx.lineWidth = width; ctx.lineJoin = "round";
      ctx.beginPath(); ctx.rect(x, y, tile, tile);
      if (last) { ctx.moveTo(x, y); ctx.lineTo(u, v); ctx.lineTo(u + tile, v); ctx.lineTo(u + tile, v + tile); ctx.lineTo(x + tile, y + tile); ctx.moveTo(x + tile, y); ctx.lineTo(u + tile, v); }
      ctx.stroke();
    }
    block.setAttribute("aria-label", `${data.alt}: ${G} groups of frames, each cut into ${n} × ${n} cubes; marked is token ${at}, ${said(p.group)}, row ${p.row}, column ${p.column}`);
  }

  // Under each little picture its latent numbers, one small square a channel: orange above the world's average, blue below.
  function shown() {
    const p = place(at), [low, zero, high] = ["accent", "paper", "second"].map(k => rgb(ink(root, k))), wide = 8, tall = Math.ceil(channels / wide);
    pieces.replaceChildren(...groups[p.group].map(f => {
      const small = h("canvas", { width: side, height: side, role: "img", "aria-label": `frame ${f}, ${side} × ${side} pixels of the cube` });
      small.getContext("2d").drawImage(strip, f * size + p.column * side, p.row * side, side, side, 0, 0, side, side);
      const W = wide * (patch + 1) + 1, H = tall * (patch + 1) + 1, heat = h("canvas", { class: "numbers", width: W, height: H, role: "img", "aria-label": `the ${channels * patch * patch} latent numbers of frame ${f}` });
      const ctx = heat.getContext("2d");
      heat.style.aspectRatio = `${W} / ${H}`;
      ctx.fillStyle = ink(root, "line"); ctx.fillRect(0, 0, W, H);
      for (let c = 0; c < channels; c++) for (let y = 0; y < patch; y++) for (let x = 0; x < patch; x++) {
        const v = Math.max(-1, Math.min(1, number(c, f, p.row * patch + y, p.column * patch + x) / 2)), end = v < 0 ? low : high;
        ctx.fillStyle = `rgb(${zero.map((z, k) => Math.round(z + (end[k] - z) * Math.abs(v) ** .7)).join(",")})`;
        ctx.fillRect(1 + c % wide * (patch + 1) + x, 1 + Math.floor(c / wide) * (patch + 1) + y, 1, 1);
      }
      return h("div", {}, small, h("p", { class: "quiet" }, `frame ${f}`), heat);
    }));
    const css = k => `rgb(${k.join(",")})`;
    scale.replaceChildren(`pixels above; below the latents, a square a channel: under the world's average`, h("i", { style: `background: linear-gradient(90deg, ${css(low)}, ${css(zero)}, ${css(high)})`, "aria-hidden": "true" }), "over it");
  }

  function rowOf() {
    const all = data.row.reduce((a, r) => a + r.count, 0), w = 1000 / all, marks = [];
    let start = 0;
    for (const { name, count: many } of data.row) {
      for (let k = 0; k < many; k++) {
        const here = name === "for the picture" && k === at, odd = name === "for the picture" ? Math.floor(k / (n * n)) % 2 : 0;
        marks.push(h("svg:rect", { x: (start + k) * w + .6, y: here ? 0 : 8, width: w - 1.2, height: here ? 40 : 24, rx: 1.5, style: `fill: var(--${here ? "second" : name === "for the picture" ? "accent" : "control"}); opacity: ${here ? 1 : odd ? .55 : .85}` }));
      }
      start += many;
    }
    line.replaceChildren(...marks);
    return all;
  }

  function draw() {
    const p = place(at), list = groups[p.group], many = list.length, all = rowOf(), before = data.row[0].count + data.row[1].count;
    stacks(); shown();
    token.put(at); when.put(p.group); down.put(p.row); over.put(p.column);
    title.textContent = `Token ${at}: ${said(p.group)}, row ${p.row}, column ${p.column}`;
    root.dataset.drawn = `${at} ${apart}`;
    if (play.running()) return;
    words.textContent = `The clip is ${G} groups × ${n} rows × ${n} columns = ${total} tokens. Token ${at} is (group ${p.group} × ${n} + row ${p.row}) × ${n} + column ${p.column}; in the whole row of ${all} it is number ${before + at}. ` +
      `It covers ${many} frame${many > 1 ? "s" : ""} of ${side} × ${side} pixels, ${count(many * side * side * 3)} numbers; as latents they are ${count(many * patch * patch * channels)}, and the model makes ${data.width} of them.`;
  }

  block.addEventListener("click", e => {
    const box = block.getBoundingClientRect(), x = (e.clientX - box.left) / box.width * block.width / 2, y = (e.clientY - box.top) / box.height * block.height / 2, tile = face / n + (apart ? gap : 0);
    const clamp = (v, most) => Math.max(0, Math.min(most, Math.floor(v))), group = clamp((x - 4) / step, G - 1);
    move({ group, column: clamp((x - 4 - group * step) / tile, n - 1), row: clamp((y - top) / tile, n - 1) });
  });
  draw();
  return () => { play.run(false); media.free(); };
}

export default { render };
