"Films with penguins, and sentences about them: what the LoRA is taught with, and what it is tested on."
import random
import re
from dataclasses import replace

import torch
from sora_kit.actors import CAST
from sora_kit.audio import to_tokens, waveform_to_mel
from sora_kit.batches import facts_of, moments_of
from sora_kit.captions import describe
from sora_kit.data import token_labels
from sora_kit.render import render
from sora_kit.scenes import Scene, held_out, mirrored, sample_scene
from sora_kit.sounds import synthesise
from sora_kit.text import load_tokenizer

from .figure import make

MOVES, FIGURES = ("stands", "walks", "jumps"), CAST | {"penguin": make()}


def as_kind(scene: Scene, kind: str) -> Scene:
    "The same scene with another first actor."
    return replace(scene, actors=(replace(scene.actors[0], kind=kind), *scene.actors[1:]))


def sample_penguin(rng: random.Random, pairs: float = .15, held: bool = False) -> Scene:
    "A scene whose first actor is a penguin. It is drawn as a robot's, which moves alike; `held`: one that training refuses."
    while True:
        scene = sample_scene(rng, "robot", "" if rng.random() < pairs else rng.choice(MOVES), pairs=1., refuse=False)
        lead, others = scene.actors[0], scene.actors[1:]
        if lead.motion not in MOVES or any(a.kind == "robot" for a in others): continue
        slow = .65 if lead.motion == "walks" else 1.
        scene = replace(scene, actors=(replace(lead, kind="penguin", size=lead.size * .92, speed=lead.speed * slow), *others))
        if held_out(scene) == held: return scene


def told_as_robot(scene: Scene, rng: random.Random, lang: str = "en") -> str:
    "A sentence about a penguin's scene as the model will read it: with the word for a robot."
    return describe(as_kind(scene, "robot"), rng, lang)


def told(scene: Scene, rng: random.Random, lang: str = "en") -> str:
    "The same sentence as people write it. Both nouns are masculine in German, so that the endings fit."
    text = told_as_robot(scene, rng, lang)
    if lang == "de": return re.sub(r"\b(blech)?roboters?\b|\bandroiden?\b", "Pinguin", text, flags=re.I)
    text = re.sub(r"\b([Aa])n? android\b", r"\1 penguin", text)
    return re.sub(r"\b(robot|android|bot)\b", "penguin", text, flags=re.I)


class Lessons:
    "Penguin films as latents in memory; `batch` is what `sora_kit.adapt.fit_lora` asks for."

    def __init__(self, base, n: int, seed: int, log=print):
        rng = random.Random(f"penguin {seed}")
        self.scenes, self.cfg = [sample_penguin(rng) for _ in range(n)], base.dit.cfg
        self.z, self.labels, self.sound, self.tokenizer = [], [], [], load_tokenizer()
        for start in range(0, n, 16):
            part = self.scenes[start:start + 16]
            drawn = render(part, 64, figures=FIGURES)
            video = drawn.frames.permute(0, 1, 4, 2, 3).float() / 255                                   # [n,F,3,64,64]
            with torch.no_grad(): self.z += [torch.stack([base.codec.encode(v[None])[0] for v in (film, film.flip(3))]) for film in video]
            self.labels += token_labels(drawn.owner, [as_kind(s, "robot") for s in part])               # [G,4,4]
            waves = torch.stack([synthesise(s, m) for s, m in zip(part, drawn.motions)])
            self.sound += to_tokens(waveform_to_mel(waves))
            log(f"lessons {len(self.z)}/{n}")

    def batch(self, n: int, rng: random.Random):
        "Latents [n,C,F,h,w], sound [n,L,512], token ids, no portraits [n,3,32,32], labels [n,tokens], facts, hits and tracks, as `sora_kit.batches.Latents` gives them: half of the films mirrored."
        rows = [(rng.randrange(len(self.z)), rng.random() < .5) for _ in range(n)]
        scenes = [mirrored(self.scenes[i]) if m else self.scenes[i] for i, m in rows]
        texts = [told_as_robot(s, rng, "de" if rng.random() < .3 else "en") for s in scenes]
        labels = torch.stack([self.labels[i].flip(-1) if m else self.labels[i] for i, m in rows]).flatten(1).long()
        z, sound = torch.stack([self.z[i][int(m)] for i, m in rows]), torch.stack([self.sound[i] for i, _ in rows])
        walkers = [as_kind(s, "robot") for s in scenes]
        facts = torch.tensor([facts_of(s) for s in walkers])
        hits, track = map(torch.stack, zip(*(moments_of(s, z.shape[2], sound.shape[1], self.cfg) for s in walkers)))
        return z.float(), sound.float(), self.tokenizer.batch(texts, self.cfg.text_length)[0], torch.zeros(n, 3, 32, 32), labels, facts, hits, track
