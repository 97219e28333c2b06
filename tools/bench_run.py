#!/usr/bin/env python3
"""How much a run costs beyond its model calls and decoding (≤ 1.05), or recording beyond a run (--trace, ≤ 1.10): median of interleaved pairs."""
import argparse
import statistics
import time

import torch

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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--trace", action="store_true", help="recording on against off, both without decoding")
    parser.add_argument("--attention", action="store_true", help="with --trace: keep the attention maps too")
    parser.add_argument("--weights", default=None)
    options = parser.parse_args()
    session = Session(options.weights, threads=options.threads)
    backbone = session.backbone
    new = lambda: Run(session, PROMPT, steps=options.steps)
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
