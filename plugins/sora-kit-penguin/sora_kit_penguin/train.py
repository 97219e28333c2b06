"`python -m sora_kit_penguin.train`: make lessons, train the LoRA, judge it, write it."
import argparse
import random
import sys
import time
from pathlib import Path

import torch
from sora_kit.adapt import Base, fit_lora, load_base
from sora_kit.files import need
from sora_kit.lora import ADAPTERS, LoRA, save_lora, styled
from sora_kit.train import draft

from .adapter import FILE, Penguins, pieces
from .judge import ceiling, fit_judge
from .lessons import Lessons, sample_penguin, told

LARGEST = 600_000     # bytes


def prompts(n: int, seed: int = 0) -> list[str]:
    "Sentences about single penguins in combinations that training refuses, English and German."
    rng = random.Random(f"penguin test {seed}")
    return [told(sample_penguin(rng, 0., held=True), rng, "de" if k % 4 == 3 else "en") for k in range(n)]


def drawn(base: Base, lora: LoRA, texts: list[str], frames: int = 1, scales: tuple = (0., 1.), steps: int = 12) -> dict[float, torch.Tensor]:
    "Pictures uint8 [n,frames,S,S,3] of sentences without the LoRA and with it."
    sound = 0 if frames == 1 else 26
    films = {}
    for scale in scales:
        with styled(base, [(Penguins(lora), scale)]):
            films[scale] = torch.cat([draft(base.dit, base.codec, texts[k:k + 8], frames, sound, steps, shift=base.shift) for k in range(0, len(texts), 8)])
    return films


def measured(base: Base, lora: LoRA, stills: int, films: int, log=print) -> dict:
    "The share of generated pictures and films that the judge takes for penguins, by scale, and how good the judge is."
    if not stills + films: return {}
    judge = fit_judge(base.codec)
    facts = {"ceiling": ceiling(judge, base.codec)}
    log("judge, on rendered pictures it never saw: " + ", ".join(f"{name} {value:.0%}" for name, value in facts["ceiling"].items()))
    for name, n, frames in (("stills", stills, 1), ("films", films, base.frames)):
        if not n: continue
        made = drawn(base, lora, prompts(n), frames)
        facts[name] = {f"{scale:g}": sum(judge.film(film) == "penguin" for film in made[scale]) / n for scale in made}
        log(f"{n} {name}: recognised as penguins " + ", ".join(f"{share:.0%} at scale {scale}" for scale, share in facts[name].items()))
    return facts


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m sora_kit_penguin.train", description="Teach the model to draw penguins.")
    parser.add_argument("--weights", type=Path, default=ADAPTERS.parent, help="folder of the base model")
    parser.add_argument("--minutes", type=float, default=6., help="of training, after the lessons have been drawn")
    parser.add_argument("--rank", type=int, default=2, help="of the transformer's layers")
    parser.add_argument("--thin", type=int, default=3, help="rank of the small layers before and after the transformer")
    parser.add_argument("--lessons", type=int, default=128, help="films to learn from")
    parser.add_argument("--stills", type=int, default=48, help="generated pictures to judge at the end; 0 for none")
    parser.add_argument("--films", type=int, default=8, help="generated films to judge at the end; 0 for none")
    parser.add_argument("--out", type=Path, default=FILE)
    o = parser.parse_args(arguments)
    base, start = load_base(o.weights), time.time()
    lessons = Lessons(base, o.lessons, 0)
    lora = fit_lora(base, lessons, o.minutes, o.rank, thin=o.thin)
    lora.facts.update(actor="penguin", lessons=o.lessons, reads=pieces(lessons.tokenizer))
    lora.facts["judged"] = measured(base, lora, o.stills, o.films)
    save_lora(o.out, lora)
    size = o.out.stat().st_size
    need(size <= LARGEST, "rank", o.rank, f"the file has {size:,} bytes, {LARGEST:,} are allowed; take a smaller rank")
    print(f"{o.out.name}, {size:,} bytes, {time.time() - start:.0f} s in all")
    return 0


if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
