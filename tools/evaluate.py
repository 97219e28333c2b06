#!/usr/bin/env python3
"""`sora-kit eval` for the shipped model, with its figures kept beside the weights: python tools/evaluate.py [--n 512] [--seed 0] [--sampler flow-map] …"""
import sys
from pathlib import Path

from sora_kit.cli import main

WEIGHTS = Path(__file__).resolve().parent.parent / "sora_kit" / "weights"

if __name__ == "__main__":
    sys.exit(main(["eval", "--json", str(WEIGHTS / ("metrics-leap.json" if "flow-map" in sys.argv else "metrics.json")), *sys.argv[1:]]))
