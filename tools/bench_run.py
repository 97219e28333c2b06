#!/usr/bin/env python3
"""How much a run costs beyond its model calls and decoding (≤ 1.05), or recording beyond a run (--trace, ≤ 1.10): median of interleaved pairs.

`--all` measures everything that a run promises, on a quiet machine: from Generate to the film in a browser, recording, hooks, memory."""
import argparse
import gc
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "browser")]

from sora_kit.pipeline import Run, Session
from sora_kit.trace import Trace

PROMPT = "a dog runs on the beach"


def bare(backbone, words, steps: int, samples: int):
    "The model calls of a guided run (two branches in one pass), then the decoding, and nothing else."
    layout = backbone.layout
    with torch.no_grad():
        video, audio = torch.randn(2, *layout.picture), torch.randn(2, layout.audio_tokens, layout.audio_dim)
        for i in range(steps):
            t = torch.full((2,), 1 - i / steps)
            video_out, audio_out = backbone.dit(video, audio, t[:, None].repeat(1, layout.groups), t, words)
        for frame in backbone.codec.decode_frames(video_out[:1]): pass
        mel = audio_out[:1].reshape(1, -1, layout.sound.mels).transpose(1, 2)
        backbone.sound(mel, samples)


def timed(work) -> tuple[float, float]:
    "Wall-clock and processor seconds of a call."
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def compared(work, yardstick, pairs: int) -> tuple[float, float, float]:
    "Median ratio of wall-clock and of processor seconds, work ÷ yardstick, and median seconds of the work."
    work(), yardstick()
    ratios, seconds = [], []
    for k in range(pairs):
        first, second = (work, yardstick) if k % 2 else (yardstick, work)
        times = timed(first), timed(second)
        a, b = times if k % 2 else times[::-1]
        seconds.append(a[0])
        ratios.append((a[0] / b[0], a[1] / b[1]))
    wall, processor = (statistics.median(r) for r in zip(*ratios))
    return wall, processor, statistics.median(seconds)


def steps_only(run):
    "A run without the decoding at its end."
    for _ in run: pass


def hook_share(session, steps: int) -> tuple[float, int, float]:
    "Share of a run that its hooks and guards take with one idle observer: calls × measured time of a call ÷ seconds of the run; calls; seconds."
    class Idle:
        def sora_run_start(self, run): pass
        def sora_on_step(self, step): pass
        def sora_run_end(self, run, outcome): pass

    def each(call, times: int = 300) -> float:
        return timed(lambda: [call() for _ in range(times)])[0] / times

    def guarded():
        with registry.guard("sora_kit/euler", "while it is timed"): pass

    plugins, registry, guards = session.plugins, session.registry, []
    plugins.register(Idle(), "idle")
    real = registry.guard
    registry.guard = lambda *a: (guards.append(1), real(*a))[1]
    run = Run(session, PROMPT, steps=steps)
    seconds = timed(lambda: [*run])[0]
    registry.guard = real
    tell = each(lambda: plugins.on_step(run.last))
    return ((steps + 2) * tell + len(guards) * each(guarded)) / seconds, steps + 2 + len(guards), seconds


def leaked(runs: int = 200) -> float:
    "Megabytes that so many runs of a tiny model leave behind in this process."
    from tiny_model import write_tiny
    held = lambda: int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) / 1000

    def some(n):
        for k in range(n): Run(session, PROMPT, k, steps=1).result()
        gc.collect()

    with tempfile.TemporaryDirectory() as folder:
        session = Session(write_tiny(Path(folder)))
        some(20)
        before = held()
        some(runs)
        return held() - before


def in_browser(weights: str | None, steps: int) -> tuple[float, float]:
    "Seconds from starting JupyterLab to a studio that is ready, and from Generate to a film that can be played, median of three."
    from lab import chromium, jupyter_lab, open_notebook
    from sora_kit.lab import write_starter
    with tempfile.TemporaryDirectory() as place:
        folder, began, taken = Path(place) / "notebooks", time.perf_counter(), []
        write_starter(folder, weights)
        with jupyter_lab(folder) as address, chromium() as page:
            open_notebook(page, address.format("studio.ipynb"))
            page.wait_for_selector(".sk .state:has-text('Ready.')", timeout=180_000)
            ready = time.perf_counter() - began
            for k in range(3):
                page.fill(".sk .seed input", str(k))
                page.locator(".sk input[type=range]").first.fill(str(steps))
                start = time.perf_counter()
                page.click(".sk button:text-is('Generate')")
                page.wait_for_selector(f".sk .state:has-text('Take {k + 1}:')", timeout=180_000)
                page.wait_for_function("document.querySelector('.sk .stage video')?.readyState >= 3", timeout=180_000)
                taken.append(time.perf_counter() - start)
    return ready, statistics.median(taken)


def everything(options, session, new):
    "One line for each promise: what was measured, and what was promised."
    def line(what, value, unit, most): print(f"{'ok  ' if value <= most else 'MISS'} {what}: {value:.3g} {unit} (promised: at most {most:g})", flush=True)
    wall, processor, seconds = compared(lambda: Trace.record(new()), lambda: steps_only(new()), options.pairs)
    line(f"recording ÷ not recording, median of {options.pairs} interleaved pairs (processor {processor:.3f}; one takes {seconds:.2f} s)", wall, "times", 1.1)
    share, calls, seconds = hook_share(session, options.steps)
    line(f"hooks and guards, {calls} calls in a run of {seconds:.2f} s", 100 * share, "%", 1)
    line("memory left behind by 200 runs of the tiny model", leaked(), "MB", 50)
    ready, film = in_browser(options.weights, options.steps)
    line(f"from Generate to a film that plays in the browser, median of 3 (from starting JupyterLab to Ready: {ready:.1f} s)", film, "s", 12)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--trace", action="store_true", help="recording on against off, both without decoding")
    parser.add_argument("--attention", action="store_true", help="with --trace: keep the attention maps too")
    parser.add_argument("--all", action="store_true", help="everything that a run promises; the last line needs JupyterLab, Playwright and Chromium")
    parser.add_argument("--weights", default=None)
    options = parser.parse_args()
    session = Session(options.weights, threads=options.threads)
    backbone = session.backbone
    new = lambda: Run(session, PROMPT, steps=options.steps)
    if options.all: return everything(options, session, new)
    if options.trace:
        names = "recorded" + " with attention" * options.attention, "plain"
        work, yardstick = lambda: Trace.record(new(), attention=options.attention), lambda: steps_only(new())
    else:
        words = backbone.words([PROMPT]).repeat(2, 1) * torch.tensor([[1], [0]])
        names = "run", "bare"
        work, yardstick = lambda: new().result(), lambda: bare(backbone, words, options.steps, backbone.layout.samples(backbone.layout.frames))
    wall, processor, seconds = compared(work, yardstick, options.pairs)
    print(f"{names[0]} ÷ {names[1]}, median of {options.pairs} interleaved pairs at {options.steps} steps and {torch.get_num_threads()} threads: "
          f"wall {wall:.3f}, processor {processor:.3f}; one takes {seconds:.2f} s")
    return wall


if __name__ == "__main__":
    main()
