"A penguin out of a dozen limbs and balls, in the renderer's own shapes."
import math

import torch
from sora_kit.actors import Figure
from sora_kit.creatures import BEAK, INKY, WHITE, Pose, bob, dark, foot_at, pale
from sora_kit.shapes import Pen, rotate


def flipper_at(p: Pose) -> tuple:
    "The near flipper: shoulder, angle from straight down, length. It lifts a little with every step, and high when it waves."
    swing = .28 + .30 * p.amp.clamp(max=1) * torch.sin(p.phase) + .35 * p.fly
    return (-.04 + 0 * p.amp, .60 + bob(p, .02, .012)), -swing - p.reach * 1.9, .33


def penguin(p: Pose) -> Pen:
    "A penguin: coat c1, white front, orange beak and feet; it waddles, leaning from one foot to the other."
    pen, coat = Pen(), p.rgb("c1")
    y, lean = bob(p, .02, .012), .10 * p.amp.clamp(max=1) * torch.sin(p.phase)
    at = lambda x, up: (x - lean * up, up + y)                                  # the body tilts about its feet
    near, far = foot_at(p.phase, p.amp, .36, .10), foot_at(p.phase + math.pi, p.amp, .36, .10)
    shoulder, turn, length = flipper_at(p)
    dx, dy = rotate(0., -length, -turn * .9)
    pen.limb(at(.10, .60), (.10 - lean * .6 + dx, shoulder[1] + dy), .07, .045, dark(coat, .5))
    for (x, up), hip, colour in ((far, -.08, dark(BEAK, .75)), (near, .07, BEAK)):
        pen.limb((hip + x - .05, .045 + up), (hip + x + .13, .035 + up), .055, .045, colour, ink=.5)
    pen.limb(at(-.22, .14), at(-.34, .06), .07, .03, dark(coat, .7))
    pen.ball(at(0., .40), .295, .36, col=coat, shade=.6)
    pen.ball(at(.07, .36), .215, .30, col=WHITE, shade=.3, clip=1.)
    pen.ball(at(.03, .84), .215, .20, col=coat, ink=.4)
    pen.ball(at(.10, .81), .13, .125, col=WHITE, shade=.2, clip=1.)
    pen.box(at(.295, .81), .052, .11, rot=-1.57, rd=.015, top=.018, col=BEAK)
    pen.spot(at(.105, .875), .042, .052 * p.blink, col=INKY)
    pen.spot(at(.115, .893), .014, .016, col=WHITE)
    pen.spot(at(.06, .765), .045, .03, col=(1., .62, .58), alpha=.7)
    dx, dy = rotate(0., -length, turn)
    hand = (shoulder[0] - lean * .6 + dx, shoulder[1] + dy)
    pen.limb((shoulder[0] - lean * .6, shoulder[1]), hand, .078, .05, pale(dark(coat, .72), .06), ink=.8)
    return pen


def make() -> Figure:
    "What the renderer needs to know of a penguin: the box it stays in, and how far two steps carry it."
    return Figure(penguin, .62, -.06, 1.12, .36, flipper_at)
