"A judge that has seen rendered penguins: it says which of fourteen kinds a picture shows, or that it is not sure, and prints how often it is right."
import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sora_kit.detector import Detector, load_detector, pictures, round_trip
from sora_kit.render import render
from sora_kit.scenes import ACTORS, SECONDS, sample_scene
from torch import Tensor, nn

from .lessons import FIGURES, sample_penguin

KINDS = (*ACTORS, "penguin")


def looked_at(net: Detector, frames: Tensor) -> Tensor:
    "What the kit's detector notices in pictures uint8 [B,H,W,3], before it answers: [B,2·deep]; both ways round."
    x = pictures(frames[:, None])
    with torch.no_grad(): cells = [net.maps(way)[1].flatten(2) for way in (x, x.flip(-1))]
    return torch.cat([sum(c.mean(-1) for c in cells), sum(c.amax(-1) for c in cells)], 1) / 2


def stills(codec: nn.Module, n: int, seed: int, most: float = .4) -> Tensor:
    "n pictures of each kind as the codec gives them back, uint8 [kinds,n,64,64,3], with noise of standard deviation 0…`most` in their latents."
    rng, g, out = random.Random(f"judge {seed}"), torch.Generator().manual_seed(seed), []
    for kind in KINDS:
        scenes = [sample_penguin(rng, 0.) if kind == "penguin" else sample_scene(rng, kind, pairs=0., refuse=False) for _ in range(n)]
        drawn = render(scenes, 64, 1, starts=[rng.choice((0., .7, 1.4)) % SECONDS for _ in scenes], batch=64, figures=FIGURES).frames
        noise = torch.rand(n, generator=g) * most
        out.append(torch.cat([round_trip(codec, part, s, g) for part, s in zip(drawn.split(16), noise.split(16))])[:, 0])
    return torch.stack(out)


@dataclass(frozen=True, eq=False)
class Judge:
    "A small network on what the detector notices."
    net: Detector
    middle: Tensor
    spread: Tensor
    layer: nn.Module

    def __call__(self, frames: Tensor) -> list[str]:
        "The kind that each picture uint8 [B,H,W,3] shows; 'unsure' where none is more probable than all others together."
        with torch.no_grad(): scores = self.layer((looked_at(self.net, frames) - self.middle) / self.spread)
        sure, kind = scores.softmax(1).max(1)
        return [KINDS[k] if p > .5 else "unsure" for k, p in zip(kind.tolist(), sure.tolist())]

    def film(self, frames: Tensor) -> str:
        "The kind that most frames of a film uint8 [F,H,W,3] show."
        said = self(frames)
        return max(set(said), key=said.count)


def fit_judge(codec: nn.Module, n: int = 300, steps: int = 300, seed: int = 0) -> Judge:
    "Taught on n pictures of each kind."
    net, shown = load_detector(), stills(codec, n, seed)
    x, y = looked_at(net, shown.flatten(0, 1)), torch.arange(len(KINDS)).repeat_interleave(n)
    return Judge(net, *fit_answers(x, y, steps, seed))


def fit_answers(x: Tensor, y: Tensor, steps: int = 300, seed: int = 0) -> tuple[Tensor, Tensor, nn.Module]:
    "Mean and spread of what was noticed [N,D], and a small network that answers with kinds [N]."
    middle, spread = x.mean(0), x.std(0) + 1e-3
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = nn.Sequential(nn.Linear(x.shape[1], 64), nn.GELU(), nn.Linear(64, len(KINDS)))
    opt = torch.optim.AdamW(layer.parameters(), .005, weight_decay=.5)
    for _ in range(steps):
        loss = F.cross_entropy(layer((x - middle) / spread), y, label_smoothing=.05)
        opt.zero_grad(); loss.backward(); opt.step()
    return middle, spread, layer.requires_grad_(False)


def ceiling(judge: Judge, codec: nn.Module, n: int = 64, seed: int = 1) -> dict[str, float]:
    "On fresh rendered pictures: share of penguins that are recognised, of others that are taken for one, and of all that are right."
    said = [judge(part) for part in stills(codec, n, seed)]
    others = [word for part in said[:-1] for word in part]
    right = sum(word == kind for part, kind in zip(said, KINDS) for word in part)
    return {"penguins": said[-1].count("penguin") / n, "false": others.count("penguin") / len(others), "all": right / (n * len(KINDS))}
