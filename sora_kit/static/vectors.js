// Guidance as arrows: what the model says with and without the sentence, and where the scale carries the sum. Lengths and angles are exact.

async function render({ model, el }) {
  const data = model.get("data"), media = parts(model), rows = data.rows;
  const root = shell(el, data.title, data.lead, data);
  let at = Math.min(rows.length - 1, data.start), scale = data.scale, eta = 0, projected = false, near = false;
  const words = h("p", { class: "words", "aria-live": "polite" }), plot = svg(600, 360, say("Arrows of the two answers and their guided sum")), screen = h("canvas", { class: "picture", role: "img" });
  const caption = h("p", { class: "quiet" });
  const table = numbers(say("The two answers in each step"), ["step", "noise level", "with the sentence", "without it", "difference", "angle"].map(word => say(word)), rows.map(r => [r.name, round(r.t, 3), round(length(r.cond), 3), round(length(r.uncond), 3), round(length(push(r)), 3), `${round(angle(r), 1)}°`]));
  const step = slider(say("Step"), { min: 0, max: rows.length - 1, value: at, show: k => say("{} of {}", rows[k].name, data.steps), change: k => { at = k; draw(); } });
  const w = slider(say("Guidance scale w"), { min: 0, max: data.most, step: .1, value: scale, show: v => round(v, 1), change: v => { scale = v; draw(); } });
  const rule = check(say("Drop the part that only adds contrast (APG)"), projected, on => { projected = on; draw(); });
  const zoom = choice(say("Look at"), [["whole", say("whole arrows")], ["tips", say("their tips")]], "whole", v => { near = v === "tips"; draw(); });
  root.append(h("div", { class: "row" }, step, w), h("div", { class: "row under" }, zoom, rule), h("div", { class: "plots" }, h("div", {}, plot), h("div", {}, screen, caption)), words, table);

  function length([x, y]) { return Math.hypot(x, y); }
  function push(r) { return [r.cond[0] - r.uncond[0], r.cond[1] - r.uncond[1]]; }
  function angle(r) { return Math.acos(Math.max(-1, Math.min(1, (r.cond[0] * r.uncond[0] + r.cond[1] * r.uncond[1]) / (length(r.cond) * length(r.uncond))))) * 180 / Math.PI; }
  function guided(r) {
    const d = push(r);
    if (!projected) return [r.uncond[0] + scale * d[0], r.uncond[1] + scale * d[1]];
    return [r.cond[0] + (scale - 1) * eta * d[0], r.cond[1] + (scale - 1) * d[1]];        // the first axis lies along the conditioned answer
  }
  const strips = await Promise.all(data.pictures.map(async list => list && { scales: list.map(([v]) => v), films: await Promise.all(list.map(([, i]) => media.bitmap(i))) }));

  function draw() {
    const r = rows[at], sum = guided(r), ends = [...(near ? [] : [[0, 0]]), r.cond, r.uncond, sum];
    const xs = ends.map(p => p[0]), ys = ends.map(p => p[1]), span = Math.max(Math.max(...xs) - Math.min(...xs), (Math.max(...ys) - Math.min(...ys)) * 1.7, 1e-6) * (near ? 1.6 : 1.12);
    const mid = [(Math.max(...xs) + Math.min(...xs)) / 2, (Math.max(...ys) + Math.min(...ys)) / 2], k = 560 / span;
    const X = p => 300 + (p[0] - mid[0]) * k, Y = p => 180 - (p[1] - mid[1]) * k;
    const arrow = (from, to, colour, dash) => {
      const [x0, y0, x1, y1] = [X(from), Y(from), X(to), Y(to)], a = Math.atan2(y1 - y0, x1 - x0), tip = Math.min(13, Math.hypot(x1 - x0, y1 - y0));
      const corner = turn => `${(x1 - tip * Math.cos(a + turn)).toFixed(1)} ${(y1 - tip * Math.sin(a + turn)).toFixed(1)}`;
      return h("svg:path", { d: `M${x0} ${y0}L${x1} ${y1}M${corner(.42)}L${x1} ${y1}L${corner(-.42)}`, fill: "none", "stroke-width": dash ? 2 : 3, "stroke-linejoin": "round", "stroke-linecap": "round", style: `stroke: var(--${colour});${dash ? "stroke-dasharray: 5 6" : ""}` });
    };
    const side = p => X(p) > 470 ? { "text-anchor": "end", x: X(p) - 8 } : { x: X(p) + 8 };
    const note = (p, text, dy) => h("svg:text", { ...side(p), y: Math.max(16, Math.min(354, Y(p) + dy)), class: "strong" }, text);
    plot.replaceChildren(arrow([0, 0], r.uncond, "second"), arrow([0, 0], r.cond, "accent"), arrow(r.uncond, sum, "control", true), arrow([0, 0], sum, "third"),
      note(r.uncond, say("without the sentence"), r.uncond[1] < r.cond[1] ? 22 : -12), note(r.cond, say("with it"), r.uncond[1] < r.cond[1] ? -12 : 22), note(sum, say("guided, w = {}", round(scale, 1)), sum[1] > r.cond[1] ? -14 : 24), near ? "" : h("svg:text", { x: X([0, 0]) + 6, y: Y([0, 0]) + 20 }, say("zero")));
    plot.style.overflow = "hidden";
    const closest = strips.map((s, i) => s && [Math.abs(i - at), i]).filter(Boolean).sort((a, b) => a[0] - b[0])[0];
    if (closest) {
      const s = strips[closest[1]], best = s.scales.reduce((a, v, i) => Math.abs(v - scale) < Math.abs(s.scales[a] - scale) ? i : a, 0), film = s.films[best];
      screen.width = film.width; screen.height = film.height; screen.style.aspectRatio = `${film.width} / ${film.height}`;
      screen.getContext("2d").drawImage(film, 0, 0);
      caption.textContent = say("What w = {} makes of the two answers in step {}.", s.scales[best], rows[closest[1]].name) + (projected ? " " + say("(Drawn without dropping anything.)") : "");
      screen.setAttribute("aria-label", caption.textContent);
    }
    const far = length(sum) / length(r.cond);
    words.textContent = say("Step {}, noise level {}: the two answers differ by {} % of their size, at an angle of {}°.", r.name, round(r.t, 3), Math.round(100 * length(push(r)) / length(r.cond)), round(angle(r), 0)) +
      " " + say("With w = {} the guided answer is {} times as long as the one with the sentence.", round(scale, 1), round(far, 2)) + (far > 1.25 ? " " + say("That is too much contrast.") : "");
  }
  draw();
  return () => media.free();
}

export default { render };
