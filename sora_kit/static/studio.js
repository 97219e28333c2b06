// The studio: everything that a person does and sees. The kernel is asked only for films; it answers with small messages.

const EXAMPLES = { "red balloon": "a child chasing a red balloon through a rainy Paris street", "dog at sunset": "a dog running on a beach at sunset, with dramatic music", "auf Deutsch": "ein Vogel fliegt nachts über den Strand, Feuerwerk" };
const seconds = s => s < 90 ? `${Math.max(1, Math.round(s))} s` : `${Math.round(s / 60)} min`;

// One control for one setting of a component, made from its description alone.
function control(param, value, change) {
  const name = param.name.replaceAll("_", " "), help = param.help || "";
  if (param.type === "bool") return h("div", { class: "field", title: help }, check(name, value, change));
  if (param.choices.length) {
    const pick = h("select", { onchange: e => change(param.choices[e.target.selectedIndex]) }, param.choices.map(c => h("option", { selected: c === value }, String(c))));
    return h("label", { class: "field", title: help }, h("span", {}, name), pick, help ? h("span", { class: "quiet" }, help) : null);
  }
  const numeric = param.type !== "str", span = param.high - param.low;
  if (numeric && param.low !== null && param.high !== null && span <= 200) {
    const step = param.type === "int" ? 1 : span <= 2 ? .01 : span <= 20 ? .05 : .1;
    const most = span > 40 && param.default > 0 ? Math.min(param.high, 5 * param.default) : param.high;      // a slider to 100 cannot be set to 3.5
    const field = slider(name, { min: param.low, max: most, step, value, show: v => round(v, param.type === "int" ? 0 : 2), change });
    if (help) field.append(h("span", { class: "quiet" }, help + (most < param.high ? `; from Python up to ${param.high}` : "")));
    return field;
  }
  const input = h("input", { type: numeric ? "number" : "text", value, step: param.type === "int" ? 1 : "any", min: param.low, max: param.high, onchange: e => change(numeric ? +e.target.value : e.target.value) });
  return h("label", { class: "field", title: help }, h("span", {}, name), input, help ? h("span", { class: "quiet" }, help) : null);
}

// A menu of components of one kind, with the controls of the chosen one beneath.
function menu(kind, wanted) {
  const place = h("div", { class: "row params" }), values = {};
  const find = name => kind.components.find(c => c.name === name);
  const text = () => Object.entries(values).map(([k, v]) => `${k}=${v}`).join(",");
  const about = h("p", { class: "quiet" });
  const fill = () => {
    const component = find(pick.value);
    for (const key of Object.keys(values)) delete values[key];
    about.textContent = component ? component.summary : "";
    place.replaceChildren(...(component ? component.params : []).map(p => {
      const start = wanted && wanted.name === component.name && wanted.values[p.name] !== undefined ? wanted.values[p.name] : p.default;
      if (start !== p.default) values[p.name] = start;
      return control(p, start, v => { if (v === p.default) delete values[p.name]; else values[p.name] = v; });
    }));
  };
  const options = kind.components.map(c => h("option", { value: c.name, selected: wanted && wanted.name === c.name }, c.name));
  const pick = h("select", { onchange: () => { wanted = null; fill(); } }, kind.nothing ? h("option", { value: "" }, kind.nothing) : null, options);
  const el = h("div", { class: "menu" }, h("label", { class: "field" }, h("span", {}, kind.title), pick), about, place);
  fill();
  return { el, value: () => pick.value ? pick.value + (text() ? `:${text()}` : "") : "" };
}

// A film that plays, with its captions; `take.link` is made once and freed when the take goes.
function player(take, props = {}) {
  const film = h("video", { controls: true, loop: true, playsinline: true, src: take.link, "aria-label": take.settings.prompt, ...props });
  film.append(h("track", { kind: "captions", label: "what was asked for", srclang: take.lang, src: take.captions }));
  return film;
}

function render({ model, el }) {
  const takes = new Map(), chosen = new Set();
  let menus = {}, shown = null, busy = false, reading = 0, wait = 0;
  const root = shell(el, "Studio", "Write a sentence, press Generate, and watch a film with sound come out of noise.");
  const state = h("p", { class: "state", role: "status" }, "Loading the model …"), problem = h("p", { class: "problem", role: "alert", hidden: true });
  const send = (action, rest = {}) => model.send({ do: action, ...rest });

  // What is asked for
  const prompt = h("textarea", { rows: 2, maxlength: 2000, spellcheck: "true", placeholder: "a dog running on a beach at sunset" });
  const understood = h("div", { class: "understood", "aria-live": "polite" });
  const ask = () => { clearTimeout(wait); wait = setTimeout(() => prompt.value.trim() ? send("read", { prompt: prompt.value, n: ++reading, audio: menus.audio?.value() || "" }) : understood.replaceChildren(), 140); };
  prompt.addEventListener("input", () => { complain(""); ask(); });
  const examples = h("div", { class: "row examples" }, h("span", { class: "quiet" }, "Try:"), Object.entries(EXAMPLES).map(([name, text]) =>
    h("button", { type: "button", class: "small", title: text, onclick: () => { prompt.value = text; ask(); prompt.focus(); } }, name)));
  const seed = h("input", { type: "number", min: 0, step: 1, value: 0 });
  const dice = h("button", { type: "button", onclick: () => { seed.value = Math.floor(Math.random() * 100000); } }, "New seed");
  const length = h("input", { type: "number", min: .5, max: 20, step: "any", value: 2 });
  let stepCount = 20;
  const steps = slider("Steps", { min: 1, max: 60, value: stepCount, change: v => stepCount = v });
  const more = h("div", { class: "menus", onchange: () => ask() });
  const generate = h("button", { type: "button", class: "main", disabled: true, onclick: () => start() }, "Generate");
  const draft = h("button", { type: "button", hidden: true, title: "four leaps in place of all the steps: quicker, and a little rougher", onclick: () => start({ sampler: leaper().name, guidance: "none", steps: 4 }) }, "Quick draft");
  const pause = h("button", { type: "button", hidden: true, onclick: () => send("pause") }, "Pause");
  const cancel = h("button", { type: "button", hidden: true, onclick: () => { send("cancel"); state.textContent = "Stopping …"; } }, "Cancel");
  const keys = h("span", { class: "quiet" }, "or Ctrl + Enter");
  root.addEventListener("keydown", e => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); e.stopPropagation(); start(); } });

  // A half-finished run out of a file that this studio saved
  const chooser = h("input", { type: "file", hidden: true, onchange: async () => {
    const [file] = chooser.files;
    if (!file) return;
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    chooser.value = ""; complain(""); send("open", { name: file.name, file: btoa(text) });
  } });
  const reopen = h("div", {}, chooser, h("button", { type: "button", onclick: () => chooser.click() }, "Open a saved run …"));

  // Going on from an earlier step, with what stands in the form
  let from = 1, source = 0, looking = 0;
  const back = slider("Go on from step", { min: 1, max: 2, value: 1, change: k => { from = k; clearTimeout(looking); looking = setTimeout(() => send("look", { take: source, step: from }), 150); } });
  const other = h("button", { type: "button", onclick: () => { const settings = wanted(); starting(); send("fork", { take: source, step: from, settings }); } }, "Go on from there");
  const keep = h("button", { type: "button", onclick: () => send("keep") }, "Save this run");
  const steer = h("div", { class: "steer", role: "group", "aria-label": "Steer", hidden: true }, h("p", { class: "quiet" }, "Change the sentence, the seed or the guidance, and let another film go on from a step of this one."),
    back, h("div", { class: "row tools" }, other, keep));
  function steerable(take, span, at) {
    source = take; steer.hidden = !span || span.length < 2 || span[0] > span[1]; keep.hidden = take !== 0;
    if (steer.hidden) return;
    [back.input.min, back.input.max] = span; from = at ?? Math.max(span[0], Math.round(span[1] / 2)); back.put(from);
  }

  // What comes out
  const preview = h("canvas", { class: "picture", width: 256, height: 256, role: "img", "aria-label": "nothing yet" }), seen = h("p", { class: "seen quiet" });
  const stage = h("div", { class: "stage" }, h("p", { class: "empty" }, "The film will appear here.")), bar = h("progress", { max: 1, value: 0, "aria-label": "progress of the run", hidden: true });
  const tools = h("div", { class: "row tools" }), code = h("div", { class: "code", hidden: true });
  const history = h("ul", { class: "history" }), compare = h("div", { class: "compare", hidden: true });
  const past = h("section", { hidden: true, "aria-label": "Takes" }, h("h3", {}, "Takes"), h("p", { class: "quiet" }, "Tick two or more to see them side by side."), history, compare);

  root.append(h("div", { class: "two desk" },
    h("div", { class: "asking" }, h("label", { class: "field" }, h("span", {}, "What should the film show?"), prompt),
      h("div", { class: "row go" }, generate, draft, pause, cancel, keys), problem, understood, examples,
      h("div", { class: "row" }, h("label", { class: "field seed" }, h("span", {}, "Seed"), seed), dice, steps),
      h("details", {}, h("summary", {}, "Sampler, guidance, style, sound and length"), more, h("div", { class: "row under" }, h("label", { class: "field" }, h("span", {}, "Seconds of film"), length), reopen))),
    h("div", { class: "seeing" }, stage, bar, state, tools, steer)), code, past);

  // On a projector: the panel and what is open beneath it, without the notebook around them.
  const whole = () => el.closest(".widget-vbox") || el;
  const wide = h("button", { type: "button", class: "small wide", hidden: !document.fullscreenEnabled, onclick: () => document.fullscreenElement ? document.exitFullscreen() : whole().requestFullscreen() }, "Full screen");
  const turned = () => { wide.textContent = document.fullscreenElement ? "Leave full screen" : "Full screen"; };
  document.addEventListener("fullscreenchange", turned);
  root.append(wide);

  // What was there before a run that came to nothing
  function restore() {
    const take = takes.get(shown);
    if (take) show(take); else { stage.replaceChildren(h("p", { class: "empty" }, "The film will appear here.")); tools.replaceChildren(); steer.hidden = true; }
  }
  const complain = text => { problem.textContent = text; problem.hidden = !text; if (text && understood.textContent === text) understood.replaceChildren(); };
  function working(on) {
    busy = on; generate.disabled = draft.disabled = on; pause.hidden = cancel.hidden = bar.hidden = !on; keys.hidden = on; pause.textContent = "Pause"; root.setAttribute("aria-busy", String(on));
    if (on && document.activeElement === generate) cancel.focus();
    else if (!on && root.contains(document.activeElement) && document.activeElement === cancel) generate.focus();
  }

  function wanted() {
    const settings = { prompt: prompt.value, seed: Number(seed.value), steps: stepCount };
    if (Number(length.value) !== info.seconds) settings.seconds = Number(length.value);
    for (const [kind, { value }] of Object.entries(menus)) if (value()) settings[kind] = value();
    if (settings.sampler && leaper(settings.sampler)) settings.guidance = "none";                  // it learned to leap where guidance leads
    return settings;
  }
  // The sampler that leaps: of this name, or the first one there is.
  const leaper = name => info.kinds.find(k => k.key === "sampler")?.components.find(c => c.leaps && (name === undefined || c.name === name.split(":")[0]));

  function starting() {
    complain(""); working(true); bar.value = 0; state.textContent = "Starting …"; steer.hidden = true;
    tools.replaceChildren(); code.hidden = true; moments = [];
    snow(); seen.textContent = "Pure noise: so it begins."; stage.replaceChildren(h("div", { class: "growing" }, preview, seen));
  }

  function start(changed = {}) {
    if (generate.disabled) return;
    const settings = { ...wanted(), ...changed };
    starting(); send("generate", { settings });
  }

  // The film as it grows: its moments one after the other, as large as the finished film; without motion, the middle one.
  let moments = [], moment = 0, turning = 0;
  function snow() {
    const pen = preview.getContext("2d"), tile = pen.createImageData(preview.width = 64, preview.height = 64);
    for (let i = 0; i < tile.data.length; i++) tile.data[i] = i % 4 === 3 ? 255 : 128 + 48 * (Math.random() + Math.random() + Math.random() + Math.random() - 2) * 1.7;
    pen.putImageData(tile, 0, 0); preview.setAttribute("aria-label", "pure noise");
  }
  function turn() {
    if (!moments.length || !preview.isConnected) return;
    moment = calm() ? Math.floor(moments.length / 2) : (moment + 1) % moments.length;
    const [strip, x, side, tall] = moments[moment];
    preview.width = side; preview.height = tall; preview.getContext("2d").drawImage(strip, x, 0, side, tall, 0, 0, side, tall);
  }

  function show(take) {
    shown = take.number;
    stage.replaceChildren(player(take));
    state.textContent = `Take ${take.number}: ${take.seconds.toFixed(1)} s of work, ${take.length.toFixed(2)} s of film, ${Math.round(take.bytes / 1024)} kB.`;
    const name = `take-${take.number}-seed-${take.settings.seed}.mp4`;
    tools.replaceChildren(h("a", { class: "button", href: take.link, download: name }, "Save film"),
      h("button", { type: "button", "aria-expanded": "false", onclick: e => showCode(take, e.target) }, "Show me the code"),
      h("button", { type: "button", onclick: () => { send("steps", { take: take.number }); state.textContent = "Decoding the steps …"; } }, "Open the steps"));
    code.hidden = true; clearInterval(turning); steerable(take.number, take.steps);
    for (const card of history.children) card.classList.toggle("now", card.dataset.take === String(take.number));
  }

  function showCode(take, button) {
    const said = h("span", { class: "quiet", role: "status" });
    const copy = h("button", { type: "button", onclick: async () => { try { await navigator.clipboard.writeText(take.code); said.textContent = "Copied."; } catch { said.textContent = "Select the text and copy it."; } } }, "Copy");
    code.replaceChildren(h("h3", {}, "The Python that made this take"), h("pre", { tabindex: "0", "aria-label": "Python code" }, take.code), h("div", { class: "row" }, copy, said));
    code.hidden = !code.hidden; button.setAttribute("aria-expanded", String(!code.hidden));
  }

  function card(take) {
    const s = take.settings, facts = [`seed ${s.seed}`, `${s.steps} steps`, ...Object.keys(menus).map(k => s[k]).filter(Boolean)].join(" · ");
    const tick = check(`Compare take ${take.number}`, false, on => { on ? chosen.add(take.number) : chosen.delete(take.number); sideBySide(); });
    const open = h("button", { type: "button", class: "open", "aria-label": `Show take ${take.number}: ${s.prompt}`, onclick: () => show(take) }, h("img", { src: take.thumb, alt: "" }));
    const again = h("button", { type: "button", class: "small", "aria-label": `Use settings of take ${take.number}`, onclick: () => use(s) }, "Use settings");
    return h("li", { "data-take": take.number }, open, h("p", { class: "said" }, s.prompt), h("p", { class: "quiet" }, facts), h("div", { class: "row" }, tick, again));
  }

  function fillIn(s) { prompt.value = s.prompt; seed.value = s.seed; stepCount = s.steps; steps.put(s.steps); length.value = s.seconds ?? info.seconds; build(s); ask(); }
  function use(s) { fillIn(s); prompt.focus(); }

  function sideBySide() {
    const list = [...chosen].map(n => takes.get(n)).filter(Boolean);
    compare.hidden = list.length < 2;
    if (list.length < 2) { compare.replaceChildren(); return; }
    const rows = ["prompt", "seed", "steps", "seconds", ...Object.keys(menus)].map(key => [key, ...list.map(t => t.settings[key] ?? "–")]).filter(([, ...v]) => new Set(v.map(String)).size > 1);
    const films = list.map(t => { const film = player(t, { muted: true }); film.muted = true; return film; });
    const together = h("button", { type: "button", class: "main", onclick: () => { const on = films[0].paused; for (const f of films) { f.currentTime = films[0].currentTime; on ? f.play() : f.pause(); } together.textContent = on ? "❚❚ Stop all" : "▶ Play all together"; } }, "▶ Play all together");
    const heard = choice("Whose sound?", [["", "nobody's"], ...list.map(t => [String(t.number), `take ${t.number}`])], "", v => films.forEach((f, i) => { f.muted = String(list[i].number) !== v; }));
    const table = rows.length ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What differs" }, h("table", {}, h("caption", {}, "What differs"), h("thead", {}, h("tr", {}, ["", ...list.map(t => `take ${t.number}`)].map(c => h("th", { scope: "col" }, c || h("span", { class: "unseen" }, "setting"))))),
      h("tbody", {}, rows.map(([first, ...rest]) => h("tr", {}, h("th", { scope: "row" }, first), rest.map(v => h("td", {}, String(v)))))))) : h("p", { class: "quiet" }, "These takes have the same settings.");
    compare.replaceChildren(h("h3", {}, "Side by side"), h("div", { class: "films" }, films.map((film, i) => h("figure", {}, film, h("figcaption", {}, `Take ${list[i].number}`)))), h("div", { class: "row" }, together, heard), table);
  }

  function build(wanted = {}) {
    const old = menus;
    menus = {};
    for (const kind of info.kinds) {
      const text = wanted[kind.key] ?? kind.start ?? "", [name, rest] = [text.split(":")[0], text.split(":").slice(1).join(":")];
      const read = v => v === "True" || v === "true" ? true : v === "False" || v === "false" ? false : v !== "" && !Number.isNaN(+v) ? +v : v;
      const values = Object.fromEntries(rest ? rest.split(",").map(pair => { const [k, v] = pair.split("="); return [k, read(v)]; }) : []);
      menus[kind.key] = menu(kind, { name, values });
    }
    more.replaceChildren(...Object.values(menus).map(m => m.el));
    return old;
  }

  let info = { kinds: [] };
  const on = {
    ready(m) {
      if (!info.kinds.length && !calm()) root.scrollIntoView({ block: "start", behavior: "smooth" });
      info = m; build(); length.value = m.seconds; generate.disabled = draft.disabled = busy || m.busy; draft.hidden = !leaper(); state.textContent = m.busy ? "Working …" : `Ready. ${m.model}`; if (m.busy) working(true);
      if (!prompt.value) { prompt.value = m.prompt || ""; ask(); }
    },
    understood(m) {
      if (m.n !== reading) return;
      const chips = m.rows.map(([what, answer]) => h("li", {}, h("span", { class: "quiet" }, what), " ", h("b", {}, answer)));
      const notes = m.notes.filter(text => text !== problem.textContent).map(text => h("p", { class: "quiet" }, text));
      understood.replaceChildren(...(chips.length ? [h("ul", { class: "chips", "aria-label": "understood" }, chips)] : []), ...notes);
    },
    progress(m) {
      bar.value = m.done;
      if (m.paused) steerable(0, m.from, m.step); else steer.hidden = true;
      pause.textContent = m.paused ? "Go on" : "Pause";
      state.textContent = m.text || `Step ${m.step} of ${m.steps}` + (m.paused ? ", paused." : m.left === null ? "" : `, about ${seconds(m.left)} left.`);
    },
    async preview(m, [bytes]) {
      const strip = await createImageBitmap(new Blob([bytes], { type: "image/jpeg" })), side = strip.width / m.frames;
      moments = Array.from({ length: m.frames }, (_, i) => [strip, i * side, side, strip.height]);
      if (!preview.isConnected && (busy || !steer.hidden)) stage.replaceChildren(h("div", { class: "growing" }, preview, seen));
      seen.textContent = `What the model expects after step ${m.step}`;
      preview.setAttribute("aria-label", `what the model expects after step ${m.step}, ${m.frames} moments of the film in turn`);
      clearInterval(turning); turn(); turning = setInterval(turn, 400);
      send("seen");
    },
    take(m, [film, thumb]) {
      const take = { ...m.take, link: URL.createObjectURL(new Blob([film], { type: "video/mp4" })), thumb: URL.createObjectURL(new Blob([thumb], { type: "image/jpeg" })),
        captions: URL.createObjectURL(new Blob([m.take.vtt], { type: "text/vtt" })), bytes: film.byteLength };
      if (takes.has(take.number)) return;
      takes.set(take.number, take); past.hidden = false; history.prepend(card(take));
      if (m.fresh) working(false);
      if (m.fresh || shown === null) show(take);
      if (m.fresh && !calm()) stage.querySelector("video").play().catch(() => {});       // a browser may forbid it
    },
    forgotten(m) { for (const n of m.takes) { const t = takes.get(n); if (!t) continue; takes.delete(n); chosen.delete(n); history.querySelector(`[data-take="${n}"]`)?.remove(); for (const k of ["link", "thumb", "captions"]) URL.revokeObjectURL(t[k]); } },
    stopped(m) { working(false); restore(); state.textContent = m.text; },
    problem(m) { complain(m.text); if (!m.busy) { working(false); restore(); if (shown === null) state.textContent = "Nothing was made."; } },
    kept(m, [run]) {
      const link = URL.createObjectURL(new Blob([run])), a = h("a", { href: link, download: m.name, hidden: true });
      root.append(a); a.click(); a.remove(); setTimeout(() => URL.revokeObjectURL(link), 10_000);
    },
    opened(m) { fillIn(m.settings); starting(); },
    told(m) { state.textContent = m.text; if (m.open) setTimeout(() => whole().lastElementChild?.scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" }), 500); },
  };
  const hear = m => on[m.say]?.(m, (m.files || []).map(bytesOf));
  model.on("msg:custom", hear);
  send("hello");
  return () => { model.off("msg:custom", hear); clearInterval(turning); document.removeEventListener("fullscreenchange", turned); for (const t of takes.values()) for (const k of ["link", "thumb", "captions"]) URL.revokeObjectURL(t[k]); };
}

export default { render };
