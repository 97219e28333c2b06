#!/usr/bin/env python3
"""Train those who judge generated clips: python tools/train_detector.py [detector|finder|listener] [--codec FILE] (about ten minutes on two cores for each of the first two, three for the listener).

The finder reads the detector's maps: after a new detector, teach it again."""
import argparse
from pathlib import Path

import torch

from sora_kit.codec import Codec
from sora_kit.detector import load_detector, shipped_codec, train_detector
from sora_kit.files import SHIPPED, load_tensors
from sora_kit.finder import train_finder
from sora_kit.listener import train_listener
from sora_kit.metrics import wilson

ROOT = Path(__file__).resolve().parent.parent


def main():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("who", nargs="?", default="detector", choices=("detector", "finder", "listener"))
    ask.add_argument("--codec", type=Path, help="safetensors of a codec; by default that of the shipped weights")
    ask.add_argument("--folder", type=Path, default=ROOT / "runs" / "detector", help="where its examples are kept")
    ask.add_argument("--out", type=Path, help="by default beside the shipped weights")
    ask.add_argument("--shards", type=int, default=24, help="of 256 clips, for the detector; the first is kept for the test")
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
    out = a.out or SHIPPED / f"{a.who}.safetensors"
    def log(line): print(line, flush=True)
    if a.who == "finder": found = train_finder(codec, out, log=log)
    elif a.who == "listener": found = train_listener(out, log=log)
    else: found = train_detector(codec, a.folder, out, a.shards, a.steps, a.more, load_detector() if a.further else None, log=log)
    for question, (right, n) in found.items():
        low, high = wilson(right, n)
        print(f"{question:10s} {100 * right / n:5.1f} % of {n} (95 % interval {100 * low:.1f} – {100 * high:.1f})")


if __name__ == "__main__":
    main()
