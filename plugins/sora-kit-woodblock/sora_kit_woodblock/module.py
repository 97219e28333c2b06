"Blows of wood at the moments when something lands: given events, or impacts that can be seen in the frames."
from dataclasses import dataclass

import torch
from sora_kit.audio_modules import AudioContext, tidy
from sora_kit.files import need
from sora_kit.foley import Strike, add_at, level, strike
from sora_kit.motion_foley import Foley
from torch import Tensor

WOODS = {"block": Strike(((920, .045, 1.), (2310, .020, .5), (3900, .010, .25)), 900, 5000, .008, .5),
         "temple": Strike(((410, .090, 1.), (1040, .050, .4), (1720, .025, .2)), 300, 2500, .010, .4, bend=-.1),
         "clave": Strike(((2450, .060, 1.), (4980, .020, .3)), 2000, 7000, .005, .3)}
PITCH = {"impact": 1., "footstep": 1.26, "takeoff": 1.5, "flap": 1.5, "call": 1.26, "burst": .8}


@dataclass(frozen=True)
class Woodblock:
    "Strikes a block of wood in time with what lands."
    wood: str = "block"
    level: float = -16.      # dBFS of the hardest blow
    pulse: float = 0.        # quiet beats a minute in between

    def render(self, ctx: AudioContext, *, generator: torch.Generator) -> Tensor:
        "float32 [1,channels,n_samples]: a blow for each event, harder events are louder."
        need(ctx.video is not None or ctx.events is not None, "audio", "woodblock", "it needs the film's frames or its events")
        out, rate = torch.zeros(ctx.n_samples), ctx.sample_rate
        blows = [(event.time, PITCH.get(event.kind, 1.), self.level + 6 * (event.strength - 1)) for event in Foley().events(ctx)]
        beats = int(ctx.seconds * self.pulse / 60)
        blows += [(60 * k / self.pulse, .8, self.level - 14) for k in range(1, beats + 1)]
        for time, pitch, loud in blows:
            one = strike(WOODS[self.wood], rate, generator, pitch * (1 + .02 * torch.randn(1, generator=generator).item()))
            add_at(out, level(one, loud, rate), round(time * rate))
        return tidy(out, ctx)
