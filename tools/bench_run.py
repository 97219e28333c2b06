#!/usr/bin/env python3
"""How much a run costs beyond its own model calls and decoding: median ratio of interleaved pairs, target ≤ 1.05."""
import argparse
import statistics
import time

import torch

from sora_kit.pipeline import Run, Session


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    session = Session(threads=options.threads)
    backbone = session.backbone
    words = backbone.words(["a dog runs on the beach"]).repeat(2, 1) * torch.tensor([[1], [0]])
    run = lambda: Run(session, "a dog runs on the beach", steps=options.steps).result()
    plain = lambda: bare(backbone, words, options.steps, backbone.layout.samples(backbone.layout.frames))
    run(), plain()
    ratios, runs = [], []
    for k in range(options.pairs):
        first, second = (run, plain) if k % 2 else (plain, run)
        times = timed(first), timed(second)
        a, b = times if k % 2 else times[::-1]
        runs.append(a[0])
        ratios.append((a[0] / b[0], a[1] / b[1]))
    wall, processor = (statistics.median(r) for r in zip(*ratios))
    print(f"run ÷ bare, median of {options.pairs} interleaved pairs at {options.steps} steps and {torch.get_num_threads()} threads: "
          f"wall {wall:.3f}, processor {processor:.3f}; a run takes {statistics.median(runs):.2f} s")
    return wall


if __name__ == "__main__":
    main()
