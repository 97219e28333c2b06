#!/usr/bin/env python3
"""Hold the shipped model against held-out prompts: python tools/evaluate.py [--n 512] [--seed 0]; one seed a prompt, no retries."""
import argparse
import contextlib
import json
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from sora_kit.detector import load_detector
from sora_kit.files import write_atomic
from sora_kit.metrics import ceiling_clips, evaluate, held_out_prompts, look, memory, signature, table
from sora_kit.pipeline import Session, sample_clips

ROOT = Path(__file__).resolve().parent.parent


def arguments():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--n", type=int, default=512, help="prompts")
    ask.add_argument("--seed", type=int, default=0, help="of the prompts; clip k has seed SEED·10000 + k")
    ask.add_argument("--german", type=float, default=0., help="share of German prompts")
    ask.add_argument("--steps", type=int, default=20)
    ask.add_argument("--guidance", type=float, default=3.5)
    ask.add_argument("--sampler", default="dpmpp-2m")
    ask.add_argument("--batch", type=int, default=16)
    ask.add_argument("--bf16", action="store_true", help="compute in bfloat16: quicker, and not what a user gets by default")
    ask.add_argument("--threads", type=int)
    ask.add_argument("--weights", type=Path, help="folder of a model; by default the shipped one")
    ask.add_argument("--training", type=Path, help="folder of a training run with encoded clips, for the distance to the nearest of them")
    ask.add_argument("--out", type=Path, default=ROOT / "sora_kit" / "weights" / "metrics.json")
    return ask.parse_args()


def counted(clips, n: int, what: str):
    "The clips, with a line of progress now and then."
    start = time.time()
    for k, clip in enumerate(clips, 1):
        yield clip
        if k % 64 == 0 or k == n: print(f"{what} {k}/{n}, {time.time() - start:.0f} s", file=sys.stderr, flush=True)


def training_signatures(folder: Path) -> torch.Tensor:
    "Signatures of all encoded training clips, as they are and mirrored."
    paths = sorted((folder / "clip").glob("*.z*.npy"))
    if not paths: sys.exit(f"no encoded clips (clip/*.z.npy) in {folder}")
    return torch.cat([signature(torch.from_numpy(np.load(p)).view(torch.bfloat16)) for p in paths])


def main():
    a = arguments()
    session = Session(a.weights, threads=a.threads)
    backbone, detector, prompts, start = session.backbone, load_detector(), held_out_prompts(a.n, a.seed, a.german), time.time()
    print(f"{session}\n{a.n} held-out prompts (seed {a.seed}), {a.steps} steps of {a.sampler}, guidance {a.guidance:g}, "
          f"{'bfloat16 (--bf16)' if a.bf16 else 'float32'}, {torch.get_num_threads()} threads", flush=True)
    scenes, texts = [p.scene for p in prompts], [p.text for p in prompts]
    seeds = [a.seed * 10_000 + k for k in range(a.n)]
    with torch.autocast("cpu", torch.bfloat16) if a.bf16 else contextlib.nullcontext():
        made = sample_clips(session, texts, seeds, a.steps, a.guidance, a.sampler, a.batch)
        seen = look(detector, counted(made, a.n, "generated"), backbone.codec)
    best = look(detector, counted(ceiling_clips(backbone.codec, scenes, backbone.sound), a.n, "ceiling"), backbone.codec)
    rows = evaluate(prompts, seen, best)
    print(table(rows))
    kinds = [r for r in rows if r.name.startswith("actor:") and r.n]
    worst = min(kinds, key=lambda r: r.value)
    print(f"worst actor: {worst.name[7:]}, {100 * worst.value:.0f} % of {worst.n}")
    near = memory(seen.signatures, best.signatures, training_signatures(a.training)) if a.training else {}
    for name, value in near.items(): print(f"nearest training clip, {name}: {value:.3f}")
    command = " ".join(["python", "tools/evaluate.py", *sys.argv[1:]])
    facts = dict(model=backbone.name, weights=backbone.sha256, command=command, n=a.n, seed=a.seed, german=a.german, steps=a.steps,
                 sampler=a.sampler, guidance=a.guidance, dtype="bfloat16" if a.bf16 else "float32", threads=torch.get_num_threads(),
                 torch=torch.__version__, machine=platform.machine(), seconds=round(time.time() - start))
    write_atomic(a.out, json.dumps({**facts, "rows": [asdict(r) for r in rows], "memory": near}, indent=1).encode())
    print(f"{facts['seconds']} s; written to {a.out}")


if __name__ == "__main__":
    main()
