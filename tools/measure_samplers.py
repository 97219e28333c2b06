#!/usr/bin/env python3
"""A table of quality against evaluations for every sampler: what the detector sees in films of held-out prompts, all from the same noise.

A budget is how often each branch of the guidance may be asked for one film; `work` counts what was asked, all branches together.
Rates come with 95 % intervals (Wilson). `distance` is the RMS difference of the final latents to a reference run from the same noise;
a sampler with ~ draws noise of its own, so its distance only says how far another film is. Samplers that leap have their guidance baked in
and are measured once, without a rule, beside the first rule that was asked for. Ctrl-C keeps the rows that are done."""
import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sora_kit.detector import QUESTIONS, Detector, glances, load_detector, recognised
from sora_kit.evaluation import asked
from sora_kit.files import InputError, writable, write_atomic
from sora_kit.hooks import PluginError, Registry
from sora_kit.metrics import Row, rate_row
from sora_kit.pipeline import Session, sampled
from sora_kit.prompts import ALWAYS, Prompt, held_out_prompts
from sora_kit.request import Request
from sora_kit.session import chosen

COLUMNS = ("actor", "recognised", "motion", "all four")


# Which rows there are

def names(text: str) -> list[str]:
    "Names with commas between; the settings of a name may have commas too: 'euler,ancestral:eta=.5'."
    return [name.strip() for name in re.split(r",(?![^,:]*=)", text) if name.strip()]


def usable(registry: Registry, leaps: bool) -> list[str]:
    "The samplers that work with the model, by short name where that is unique; flow maps need weights that can leap."
    every = [spec.name for spec in registry.of_kind("sampler")]
    fit = [spec for spec in registry.of_kind("sampler") if leaps or not spec.caps.get("flow_map")]
    return [spec.name if every.count(spec.name) == 1 else spec.id for spec in fit]


def steps_for(budget: int, caps: dict) -> int:
    "Steps that a sampler can take when each branch may be asked `budget` times; 0: that is too little for it."
    steps = budget // max(1, len(caps.get("stages", (0.,))))
    return steps if steps >= caps.get("min_steps", 1) else 0


def each_branch(budget: int, branches: int, equal_work: bool) -> int:
    "How often each branch may be asked: `budget` times, or so that all branches together ask as often as two would."
    return 2 * budget // branches if equal_work else budget


@dataclass(frozen=True)
class Line:
    "One row of the table."
    sampler: str
    guidance: str
    budget: int | None                # None: the reference
    steps: int
    deterministic: bool = True
    work: float = 0.                  # evaluations of the model for a film, all branches
    seconds: float = 0.               # of sampling a film, within a batch
    rates: tuple[Row, ...] = ()       # of `COLUMNS`
    distance: float | None = None
    problem: str = ""                 # why there are no figures


def facts_of(registry: Registry, kind: str, name: str) -> dict:
    "The `caps` of a component that is named as in `chosen`; `InputError` if there is none."
    return registry.find(chosen(registry, kind, name)[0].id, kind).caps


def planned(registry: Registry, sampler: str, guidance: str, budgets: list[int], equal_work: bool) -> list[Line]:
    "The rows of a sampler under a guidance rule, without their figures."
    facts, branches = facts_of(registry, "sampler", sampler), facts_of(registry, "guidance", guidance).get("branches", 2)
    steps = [steps_for(each_branch(budget, branches, equal_work), facts) for budget in budgets]
    return [Line(sampler, guidance, budget, n, facts.get("deterministic", True), problem="" if n else "the budget is too small")
            for budget, n in zip(budgets, steps)]


def plans(registry: Registry, samplers: list[str], rules: list[str], budgets: list[int], equal_work: bool) -> list[list[Line]]:
    "The rows of each guidance rule; a sampler that leaps brings its own guidance and comes with the first."
    leaping = [name for name in samplers if facts_of(registry, "sampler", name).get("flow_map")]
    ways = [[(name, "none" if name in leaping else rule) for name in samplers if rule == rules[0] or name not in leaping] for rule in rules]
    return [[line for way in each for line in planned(registry, *way, budgets, equal_work)] for each in ways]


# What a row says

@contextmanager
def counted(backbone) -> Iterator[list[int]]:
    "Within it, the list's number grows by the rows of latents that the model is asked about; what it asks itself is not counted again."
    real, rows, inside = backbone.predict, [0], []

    def predict(x, *given, **more):
        if not inside: rows[0] += len(x)
        inside.append(1)
        try: return real(x, *given, **more)
        finally: inside.pop()

    backbone.predict = predict
    try: yield rows
    finally: del backbone.predict


def progress(text: str = ""):
    "Show what is being done in the last line of the terminal."
    print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


class Bench:
    "What all rows share: the session, the detector, and the prompts with the seeds 0 … n−1."
    def __init__(self, session: Session, prompts: list[Prompt], batch: int = 8, detector: Detector | None = None):
        self.session, self.prompts, self.batch, self.detector = session, prompts, batch, detector or load_detector()

    def latents(self, line: Line) -> Tensor:
        "The final latents [n,D] of all films."
        made, films = [], list(enumerate(self.prompts))
        for start in range(0, len(films), self.batch):
            progress(f"{line.sampler}, {line.steps} steps, guidance {line.guidance}: {start}/{len(films)} films")
            some = films[start:start + self.batch]
            made.append(sampled([Request(self.session, p.text, seed, line.steps, line.sampler, line.guidance) for seed, p in some]))
        return torch.cat(made)

    def rates(self, latents: Tensor) -> tuple[Row, ...]:
        "What the detector sees, as `sora_kit.evaluation` counts it; the sound is not made."
        backbone, said, sure = self.session.backbone, {q: [] for q in ALWAYS}, []
        for few in latents.split(self.batch):
            frames = torch.stack(list(backbone.pictures(backbone.layout.unpack(few)[0])), 1)           # [B,F,H,W,3]
            logits, _ = glances(self.detector, frames)
            sure += recognised(logits).tolist()
            for q in ALWAYS: said[q] += [QUESTIONS[q][i] for i in logits[q].argmax(1).tolist()]
        return judged([asked(p) for p in self.prompts], [dict(zip(ALWAYS, all_four)) for all_four in zip(*said.values())], sure)

    def filled(self, line: Line, reference: Tensor | None) -> tuple[Line, Tensor | None]:
        "The row with its figures, and the latents; what a component refuses or does wrong is said in the row."
        start = time.perf_counter()
        try:
            with counted(self.session.backbone) as rows: latents = self.latents(line)
        except (InputError, PluginError) as problem: return replace(line, problem=str(problem)), None
        finally: progress()
        seconds, n = time.perf_counter() - start, len(self.prompts)
        line = replace(line, work=rows[0] / n, seconds=seconds / n)
        if not bool(latents.isfinite().all()): return replace(line, problem="it gave NaN or infinity"), None
        away = None if reference is None else float((latents - reference).square().mean(1).sqrt().mean())
        return replace(line, rates=self.rates(latents), distance=away), latents


def judged(right: list[dict[str, str]], said: list[dict[str, str]], sure: list[bool]) -> tuple[Row, ...]:
    "The rates of `COLUMNS`: right answers to `ALWAYS`, the detector's answers, and whether the actor was recognised."
    def picked(answers, *questions): return [tuple(a[q] for q in questions) for a in answers]
    known = [a if yes else ("nothing",) for a, yes in zip(picked(said, "actor"), sure, strict=True)]
    pairs = {"actor": (picked(right, "actor"), picked(said, "actor")), "recognised": (picked(right, "actor"), known),
             "motion": (picked(right, "motion"), picked(said, "motion")), "all four": (picked(right, *ALWAYS), picked(said, *ALWAYS))}
    return tuple(replace(rate_row(name, *pairs[name]), chance=None, floor=None) for name in COLUMNS)


# The table

def heading() -> str:
    "The line above the rows."
    rates = "".join(f"{name + ' %':17s}" for name in COLUMNS)
    return f"{'sampler':18s}{'guidance':14s}{'budget':>6s}{'steps':>6s}{'work':>7s}   {rates}distance"


def shown(line: Line) -> str:
    "A row as text."
    budget = "–" if line.budget is None else str(line.budget)
    start = f"{line.sampler + '~' * (not line.deterministic):18s}{line.guidance:14s}{budget:>6s}{line.steps or '–':>6}"
    if line.problem: return f"{start}{'–':>7s}   {line.problem}"
    rates = "".join(f"{100 * r.value:5.1f} ({100 * r.low:.0f}–{100 * r.high:.0f})".ljust(17) for r in line.rates)
    return f"{start}{line.work:7.1f}   {rates}{'–' if line.distance is None else f'{line.distance:.4f}'}"


def measured(bench: Bench, options) -> Iterator[Line]:
    "All rows, as they get ready."
    registry = bench.session.registry
    samplers = names(options.samplers) if options.samplers else usable(registry, getattr(bench.session.backbone, "leap", None) is not None)
    every = plans(registry, samplers, options.guidance, options.budgets, options.equal_work)                    # finds wrong names before any work
    for guidance, plan in zip(options.guidance, every):
        reference = None
        if options.reference:
            line, reference = bench.filled(Line(options.reference_sampler, guidance, None, options.reference), None)
            yield replace(line, distance=None if reference is None else 0.)
        for line in plan: yield line if line.problem else bench.filled(line, reference)[0]


def whole_numbers(text: str) -> list[int]:
    "Numbers with commas between, each at least 1."
    if not all(part.strip().isdecimal() and int(part) for part in text.split(",")): raise argparse.ArgumentTypeError(f"{text!r}: such as 4,8,12")
    return [int(part) for part in text.split(",")]


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    "What was asked for."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samplers", help="some of them, with commas between; by default all that work with the model")
    parser.add_argument("--budgets", type=whole_numbers, default=[4, 8, 12, 20], help="evaluations of each branch, with commas between")
    parser.add_argument("--guidance", action="append", help="a scale or a rule, such as apg:scale=5; may be given several times (default: 3.5)")
    parser.add_argument("--equal-work", action="store_true", help="a rule of k branches gets 2/k of the budget for each of them")
    parser.add_argument("--reference", type=int, default=0, help="steps of the reference run, such as 100; without it no distance is measured")
    parser.add_argument("--reference-sampler", default="heun")
    parser.add_argument("--n", type=int, default=64, help="prompts")
    parser.add_argument("--seed", type=int, default=0, help="of the prompts")
    parser.add_argument("--batch", type=int, default=8, help="films that are made together")
    parser.add_argument("--weights", help="folder of other weights")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, help="also write the figures there, after every row")
    options = parser.parse_args(arguments)
    options.guidance = list(dict.fromkeys(options.guidance or ["3.5"]))
    if min(options.n, options.batch) < 1: parser.error("--n and --batch must be at least 1")
    return options


def saved(path: Path, backbone, options: argparse.Namespace, lines: list[Line], finished: bool):
    "Write the figures."
    facts = {"model": backbone.name, "weights_sha256": backbone.sha256, **vars(options), "json": str(path), "finished": finished}
    write_atomic(path, json.dumps(facts | {"rows": [asdict(line) for line in lines]}, indent=1).encode())


def main(arguments: list[str] | None = None) -> list[Line]:
    options, lines, finished = options_of(arguments), [], False
    if options.json: writable(options.json)
    session = Session(options.weights, threads=options.threads)
    bench, model = Bench(session, held_out_prompts(options.n, options.seed), options.batch), session.backbone
    work = ", equal work for all guidance rules" * options.equal_work
    print(f"{model.name} {model.sha256[:12]}, {options.n} held-out prompts, seed {options.seed}, threads {torch.get_num_threads()}{work}\n{heading()}")
    try:
        for line in measured(bench, options):
            lines.append(line)
            print(shown(line), flush=True)
            if options.json: saved(options.json, model, options, lines, False)
        finished = True
    except KeyboardInterrupt: print(f"stopped; {len(lines)} rows are done", flush=True)
    if options.json: saved(options.json, model, options, lines, finished)
    return lines


if __name__ == "__main__":
    try: main()
    except InputError as problem: sys.exit(str(problem))
