"Finished frames as prints: each ink is a screen of dots whose size says how dark it is (clustered-dot screening; Ulichney 1987, ch. 5)."
import math
from dataclasses import dataclass

import torch
from sora_kit.files import need
from sora_kit.looks import blur, colours, pixels, rgb, rough
from torch import Tensor

PAPER = (.965, .945, .90)
INKS = {"blue+coral": ((.10, .22, .52), (1., .45, .40)), "teal+orange": ((.0, .36, .38), (1., .62, .22)),
        "violet+yellow": ((.33, .16, .50), (1., .83, .20)), "black+red": ((.13, .12, .14), (.93, .22, .20))}


def screen(height: int, width: int, dots: int, degrees: float) -> Tensor:
    "Thresholds [1,1,H,W], evenly spread over 0..1: round dots on a grid turned by some degrees."
    y, x = torch.meshgrid(torch.arange(height) + .5, torch.arange(width) + .5, indexing="ij")
    turn, scale = math.radians(degrees), math.pi * dots / height
    u, v = (x * math.cos(turn) + y * math.sin(turn)) * scale, (y * math.cos(turn) - x * math.sin(turn)) * scale
    wave = (u.cos() * v.cos()).flatten()                                           # high in the middle of a dot
    rank = torch.empty_like(wave).scatter_(0, wave.argsort(), torch.linspace(1, 0, wave.numel()))
    return rank.view(1, 1, height, width)


def printed(cover: Tensor, thresholds: Tensor, soft: float) -> Tensor:
    "How much ink lies at each pixel, 0..1: where `cover` [F,1,H,W] is above the threshold, with a soft edge."
    return ((cover - thresholds) / soft + .5).clamp(0, 1)


@dataclass(frozen=True)
class Risograph:
    "Two inks on rough paper; the dark one draws, the bright one fills."
    inks: str = "blue+coral"
    dots: int = 48
    slip: float = .008

    def paint(self, video: Tensor, *, scale: float, generator: torch.Generator) -> Tensor:
        "uint8 [F,H,W,3] → the film as a print."
        need(0 <= scale <= 2, "scale", scale, "it must be 0 to 2; 1 is usual")
        if scale == 0: return video.clone()
        x = colours(video)
        H, W = x.shape[2:]
        grey = (x * rgb(.30, .55, .15)).sum(1, keepdim=True)
        middle = grey.mean().clamp(.05, .95).item()
        grey = grey ** min(1., max(.45, math.log(.55) / math.log(middle)))         # a dark film is exposed longer
        warm = (x[:, :1] - x[:, 2:]).clamp(-.6, .6)                                # red and yellow things get more of the bright ink
        dark = (1.18 - 1.35 * grey).clamp(0, 1)
        bright = (.95 - .75 * blur(grey, .012) + .55 * warm).clamp(0, .92)
        away = (torch.randn(2, generator=generator) * self.slip * H).round().long().tolist()
        bright = bright.roll(tuple(away), (2, 3))
        grain = .14 * (rough(H, W, min(H, 90), int(torch.randint(1000, (1,), generator=generator))) - .5)
        soft = max(.22, min(.9, 2.6 * self.dots / H))
        layers = [printed(cover + grain, screen(H, W, self.dots, degrees), soft) for cover, degrees in ((dark, 45.), (bright, 75.))]
        page = rgb(*PAPER) * (1 - .05 * rough(H, W, 24, 5))
        for amount, ink in zip(reversed(layers), reversed(INKS[self.inks])): page = page * (1 - amount * (1 - rgb(*ink)))     # inks are transparent
        return pixels(torch.lerp(x, page.expand_as(x), scale))
