#!/usr/bin/env python3
"""`sora-kit eval` for the shipped model, with its figures kept beside the weights: python tools/evaluate.py [--n 512] [--seed 0] …"""
import sys
from pathlib import Path

from sora_kit.cli import main

KEPT = Path(__file__).resolve().parent.parent / "sora_kit" / "weights" / "metrics.json"

if __name__ == "__main__":
    sys.exit(main(["eval", "--json", str(KEPT), *sys.argv[1:]]))
