#!/usr/bin/env python3
"""Train the detector that judges generated clips: python tools/train_detector.py [--codec FILE] (about ten minutes on two cores)."""
import argparse
from pathlib import Path

import torch

from sora_kit.codec import Codec
from sora_kit.detector import load_detector, shipped_codec, train_detector
from sora_kit.files import load_tensors
from sora_kit.metrics import wilson

ROOT = Path(__file__).resolve().parent.parent


def main():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--codec", type=Path, help="safetensors of a codec; by default that of the shipped weights")
    ask.add_argument("--folder", type=Path, default=ROOT / "runs" / "detector", help="where its examples are kept")
    ask.add_argument("--out", type=Path, default=ROOT / "sora_kit" / "weights" / "detector.safetensors")
    ask.add_argument("--shards", type=int, default=24, help="of 256 clips; the first is kept for the test")
    ask.add_argument("--steps", type=int, default=1500, help="of the first course")
    ask.add_argument("--more", type=int, default=280, help="of the second course, with more falls and pairs")
    ask.add_argument("--further", action="store_true", help="go on from the shipped detector, in the second course alone: after a small change of the world or the codec, with --more 900")
    ask.add_argument("--threads", type=int)
    a = ask.parse_args()
    if a.threads: torch.set_num_threads(a.threads)
    codec = shipped_codec()
    if a.codec:
        codec = Codec()
        codec.load_state_dict(load_tensors(a.codec))
        codec = codec.to(memory_format=torch.channels_last).eval()
    found = train_detector(codec, a.folder, a.out, a.shards, a.steps, a.more, load_detector() if a.further else None, log=lambda line: print(line, flush=True))
    for question, (right, n) in found.items():
        low, high = wilson(right, n)
        print(f"{question:10s} {100 * right / n:5.1f} % of {n} (95 % interval {100 * low:.1f} – {100 * high:.1f})")


if __name__ == "__main__":
    main()
