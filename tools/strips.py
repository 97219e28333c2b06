#!/usr/bin/env python3
"""Film strips of the three showcase prompts, seeds 0-7, unpicked: python tools/strips.py [--out docs]. Each row is one film and its spectrogram."""
import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sora_kit.audio import waveform_to_mel
from sora_kit.pipeline import Session, sample_clips

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = {
    "balloon": "a child chasing a red balloon through a rainy Paris street",
    "dog": "a slow-motion cinematic shot of a dog running on a beach at sunset, with dramatic music",
    "sparkling": "me, on the beach at sunset, with a glass of sparkling wine, while fireworks cut the sky",
}


def heard(clip, width: int = 192, height: int = 128) -> np.ndarray:
    "The log-mel spectrogram of a clip's sound as a picture uint8 [height,width,3], low notes at the bottom."
    mel = waveform_to_mel(clip.audio.samples[:1])[0].flip(0)
    level = ((mel + 3) / 6).clamp(0, 1).numpy()
    colours = np.stack([level**.6, level**1.3, .35 + .4 * level * (1 - level) - .2 * level], -1)
    return np.asarray(Image.fromarray((colours.clip(0, 1) * 255).astype(np.uint8)).resize((width, height)))


def strip(clip, shown: int = 7) -> np.ndarray:
    "Evenly spaced frames of a clip, then its spectrogram, side by side."
    index = torch.linspace(0, len(clip.frames) - 1, shown).round().long().tolist()
    return np.concatenate([*(np.asarray(clip.frames[i]) for i in index), heard(clip)], 1)


def main():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--out", type=Path, default=ROOT / "docs")
    ask.add_argument("--seeds", type=int, default=8)
    a = ask.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    session = Session()
    for name, prompt in PROMPTS.items():
        clips = list(sample_clips(session, [prompt] * a.seeds, list(range(a.seeds)), batch=4))
        path = a.out / f"{name}.jpg"
        Image.fromarray(np.concatenate([strip(c) for c in clips])).save(path, quality=88)
        print(f"{path}: seeds 0-{a.seeds - 1} of “{prompt}”")


if __name__ == "__main__":
    main()
