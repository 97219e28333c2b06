#!/usr/bin/env python3
"""What each task of the one model is worth, on held-out prompts: image, last, extend, inpaint, remix, reference, sound (`video` and `sound`).

Every film that is given was drawn by the world, never by the model; every answer is the detector's.
Rates come with 95 % intervals (Wilson); n is small, so read them."""
import argparse
import json
import random
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sora_kit.core import Audio, Clip
from sora_kit.data import portrait_scene
from sora_kit.detector import QUESTIONS, glances
from sora_kit.evaluation import Judges, see
from sora_kit.files import write_atomic
from sora_kit.metrics import Row, inside, onset_row, rate_row
from sora_kit.pipeline import Run, Session, sample_clips
from sora_kit.prompts import held_out_prompts, landing_prompts, worded
from sora_kit.render import render
from sora_kit.scenes import COLOURS, sample_actor, sample_scene
from sora_kit.sounds import synthesise

NAMED = ("actor", "place", "time")


class Bench:
    "What all tasks share: the session, the judges, and how films are made."
    def __init__(self, n: int, seed: int, steps: int, bf16: bool):
        self.session, self.judges, self.n, self.seed, self.steps, self.bf16 = Session(), Judges.shipped(), n, seed, steps, bf16

    def precision(self): return torch.autocast("cpu", torch.bfloat16) if self.bf16 else nullcontext()

    def one(self, prompt: str, seed: int, **inputs) -> Clip:
        "One film of any length."
        with self.precision(): return Run(self.session, prompt, seed, steps=self.steps, **inputs).result()

    def made(self, prompts: list[str], inputs: list[dict] | None = None) -> list[Clip]:
        "A clip for each prompt, with the seeds 0 … n−1."
        with self.precision():
            return list(sample_clips(self.session, prompts, list(range(len(prompts))), self.steps, batch=8, inputs=inputs))

    def said(self, clips: list[Clip], question: str) -> list[str]:
        "The detector's answers."
        return [QUESTIONS[question][int(glances(self.judges.detector, clip.frames[None])[0][question].argmax())] for clip in clips]

    def codec(self, clip: Clip) -> Clip:
        "What the codec makes of a film."
        backbone = self.session.backbone
        return Clip(torch.cat(list(backbone.pictures(backbone.encode(clip.frames)))))

    def rate(self, name: str, asked: list, seen: list) -> Row: return replace(rate_row(name, asked, seen), chance=None)


def drawn(scenes: list, size: int = 128) -> list[Clip]:
    "The world's own films of scenes."
    r = render(scenes, size)
    return [Clip(frames, audio=Audio(synthesise(s, m)[None])) for frames, s, m in zip(r.frames, scenes, r.motions)]


def psnr(a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor | None = None) -> float:
    "Peak signal-to-noise ratio [dB] of uint8 pictures, where mask [H,W] says so."
    error = (a.float() - b.float()) ** 2
    error = error.mean() if mask is None else error[..., mask, :].mean()
    return float(10 * torch.log10(255**2 / error.clamp(min=1e-3)))


def mean(values) -> float: return sum(values) / max(1, len(values))


def of_colour(prompts):
    "Prompts, and the colours that they do not say: only a picture can tell them."
    return [(k, p.scene.actors[0].colour) for k, p in enumerate(prompts) if "colour" not in p.said]


def images(bench: Bench) -> dict:
    "image → video, and first + last."
    prompts = held_out_prompts(bench.n, bench.seed)
    texts, films, actors = [p.text for p in prompts], drawn([p.scene for p in prompts]), [p.scene.actors[0].kind for p in prompts]
    plain, begun = bench.made(texts), bench.made(texts, [{"image": f.frames[:1]} for f in films])
    ended = bench.made(texts, [{"image": f.frames[:1], "last": f.frames[-1:]} for f in films])
    trips, silent = [bench.codec(f) for f in films], of_colour(prompts)
    ways = {"sentence alone": plain, "with a picture": begun, "first + last": ended}
    found = {"rows": [bench.rate(f"actor, {name}", actors, bench.said(clips, "actor")) for name, clips in ways.items()]}
    if silent:
        keys, colours = zip(*silent)
        for name, clips in ways.items():
            found["rows"].append(bench.rate(f"unsaid colour, {name}", list(colours), [bench.said([clips[k]], "colour")[0] for k in keys]))
    ends = (("first frame, sentence alone", plain, 0), ("first frame given", begun, 0), ("first of both", ended, 0), ("last of both", ended, -1),
            ("last, only first given", begun, -1))
    for name, clips, at in ends:
        found[f"PSNR {name}, to what was given"] = mean([psnr(c.frames[at], f.frames[at]) for c, f in zip(clips, films)])
    found["PSNR of the codec"] = mean([psnr(c.frames[0], f.frames[0]) for c, f in zip(trips, films)])
    return found


def colour_of(frames: torch.Tensor) -> torch.Tensor:
    "Mean and spread of each colour channel of some frames, 0..255: [6]."
    x = frames.float().flatten(0, 2)
    return torch.cat([x.mean(0), x.std(0)])


def extend(bench: Bench) -> dict:
    "A clip is extended to 20 s: how colours drift (all as the codec makes them) and whether the actor stays, in each 2 s, beside a single clip."
    prompts = [p for p in held_out_prompts(8 * bench.n, bench.seed) if p.scene.camera == "static"][:max(2, bench.n // 4)]
    films, kinds = drawn([p.scene for p in prompts]), [p.scene.actors[0].kind for p in prompts]
    long = [bench.one(p.text, k, extend=f, seconds=20.) for k, (p, f) in enumerate(zip(prompts, films))]
    short = bench.made([p.text for p in prompts])
    def drift(a, b): return float((colour_of(a) - colour_of(b)).square().mean().sqrt())
    single = mean([drift(c.frames[:8], c.frames[-8:]) for c in short])
    chunks = [[bench.codec(Clip(c.frames[:16])).frames, *(c.frames[k:k + 16] for k in range(16, 160, 16))] for c in long]
    away = [mean([drift(each[0], each[k]) for each in chunks]) for k in range(10)]
    right = [mean([a == b for a, b in zip(kinds, bench.said([Clip(each[k]) for each in chunks], "actor"))]) for k in range(10)]
    return {"films": len(prompts), "colour drift within one clip": single, "colour drift from the first 2 s, by stretch": away,
            "worst over single": max(away) / single,
            "actor right, by stretch": right,
            "actor right in single clips": mean([a == b for a, b in zip(kinds, bench.said(short, "actor"))])}


def box_of(owner: torch.Tensor, margin: int = 10) -> tuple[int, int, int, int]:
    "x, y, width, height around all pixels [T,H,W] that belong to a figure."
    rows, columns = (owner >= 0).any(0).any(1).nonzero(), (owner >= 0).any(0).any(0).nonzero()
    size = owner.shape[-1]
    (top, bottom), (left, right) = ((max(0, int(x.min()) - margin), min(size, int(x.max()) + 1 + margin)) for x in (rows, columns))
    return left, top, right - left, bottom - top


def others(bench: Bench, change) -> list[tuple]:
    "n held-out prompts about actors that stay in place, and for each a second one that `change(rng, scene)` gives."
    rng, found = random.Random(f"tasks {bench.seed}"), []
    for p in held_out_prompts(40 * bench.n, bench.seed):
        other = change(rng, p.scene)
        second = other and worded(other, rng, "en", NAMED)
        if second and p.scene.camera == "static": found.append((p, second))
        if len(found) == bench.n: return found
    return found


def inpaint(bench: Bench) -> dict:
    "The region around the actor is made anew with another actor in the sentence."
    def change(rng, scene):
        kind = rng.choice(("dog", "cat", "robot", "car", "child", "house", "ball", "bird"))
        old = scene.actors[0]
        if kind == old.kind or old.speed > .25: return None
        new = replace(sample_actor(rng, kind), x=old.x, speed=0.)
        return replace(scene, actors=(replace(new, motion="stands") if kind != "ball" else replace(new, motion="bounces"),))
    pairs = others(bench, change)
    r = render([p.scene for p, _ in pairs], 128)
    films, regions = [Clip(f) for f in r.frames], [box_of(o) for o in r.owner]
    texts, kinds = [b.text for _, b in pairs], [b.scene.actors[0].kind for _, b in pairs]
    clips = [bench.one(t, k, inpaint=f, region=b) for k, (t, f, b) in enumerate(zip(texts, films, regions))]
    free, trips = bench.made(texts), [bench.codec(f) for f in films]
    masks = []
    for x, y, w, h in regions:
        masks.append(torch.ones(128, 128, dtype=torch.bool))
        masks[-1][y // 16 * 16:-(-(y + h) // 16) * 16, x // 16 * 16:-(-(x + w) // 16) * 16] = False
    some = [k for k, m in enumerate(masks) if m.any()]
    def kept(a, b): return mean([psnr(a[k].frames, b[k].frames, masks[k]) for k in some])
    return {"share of the picture made anew": mean([float((~m).float().mean()) for m in masks]),
            "PSNR of the kept region, to the codec's": kept(clips, trips),
            "PSNR of the kept region, to the film": kept(clips, films), "PSNR of the codec there": kept(trips, films),
            "rows": [bench.rate("new actor in the region", kinds, bench.said(clips, "actor")),
                     bench.rate("sentence alone", kinds, bench.said(free, "actor"))]}


def remix(bench: Bench) -> dict:
    "A film is remixed with another colour in the sentence, at several strengths."
    def change(rng, scene):
        colour = rng.choice([c for c in COLOURS if c != scene.actors[0].colour])
        return replace(scene, actors=(replace(scene.actors[0], colour=colour),))
    pairs = [(a, b) for a, b in others(bench, change) if "colour" in b.said]
    films, texts = drawn([a.scene for a, _ in pairs]), [b.text for _, b in pairs]
    actors, places = [b.scene.actors[0] for _, b in pairs], [b.scene.place for _, b in pairs]
    colours, kinds = [a.colour for a in actors], [a.kind for a in actors]
    trips, found = [bench.codec(f) for f in films], {"rows": []}
    for strength in (0., .3, .5, .7, .85, 1.):
        clips = bench.made(texts, [{"remix": f, "strength": strength} for f in films])
        away = [float((c.frames.float() - t.frames.float()).square().mean().sqrt()) for c, t in zip(clips, trips)]
        found[f"distance to the film at {strength:g} (RMS, 0–255)"] = mean(away)
        for question, right in (("colour", colours), ("actor", kinds), ("place", places)):
            found["rows"].append(bench.rate(f"{question} at {strength:g}", right, bench.said(clips, question)))
    return found


PLACES = {"beach": "on the beach", "street": "in a Paris street", "meadow": "in a meadow", "forest": "in a forest",
          "desert": "in the desert", "snowfield": "in the snow"}
KINDS = ("dog", "cat", "robot", "child", "car", "bird", "balloon", "house")


def reference(bench: Bench) -> dict:
    "Two references under one seed and one sentence: does the film show the one that was given?"
    rng = random.Random(f"references {bench.seed}")
    def portrait(kind, colour):
        scene = sample_scene(rng, kind, pairs=0.)
        return render([portrait_scene(replace(scene, actors=(replace(scene.actors[0], colour=colour),)), rng)], 64, frames=1).frames[0]
    where, who = [rng.choice(list(PLACES.values())) for _ in range(bench.n)], [rng.sample(KINDS, 2) for _ in range(bench.n)]
    colours, found = [rng.sample(COLOURS, 2) for _ in range(bench.n)], []
    asked = {"colour, the sentence names the kind": (colours, [f"a {pair[0]} {at}" for pair, at in zip(who, where)]),
             "kind, nobody is named": (who, [f"somebody {at}" for at in where])}
    for name, (wanted, texts) in asked.items():
        question, seen = name.partition(",")[0].replace("kind", "actor"), []
        for k in (0, 1):
            given = [{"reference": portrait(pair[0] if question == "colour" else pair[k], colour[k])} for pair, colour in zip(who, colours)]
            seen.append(bench.said(bench.made(texts, given), question))
        right = [[a == pair[k] for a, pair in zip(seen[k], wanted)] for k in (0, 1)]
        found += [bench.rate(f"{name}: as in the picture", [True] * 2 * bench.n, right[0] + right[1]),
                  bench.rate(f"{name}: both swap", [True] * bench.n, [x and y for x, y in zip(*right)]),
                  bench.rate(f"{name}: changes", [True] * bench.n, [a != b for a, b in zip(*seen)])]
    return {"rows": [replace(r, floor=None) for r in found]}


def sound(bench: Bench) -> dict:
    "Landings: the joint run; a new sound for the run's film; a film for the world's sound."
    prompts = landing_prompts(bench.n, bench.seed)
    texts, world = [p.text for p in prompts], drawn([p.scene for p in prompts])
    joint = bench.made(texts)
    again = bench.made(texts, [{"video": c} for c in joint])
    dubbed = bench.made(texts, [{"video": f} for f in world])
    heard = bench.made(texts, [{"sound": f.audio} for f in world])
    found = []
    ways = {"both at once": joint, "video→audio, its film": again, "video→audio, world's": dubbed, "audio→video": heard,
            "the world itself": world}
    for name, clips in ways.items():
        seen = [see(bench.judges, clip) for clip in clips]
        found.append(replace(onset_row(name, [inside(s.impacts) for s in seen], [inside(s.onsets) for s in seen]), chance=None))
    return {"rows": found}


TASKS = {"image": images, "extend": extend, "inpaint": inpaint, "remix": remix, "reference": reference, "sound": sound}


def shown(found: dict) -> str:
    "The figures of a task as text."
    lines = []
    for r in found.get("rows", []):
        floor = "" if r.floor is None else f", shuffled {100 * r.floor:.0f}"
        lines.append(f"  {r.name:58s}{r.n:4d}  {100 * r.value:5.1f} % ({100 * r.low:.0f}–{100 * r.high:.0f}){floor}")
    for name, value in found.items():
        if name != "rows": lines.append(f"  {name}: {', '.join(f'{v:.2f}' for v in value) if isinstance(value, list) else f'{value:.2f}'}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default=",".join(TASKS), help="some of them, with commas between")
    parser.add_argument("--n", type=int, default=24, help="clips of each kind; a quarter as many are extended")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16: quicker, and not what a user gets")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    asked = parser.parse_args()
    bench, figures = Bench(asked.n, asked.seed, asked.steps, asked.bf16), {}
    model = bench.session.backbone
    print(f"{model.name} {model.sha256[:12]}, n {asked.n}, seed {asked.seed}, {asked.steps} steps{', bfloat16' * asked.bf16}")
    for name in asked.tasks.split(","):
        start = time.monotonic()
        figures[name] = TASKS[name](bench)
        print(f"{name} ({time.monotonic() - start:.0f} s)\n{shown(figures[name])}", flush=True)
    if asked.json:
        plain = {name: found | {"rows": [vars(r) for r in found.get("rows", [])]} for name, found in figures.items()}
        write_atomic(asked.json, json.dumps({"weights": model.sha256, **vars(asked), "json": str(asked.json), "figures": plain}, indent=1).encode())


if __name__ == "__main__": main()
