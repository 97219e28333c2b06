// The sampler race: the same start, the same number of questions to the model, and each sampler's own way to the goal.

const COLOURS = ["accent", "second", "third", "alarm"];

async function render({ model, el }) {
  const data = model.get("data"), media = parts(model);
  const root = shell(el, data.title, data.lead, data);
  let budget = data.budgets.length > 2 ? 1 : 0, asked = data.budgets[budget].questions;
  const words = h("p", { class: "words", "aria-live": "polite" }), lanes = h("div", { class: "lanes" });
  const heat = () => data.budgets[budget];
  const table = numbers(say("Distance from the exact goal"), [say("sampler"), ...data.budgets.map(b => say("{} questions", b.questions))], () => data.budgets[0].lanes.map((lane, i) => [lane.name, ...data.budgets.map(b => b.lanes[i] && b.lanes[i].error !== null ? b.lanes[i].error.toPrecision(3) : "–")]));
  const used = slider(say("Questions asked"), { min: 0, max: asked, value: asked, show: n => say("{} of {}", n, heat().questions), change: n => { asked = n; draw(); } });
  const choose = data.budgets.length > 1 ? choice(say("Budget: questions to the model"), data.budgets.map((b, i) => [i, String(b.questions)]), budget, i => { budget = i; asked = heat().questions; used.input.max = asked; used.put(asked); prepare().then(draw); }) : null;
  let clock = 0;
  const play = playing(say("Start the race"), s => { clock += s; if (clock < 2.4 / heat().questions) return; clock = 0; asked += 1; if (asked > heat().questions) { asked = heat().questions; play.run(false); } used.put(asked); draw(); });
  play.addEventListener("click", () => { if (play.running() && asked >= heat().questions) { asked = 0; used.put(0); draw(); } });
  root.append(h("div", { class: "row" }, choose, used, play), lanes, words, table);
  let ready = [];

  // After `asked` questions a lane has taken this many whole steps: a method with two questions a step takes half as many.
  const stepOf = lane => { let k = 0; while (k + 1 < lane.asked.length && lane.asked[k + 1] <= asked) k++; return k; };

  async function prepare() {
    ready = await Promise.all(heat().lanes.map(async (lane, i) => {
      const canvas = h("canvas", { class: "lane", role: "img", width: 520, height: 520 }), note = h("span", { class: "quiet" });
      const kept = { lane, canvas, note, colour: COLOURS[i % COLOURS.length], box: h("figure", {}, canvas, h("figcaption", {}, h("b", {}, lane.name), " ", note)) };
      if (lane.points !== undefined) kept.points = media.numbers(lane.points);
      else kept.strips = await Promise.all(lane.strips.map(media.bitmap));
      return kept;
    }));
    lanes.replaceChildren(...ready.map(r => r.box));
  }

  function cloud({ lane, canvas, points, colour }, k) {
    const ctx = canvas.getContext("2d"), n = data.count, S = canvas.width, [low, high] = data.range, at = v => (v - low) / (high - low) * S;
    const place = (step, p) => { const j = (step * n + p) * 2; return [at(points[j]), S - at(points[j + 1])]; };
    ctx.fillStyle = ink(root, "raised"); ctx.fillRect(0, 0, S, S);
    ctx.fillStyle = ink(root, "control"); ctx.globalAlpha = .35;
    for (const [x, y] of data.goal) { ctx.beginPath(); ctx.arc(at(x), S - at(y), 3, 0, 7); ctx.fill(); }
    ctx.strokeStyle = ink(root, colour); ctx.globalAlpha = .22; ctx.lineWidth = 1.2;
    for (let p = 0; p < Math.min(n, 70); p++) { ctx.beginPath(); for (let s = 0; s <= k; s++) ctx.lineTo(...place(s, p)); ctx.stroke(); }
    ctx.globalAlpha = .9; ctx.fillStyle = ink(root, colour);
    for (let p = 0; p < n; p++) { const [x, y] = place(k, p); ctx.beginPath(); ctx.arc(x, y, 3.4, 0, 7); ctx.fill(); }
    ctx.globalAlpha = 1;
  }

  function film({ canvas, strips }, k) {
    const strip = strips[k];
    canvas.width = strip.width; canvas.height = strip.height; canvas.getContext("2d").drawImage(strip, 0, 0);
  }

  function draw() {
    for (const r of ready) {
      const k = stepOf(r.lane), last = r.lane.asked.length - 1;
      (r.points ? cloud : film)(r, k);
      const far = r.lane.errors[k];
      r.note.textContent = say("step {} of {}", k, last) + (far === null || far === undefined ? "" : `, ${say("{} from the goal", far.toPrecision(2))}`);
      r.canvas.setAttribute("aria-label", say("{} after step {} of {}", r.lane.name, k, last));
    }
    if (play.running()) return;
    const order = ready.map(r => [r.lane.name, r.lane.errors[stepOf(r.lane)]]).filter(([, e]) => e !== null).sort((a, b) => a[1] - b[1]);
    const [near, far] = [order[0], order.at(-1)];
    words.textContent = order.length > 1 && asked ? say("After {} of {} questions to the model, {} is nearest to the goal ({}) and {} farthest ({}).", asked, heat().questions, near[0], near[1].toPrecision(2), far[0], far[1].toPrecision(2))
      : say("After {} of {} questions to the model, all stand at the start.", asked, heat().questions);
  }
  await prepare(); draw();
  return () => { play.run(false); media.free(); };
}

export default { render };
