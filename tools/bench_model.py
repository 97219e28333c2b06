#!/usr/bin/env python3
"""What share of this machine's measured matrix-product peak the model reaches, and how long a film with sound takes to compute.

The peak is that of square matrix products with this process's threads. Operations are counted by PyTorch (a multiplication and an
addition are two) in matrix products and convolutions. Two clocks are read: the one on the wall, and the processor's, which other
programs on the machine hardly disturb; where the machine is busy, trust the second."""
import argparse
import json
import statistics
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sora_kit.files import InputError, writable, write_atomic
from sora_kit.hooks import Registry
from sora_kit.pipeline import Run, Session

PROMPT = "a dog runs on the beach"
SIZES = (256, 512, 1024, 2048)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
GOAL = 1.           # seconds of computing for a second of film with sound, at 4 steps


# Clocks

@dataclass(frozen=True)
class Taken:
    "Seconds on the wall, and of the processor: all threads together."
    wall: float
    processor: float

    def __sub__(self, other): return Taken(self.wall - other.wall, self.processor - other.processor)

    def __add__(self, other): return Taken(self.wall + other.wall, self.processor + other.processor)


def now() -> Taken: return Taken(time.perf_counter(), time.process_time())


def median(each: list[Taken]) -> Taken: return Taken(*(statistics.median(getattr(t, clock) for t in each) for clock in ("wall", "processor")))


def timed(work, repeats: int) -> Taken:
    "Medians of `repeats` calls, after one that is not counted."
    work()
    each = []
    for _ in range(repeats):
        start = now()
        work()
        each.append(now() - start)
    return median(each)


@dataclass(frozen=True)
class Speed:
    "How quickly so many operations were done: by the wall's clock, and if the threads had had the machine to themselves."
    operations: float
    taken: Taken
    threads: int

    @property
    def wall(self) -> float: return self.operations / self.taken.wall / 1e9

    @property
    def alone(self) -> float: return self.operations * self.threads / self.taken.processor / 1e9

    @property
    def got(self) -> float:
        "Share of the threads' time that the machine gave to this process."
        return self.taken.processor / self.taken.wall / self.threads


# The peak, and the model

def peak(dtype: torch.dtype, threads: int, repeats: int, sizes: tuple[int, ...] = SIZES) -> dict[int, Speed]:
    "The speed of products of square matrices of several sizes; small ones are repeated for a few milliseconds."
    found = {}
    for n in sizes:
        a, b, times = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype), max(1, 10**9 // n**3)
        def products():
            for _ in range(times): torch.mm(a, b, out=out)
        out = torch.empty_like(a)
        found[n] = Speed(2 * n**3 * times, timed(products, repeats), threads)
    return found


def operations(work) -> dict[str, int]:
    "Floating-point operations of a call in matrix products and convolutions, by kind."
    with FlopCounterMode(display=False) as counter: work()
    return {str(kind).removeprefix("aten."): count for kind, count in counter.get_flop_counts().get("Global", {}).items()}


def asked(backbone, batch: int):
    "One guided evaluation: half of the batch with the sentence, half without."
    words = backbone.words([PROMPT]).repeat(batch, 1)
    words[batch // 2:] = 0
    x = torch.randn(batch, backbone.layout.size, generator=torch.Generator().manual_seed(0)).to(backbone.device)
    return lambda: backbone.predict(x, .5, words)


def precision(name: str): return torch.autocast("cpu", DTYPES[name]) if name != "float32" else nullcontext()


def model_speed(backbone, batch: int, name: str, threads: int, repeats: int) -> Speed:
    "The speed of one evaluation of the model."
    work = asked(backbone, batch)
    count = sum(operations(work).values())
    with precision(name): return Speed(count, timed(work, repeats), threads)


# A film

class Clock:
    "Adds up what parts of a work take: `with clock('sampling'): …`."
    def __init__(self): self.parts: dict[str, Taken] = {}

    @contextmanager
    def __call__(self, part: str):
        start = now()
        try: yield
        finally: self.parts[part] = self.parts.get(part, Taken(0, 0)) + now() - start


@contextmanager
def watched(backbone, clock: Clock):
    "Within it, the clock knows what the decoding of pictures and of sound take."
    pictures, sound = backbone.pictures, backbone.sound

    def slow_pictures(video):
        frames = pictures(video)
        while True:
            with clock("pictures"): frame = next(frames, None)
            if frame is None: return
            yield frame

    def slow_sound(mel, samples):
        with clock("sound"): return sound(mel, samples)

    backbone.pictures, backbone.sound = slow_pictures, slow_sound
    try: yield
    finally: del backbone.pictures, backbone.sound


def film(session: Session, seed: int, **settings) -> tuple[dict[str, Taken], float]:
    "What a film takes from nothing but a loaded session: in all, for sampling, pictures and sound, and for the rest; and its own length in seconds."
    clock = Clock()
    with watched(session.backbone, clock), clock("all"):
        run = Run(session, PROMPT, seed, **settings)
        with clock("sampling"):
            for _ in run: pass
        clip = run.result()
    parts = clock.parts
    return parts | {"rest": parts["all"] - parts["sampling"] - parts["pictures"] - parts["sound"]}, clip.seconds


def films(session: Session, repeats: int, **settings) -> dict:
    "The first film, and the medians of all."
    made = [film(session, seed, **settings) for seed in range(repeats)]
    return {"first": made[0][0]["all"], "seconds": made[0][1], "parts": {name: median([parts[name] for parts, _ in made]) for name in made[0][0]}}


def quick_sampler(registry: Registry, leaps: bool) -> str:
    "The sampler for few steps: a flow map if the weights can leap."
    maps = [spec.name for spec in registry.of_kind("sampler") if spec.caps.get("flow_map")]
    return maps[0] if leaps and maps else "dpmpp-2m"


# What is said

def highest(top: dict[int, Speed], clock: str = "alone") -> float:
    "The peak: the best of the sizes, by one of the clocks."
    return max(getattr(speed, clock) for speed in top.values())


def share(speed: Speed, top: dict[int, Speed], clock: str = "alone") -> float:
    "Share of the peak by the same clock."
    return getattr(speed, clock) / highest(top, clock)


def on_threads(n: int) -> str: return f"{n} thread{'s' * (n > 1)}"


def peak_lines(peaks: dict[str, dict[int, Speed]], repeats: int) -> list[str]:
    "The peaks as text."
    lines = [f"products of n × n matrices, GF/s (median of {repeats} each)", f"  {'':10s}{''.join(f'{n:>8d}' for n in next(iter(peaks.values())))}"]
    for name, speeds in peaks.items():
        for clock in ("wall", "alone"):
            each = "".join(f"{getattr(s, clock):8.1f}" for s in speeds.values())
            lines.append(f"  {name:10s}{each}  {'by the wall clock' if clock == 'wall' else 'by the processor clock'}")
    return lines


def model_lines(speeds: dict[tuple[str, int], Speed], peaks: dict[str, dict[int, Speed]], repeats: int) -> list[str]:
    "What the model reaches, as text."
    lines = [f"one evaluation of the model (median of {repeats})",
             f"  {'':10s}{'batch':>6s}{'GF':>8s}{'ms':>10s}{'GF/s':>8s}{'of peak':>9s}   processor {'ms':>9s}{'GF/s':>8s}{'of peak':>9s}"]
    for (name, batch), s in speeds.items():
        by_wall = f"{1000 * s.taken.wall:10.1f}{s.wall:8.1f}{100 * share(s, peaks[name], 'wall'):7.0f} %"
        by_processor = f"{1000 * s.taken.processor:19.1f}{s.alone:8.1f}{100 * share(s, peaks[name]):7.0f} %"
        lines.append(f"  {name:10s}{batch:6d}{s.operations / 1e9:8.2f}{by_wall}   {by_processor}")
    return lines


def film_lines(found: dict[str, dict], repeats: int) -> list[str]:
    "What films take, as text."
    columns = ("all", "sampling", "pictures", "sound", "rest")
    lines = [f"a film of {next(iter(found.values()))['seconds']:g} s with sound, from a new run to the finished clip (medians of {repeats})",
             f"  {'seconds':42s}{''.join(f'{name:>10s}' for name in columns)}{'first':>10s}   for a second of film"]
    for name, each in found.items():
        for clock in ("wall", "processor"):
            parts = "".join(f"{getattr(each['parts'][part], clock):10.3f}" for part in columns)
            title = name if clock == "wall" else "  by the processor clock"
            lines.append(f"  {title:42s}{parts}{getattr(each['first'], clock):10.3f}   {getattr(each['parts']['all'], clock) / each['seconds']:.3f}")
    return lines


def alone(taken: Taken) -> float:
    "Share of the time for which a film's first thread had a processor; it always has work to do."
    return min(1., taken.processor / taken.wall)


def summary(name: str, threads: int, speeds: dict, peaks: dict, found: dict[str, dict]) -> str:
    "One paragraph: the shares, the films, and whether the machine was quiet enough to believe the clock on the wall."
    got = min([s.got for top in peaks.values() for s in top.values()] + [alone(each["parts"]["all"]) for each in found.values()])
    quiet, clock = got >= .9, "wall" if got >= .9 else "processor"
    reached = [f"{100 * share(s, peaks[kind], 'wall' if quiet else 'alone'):.0f} % in {kind} at batch {batch}" for (kind, batch), s in speeds.items()]
    per_second = {title: getattr(each["parts"]["all"], clock) / (1 if quiet else threads) / each["seconds"] for title, each in found.items()}
    last = list(per_second.values())[-1]
    kept = "kept" if last < GOAL else "missed"
    machine = "The machine was quiet, so this is by the clock on the wall." if quiet else \
        f"The machine was busy (at worst this process got {100 * got:.0f} % of its time), so this is by the processor's clock."
    unused = [kind for kind in peaks if kind not in {k for k, _ in speeds}]
    slower = f" {' and '.join(unused)} was not timed: its matrix products are slower here." if unused else ""
    return (f"With {on_threads(threads)}, {name} reaches {', '.join(reached)} of the quickest square matrix product in the same precision.{slower} "
            f"A second of film with sound takes {'; '.join(f'{value:.2f} s at {title}' for title, value in per_second.items())}. "
            f"The goal of under {GOAL:g} s at the last of these is {kept}. {machine}")


def plain(value):
    "A value as JSON can hold it."
    if isinstance(value, Speed): return asdict(value) | {"GF/s wall": value.wall, "GF/s processor": value.alone}
    if isinstance(value, Taken): return asdict(value)
    if isinstance(value, dict): return {" ".join(map(str, k)) if isinstance(k, tuple) else str(k): plain(v) for k, v in value.items()}
    return value


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, help="of PyTorch; by default as many as it takes")
    parser.add_argument("--repeats", type=int, default=7, help="of each measurement; films are made a third as often, at least once")
    parser.add_argument("--steps", type=int, default=20, help="of the guided film")
    parser.add_argument("--weights", help="folder of other weights")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args(arguments)
    if options.repeats < 1: parser.error("--repeats must be at least 1")
    if options.json: writable(options.json)
    session = Session(options.weights, threads=options.threads)
    backbone, threads, few = session.backbone, torch.get_num_threads(), max(1, options.repeats // 3)
    print(f"{backbone.name} {backbone.sha256[:12]}, {sum(p.numel() for p in backbone.dit.parameters()) / 1e6:.1f} M parameters, {on_threads(threads)}, "
          f"PyTorch {torch.__version__}", flush=True)

    quick = quick_sampler(session.registry, getattr(backbone, "leap", None) is not None)
    found = {f"{options.steps} guided steps, dpmpp-2m": films(session, few, steps=options.steps, sampler="dpmpp-2m"),
             f"4 steps without guidance, {quick}": films(session, few, steps=4, sampler=quick, guidance="none")}
    print("\n".join(film_lines(found, few)), flush=True)

    peaks = {name: peak(dtype, threads, options.repeats) for name, dtype in DTYPES.items()}
    print("\n".join(peak_lines(peaks, options.repeats)), flush=True)
    used = [name for name in DTYPES if name == "float32" or highest(peaks[name]) > highest(peaks["float32"])]
    counts = operations(asked(backbone, 2))
    kinds = ", ".join(f"{kind} {n / 1e9:.2f}" for kind, n in counts.items())
    print(f"one guided evaluation (batch 2) is {sum(counts.values()) / 1e9:.2f} GF: {kinds}", flush=True)
    speeds = {(name, batch): model_speed(backbone, batch, name, threads, options.repeats) for name in used for batch in (2, 16)}
    said = summary(backbone.name, threads, speeds, peaks, found)
    print("\n".join([*model_lines(speeds, peaks, options.repeats), "", said]))
    report = {"model": backbone.name, "weights_sha256": backbone.sha256, "threads": threads, "pytorch": torch.__version__, "operations": counts,
              "peaks": peaks, "evaluations": speeds, "films": found, "summary": said}
    if options.json: write_atomic(options.json, json.dumps(plain(report), indent=1).encode())
    return report


if __name__ == "__main__":
    try: main()
    except InputError as problem: sys.exit(str(problem))
