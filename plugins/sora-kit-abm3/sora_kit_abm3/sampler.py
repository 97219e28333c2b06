"Adams–Bashforth–Moulton on the velocity, with steps of any length: Hairer, Nørsett & Wanner 1993, §III.1 and §III.5."
from dataclasses import dataclass
from typing import ClassVar

from sora_kit.samplers import Sampler


def bent(h: float,     # length of the step, s − t
         points: list  # (level − t, v) of up to three levels, the first of them at t
         ):
    "∫ of the polynomial through `points` from t to t + h: a line or a parabola, by divided differences."
    (_, v0), *others = points
    total = h * v0
    if others:
        a1, v1 = others[0]
        slope = (v1 - v0) / a1
        total = total + h * h / 2 * slope
    if len(others) == 2:
        a2, v2 = others[1]
        curve = ((v2 - v1) / (a2 - a1) - slope) / a2
        total = total + (h**3 / 3 - a1 * h * h / 2) * curve
    return total


@dataclass(frozen=True)
class ABM3(Sampler):
    "Adams–Bashforth predicts along a line, Adams–Moulton corrects along a parabola (mode PEC): third order, one evaluation a step."
    order: ClassVar = 3

    def step(self, x, i, levels, denoise, state, *, generator):
        t, s = levels[i:i + 2].tolist()
        v = denoise(x, t).v
        past = [(levels[i - k].item(), state[f"v_{k}"]) for k in (1, 2) if f"v_{k}" in state]
        if past:                                                    # the step that led here, again, now that its end is known
            before = past[0][0]
            x = state["x"] + bent(t - before, [(0., past[0][1]), (t - before, v), *((level - before, old) for level, old in past[1:])])
        new = x + bent(s - t, [(0., v), *((level - t, old) for level, old in past[:1])])
        return new, {"x": x, "v_1": v} | ({"v_2": past[0][1]} if past else {})
