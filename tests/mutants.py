"""Components that are wrong in one way each: `MUTANTS` says which check must notice, and no other may."""
import copy
import json
import random
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from sora_kit.actors import CAST
from sora_kit.components import ComponentSpec, Param
from sora_kit.flow import Pred
from sora_kit.guidance import CFG
from sora_kit.hooks import Verdict
from sora_kit.samplers import AB2, Ancestral, Euler, Sampler, flow_levels
from sora_kit.shapes import Pen

EULER = dict(order=1, stages=(0.,), deterministic=True, min_steps=1, flow_map=False)
MUTANTS: list = []          # (name of the mutant, record, name of the check that must fail)


def mutant(kind: str, check: str, params: tuple = (), **caps):
    "Decorator: the class is a component of this kind that breaks exactly this check."
    def add(cls):
        MUTANTS.append((cls.__name__, ComponentSpec(f"mutants/{cls.__name__}", f"mutants:{cls.__name__}", cls.__doc__ or "", kind, caps, params), check))
        return cls
    return add


def of_kind(kind: str) -> list:
    return [(name, spec, check) for name, spec, check in MUTANTS if spec.kind == kind]


# samplers

def ends_of(levels, i): return levels[i:i + 2].tolist()


MUTANTS.append(("Nowhere", ComponentSpec("mutants/nowhere", "mutants:Nowhere", "its factory is misspelt", "sampler", EULER), "loads"))


@mutant("sampler", "loads", **EULER)
class Stepless:
    "Has no step."
    schedule = init_state = lambda self: None


@mutant("sampler", "loads", **EULER)
class Exits(Euler):
    "Ends the program when it is made."
    def __init__(self): raise SystemExit(0)


@mutant("sampler", "declared", **EULER | dict(deterministic=False))
class SaysItIsRandom(Euler): "Declares noise and draws none."


@mutant("sampler", "declared", **EULER | dict(stages=(0., 1.)))
class OtherStages(Euler): "Declares two questions a step and asks one."


@mutant("sampler", "levels_fall", **EULER)
class LevelTwice(Euler):
    "One level comes twice."
    def schedule(self, steps, *, info):
        levels = flow_levels(steps, info)
        if steps > 2: levels[2] = levels[1]
        return levels


@mutant("sampler", "levels_fall", **EULER)
class SingleLevels(Euler):
    "Levels are rounded to float32."
    def schedule(self, steps, *, info): return flow_levels(steps, info).float()


@mutant("sampler", "levels_fall", **EULER)
class IgnoresStart(Euler):
    "A remix would begin from pure noise."
    def schedule(self, steps, *, info): return flow_levels(steps, replace(info, start=1.))


@mutant("sampler", "same_seed_same_bits", **EULER | dict(deterministic=False))
class OwnSeed(Euler):
    "A trace of noise from a generator that nobody can seed."
    def step(self, x, i, levels, denoise, state, *, generator):
        own = torch.Generator()
        own.seed()
        new, state = super().step(x, i, levels, denoise, state, generator=generator)
        return new + 1e-6 * torch.randn(x.shape, generator=own).to(new), state


@mutant("sampler", "global_random_untouched", **EULER)
class GlobalNoise(Euler):
    "Takes a number from torch's global generator."
    def step(self, x, i, levels, denoise, state, *, generator):
        torch.rand(1)
        return super().step(x, i, levels, denoise, state, generator=generator)


@mutant("sampler", "global_random_untouched", **EULER)
class PythonNoise(Euler):
    "Takes a number from Python's global generator."
    def step(self, x, i, levels, denoise, state, *, generator):
        random.random()
        return super().step(x, i, levels, denoise, state, generator=generator)


@mutant("sampler", "order", **EULER | dict(order=2))
class ClaimsSecondOrder(Euler):
    "Euler that calls itself second order."
    order: ClassVar = 2


@mutant("sampler", "order", **EULER | dict(order=2))
class WrongBend(AB2):
    "Adams–Bashforth with half the correction."
    def step(self, x, i, levels, denoise, state, *, generator):
        t, s = ends_of(levels, i)
        v = denoise(x, t).v
        bend = (s - t) / (4 * (t - levels[i - 1].item())) * (v - state["v"]) if state else 0
        return x + (s - t) * (v + bend), {"v": v}


@mutant("sampler", "asks_where_declared", **EULER)
class StaleTime(Euler):
    "Asks at the level where the step ends."
    def step(self, x, i, levels, denoise, state, *, generator):
        t, s = ends_of(levels, i)
        return x + (s - t) * denoise(x, s).v, state


@mutant("sampler", "asks_where_declared", **EULER)
class AsksTwice(Euler):
    "Asks a second time and ignores the answer."
    def step(self, x, i, levels, denoise, state, *, generator):
        denoise(x, levels[i].item())
        return super().step(x, i, levels, denoise, state, generator=generator)


@mutant("sampler", "reads_every_prediction", **EULER)
class ReadsTheRawValue(Euler):
    "Takes whatever the model said for a velocity."
    def step(self, x, i, levels, denoise, state, *, generator):
        t, s = ends_of(levels, i)
        return x + (s - t) * denoise(x, t).value, state


@mutant("sampler", "keeps_shape_and_type", **EULER)
class Doubles(Euler):
    "Gives back float64."
    def step(self, x, i, levels, denoise, state, *, generator):
        t, s = ends_of(levels, i)
        return (x.double() + (s - t) * denoise(x, t).v.double()), state


@mutant("sampler", "finite_in_half_precision", **EULER)
class Overflows(Euler):
    "An intermediate result is too large for float16."
    def step(self, x, i, levels, denoise, state, *, generator):
        t, s = ends_of(levels, i)
        return (x * 65536 + (s - t) * 65536 * denoise(x, t).v) / 65536, state


@mutant("sampler", "inputs_untouched", **EULER)
class InPlace(Euler):
    "Adds to the x it was given."
    def step(self, x, i, levels, denoise, state, *, generator):
        t, s = ends_of(levels, i)
        x += (s - t) * denoise(x, t).v
        return x, state


@mutant("sampler", "inputs_untouched", **EULER | dict(order=2))
class ScribblesInState(AB2):
    "Writes into the state it was given."
    def step(self, x, i, levels, denoise, state, *, generator):
        new, after = super().step(x, i, levels, denoise, state, generator=generator)
        state.update(after)
        return new, state


@mutant("sampler", "inputs_untouched", **EULER)
class ScribblesInAnswer(Euler):
    "Multiplies the model's answer in place."
    def step(self, x, i, levels, denoise, state, *, generator):
        t, s = ends_of(levels, i)
        return x + denoise(x, t).v.mul_(s - t), state


@mutant("sampler", "few_steps", **EULER)
class NeedsTwoLevelsAhead(Euler):
    "Looks two levels ahead, and says nothing of needing two steps."
    def step(self, x, i, levels, denoise, state, *, generator):
        if i == 0: levels[2]
        return super().step(x, i, levels, denoise, state, generator=generator)


@mutant("sampler", "item_as_in_its_batch", **EULER)
class MixesTheBatch(Euler):
    "Pulls each item a little towards the mean of the batch."
    def step(self, x, i, levels, denoise, state, *, generator):
        new, state = super().step(x, i, levels, denoise, state, generator=generator)
        return new + .01 * (new.mean(0, keepdim=True) - new), state


@mutant("sampler", "item_as_in_its_batch", **EULER | dict(deterministic=False))
class OneGeneratorForAll(Ancestral):
    "Takes the first generator for the whole batch."
    def step(self, x, i, levels, denoise, state, *, generator):
        one = generator[0] if isinstance(generator, list) else generator
        return super().step(x, i, levels, denoise, state, generator=one)


@mutant("sampler", "right_distribution", **EULER)
class ForgetsTheEnd(Euler):
    "Shrinks what the last step leads to."
    def step(self, x, i, levels, denoise, state, *, generator):
        new, state = super().step(x, i, levels, denoise, state, generator=generator)
        return new * .8 if levels[i + 1] == 0 else new, state


class Fading:
    "Memory that is empty once it has been saved."
    def __init__(self, v=None): self.v = v
    def __reduce__(self): return Fading, ()


@mutant("sampler", "resumes", **EULER | dict(order=2))
class LosesItsMemory(AB2):
    "Its state does not survive being saved."
    def init_state(self, levels): return Fading()

    def step(self, x, i, levels, denoise, state, *, generator):
        new, after = super().step(x, i, levels, denoise, {} if state.v is None else {"v": state.v}, generator=generator)
        return new, Fading(after["v"])


@mutant("sampler", "resumes", **EULER)
class CannotBeSaved(Euler):
    "Its state holds a function."
    def init_state(self, levels): return {"why": lambda: None}


@mutant("sampler", "keeps_nothing", **EULER | dict(order=2))
class KeepsState(Sampler):
    "Adams–Bashforth that remembers on the object."
    order: ClassVar = 2

    def step(self, x, i, levels, denoise, state, *, generator):
        new, after = AB2().step(x, i, levels, denoise, {} if i == 0 else self.memory, generator=generator)
        self.memory = after
        return new, {}


@mutant("sampler", "controls", (Param("damping", float, 1., 0, 2),), **EULER)
class DividesByASetting(Euler):
    "Offers 0 and divides by it."
    def __init__(self, damping=1.): 1 / damping


@mutant("sampler", "controls", (Param("power", float, .5, 0, 1),), **EULER)
class RefusesInRiddles(Euler):
    "Refuses what it offers without naming the setting."
    def __init__(self, power=.5):
        if power == 1: raise ValueError("no")


@mutant("sampler", "recipe_replays", **EULER)
class CountsItself(Euler):
    "Each one made is a little different."
    made: ClassVar = 0

    def __init__(self):
        CountsItself.made += 1
        object.__setattr__(self, "gain", 1 + 1e-6 * CountsItself.made)

    def step(self, x, i, levels, denoise, state, *, generator):
        t, s = ends_of(levels, i)
        return x + (s - t) * denoise(x, t).v * (self.gain if levels[i + 1] == 0 else 1), state


# guidance

@mutant("guidance", "loads_rule", branches=2)
class CannotCombine:
    "Has no combine."
    def branches(self, cond, uncond, t=None): return [cond, uncond]


@mutant("guidance", "asks_as_declared", branches=2)
class RewritesTheSentence(CFG):
    "Asks another sentence than the one it was given."
    def branches(self, cond, uncond, t=None): return [f"{cond}!", uncond]


@mutant("guidance", "asks_as_declared", branches=1)
class AsksMore(CFG): "Declares one question and asks two."


@mutant("guidance", "one_sound_answer", branches=2)
class GuidesInDouble(CFG):
    "Gives back float64."
    def combine(self, preds, t):
        made = super().combine(preds, t)
        return Pred(made.x, made.t, made.value.double(), made.kind)


@mutant("guidance", "nothing_to_guide", branches=2)
class MoreContrast(CFG):
    "Adds contrast even where there is nothing to guide."
    def combine(self, preds, t):
        made = super().combine(preds, t)
        return Pred(made.x, made.t, made.v * 1.05, "v")


@mutant("guidance", "rule_reads_every_prediction", branches=2)
class TakesAllForVelocities(CFG):
    "Reads the raw value, whatever it is."
    def combine(self, preds, t):
        cond, uncond = preds[0].value, preds[1].value
        return Pred(preds[0].x, t, uncond + 4 * (cond - uncond), "v")


@mutant("guidance", "rule_item_as_in_its_batch", branches=2)
class BatchContrast(CFG):
    "How far it pushes depends on the whole batch."
    def combine(self, preds, t):
        cond, push = preds[0].v, preds[0].v - preds[1].v
        return Pred(preds[0].x, t, cond + push * push.std(), "v")


@mutant("guidance", "rule_keeps_nothing", branches=2)
class Momentum(CFG):
    "Remembers the last push on the object."
    def combine(self, preds, t):
        cond, push = preds[0].v, preds[0].v - preds[1].v + .3 * vars(self).get("last", 0)
        object.__setattr__(self, "last", push)
        return Pred(preds[0].x, t, cond + 3 * push, "v")


@mutant("guidance", "rule_leaves_inputs", branches=2)
class GuidesInPlace(CFG):
    "Writes the result into the model's answer."
    def combine(self, preds, t):
        cond = preds[0].x0
        return Pred(preds[0].x, t, cond.add_(3 * (cond - preds[1].x0)), "x0")


@mutant("guidance", "rule_leaves_inputs", branches=2)
class GuidesByChance(CFG):
    "Takes a number from torch's global generator."
    def combine(self, preds, t):
        torch.rand(1)
        return super().combine(preds, t)


# audio modules: a click at each event, and one thing wrong

@dataclass
class Clicks:
    def sound(self, ctx, late=lambda time: 0.):
        "Clicks [n_samples] at all events, float64, mean 0, peak below .8."
        t, out = torch.arange(ctx.n_samples) / ctx.sample_rate, torch.zeros(ctx.n_samples, dtype=torch.float64)
        for event in ctx.events:
            since = t - event.time - late(event.time)
            out += torch.where(since >= 0, torch.exp(-60 * since.clamp(min=0)) * torch.sin(5000 * since), 0.)
        return .5 * (out - out.mean())

    def render(self, ctx, *, generator): return self.sound(ctx).float().expand(1, ctx.channels, -1).contiguous()


FOLLOWS = dict(follows_events=True)


@mutant("audio_module", "loads_module", **FOLLOWS)
class Mute:
    "Has no render."


@mutant("audio_module", "exact_length", **FOLLOWS)
class OneSampleShort(Clicks):
    "One sample short."
    def render(self, ctx, *, generator): return super().render(ctx, generator=generator)[..., :-1]


@mutant("audio_module", "exact_length", **FOLLOWS)
class AlwaysMono(Clicks):
    "One channel, however many are due."
    def render(self, ctx, *, generator): return super().render(ctx, generator=generator)[:, :1]


@mutant("audio_module", "float_samples", **FOLLOWS)
class DoubleSamples(Clicks):
    "Samples in float64."
    def render(self, ctx, *, generator): return super().render(ctx, generator=generator).double()


@mutant("audio_module", "within_one", **FOLLOWS)
class TooLoud(Clicks):
    "A peak of 1.5."
    def render(self, ctx, *, generator):
        sound = super().render(ctx, generator=generator)
        return sound * 1.5 / sound.abs().max().clamp(min=1e-6)


@mutant("audio_module", "no_constant_part", **FOLLOWS)
class Offset(Clicks):
    "A constant part of .01."
    def render(self, ctx, *, generator): return super().render(ctx, generator=generator) + .01


@mutant("audio_module", "same_seed_same_sound", **FOLLOWS)
class OwnHiss(Clicks):
    "A hiss that nobody can seed."
    def render(self, ctx, *, generator):
        own = torch.Generator()
        own.seed()
        return super().render(ctx, generator=generator) + 1e-4 * torch.randn(ctx.n_samples, generator=own)


@mutant("audio_module", "global_random_untouched", **FOLLOWS)
class GlobalHiss(Clicks):
    "Takes a number from torch's global generator."
    def render(self, ctx, *, generator):
        torch.rand(1)
        return super().render(ctx, generator=generator)


@mutant("audio_module", "module_keeps_nothing", **FOLLOWS)
class GetsTired(Clicks):
    "Softer with each other film."
    def __init__(self): self.seen = set()

    def render(self, ctx, *, generator):
        self.seen.add(ctx.n_samples)
        return super().render(ctx, generator=generator) / len(self.seen)


@mutant("audio_module", "film_untouched", **FOLLOWS)
class PaintsOverTheFilm(Clicks):
    "Blackens the picture it was given."
    def render(self, ctx, *, generator):
        ctx.video.zero_()
        return super().render(ctx, generator=generator)


@mutant("audio_module", "one_frame", **FOLLOWS)
class NeedsTwoFrames(Clicks):
    "Divides by the number of frames less one."
    def render(self, ctx, *, generator):
        1 / (len(ctx.video) - 1)
        return super().render(ctx, generator=generator)


@mutant("audio_module", "nothing_happens", **FOLLOWS)
class NeedsAnEvent(Clicks):
    "Looks at the first event, also when there is none."
    def render(self, ctx, *, generator):
        ctx.events[0]
        return super().render(ctx, generator=generator)


@mutant("audio_module", "onset_at_each_event", **FOLLOWS)
class Late(Clicks):
    "Each click comes 100 ms late."
    def render(self, ctx, *, generator): return self.sound(ctx, lambda time: .1).float().expand(1, ctx.channels, -1)


@mutant("audio_module", "onset_moves_with_event", **FOLLOWS)
class Wavers(Clicks):
    "40 ms late on even frames, 40 ms early on odd ones."
    def render(self, ctx, *, generator):
        return self.sound(ctx, lambda time: .04 * (-1) ** round(time * 8)).float().expand(1, ctx.channels, -1)


# style adapters

class Grip:
    "A handle that does what a handle should."
    def __init__(self, adapter, backbone, scale):
        self.layers = [backbone.dit.get_submodule(name) for name in adapter.names]
        self.hooks = []
        self.scale = scale

    def set_scale(self, scale): self.scale = scale

    def detach(self):
        while self.hooks: self.hooks.pop().remove()

    def __enter__(self): return self
    def __exit__(self, kind, *_): self.detach()


class Adds:
    "Adds to what two layers answer."
    names: ClassVar = ("blocks.0.attention.out", "blocks.1.feed.down")
    grip: ClassVar = Grip

    def touches(self, info): return frozenset(self.names)

    def amount(self, scale, answer): return answer + .3 * scale * answer.roll(1, -1)

    def attach(self, backbone, *, scale):
        modules = dict(backbone.dit.named_modules())
        for name in self.names:
            width = backbone.dit.cfg.hidden if name.endswith("down") else backbone.dit.cfg.width
            if name not in modules or getattr(modules[name], "weight", torch.zeros(1, 1)).shape[-1] != width or width != 32:
                raise ValueError(f"{name} does not fit")
        handle = self.grip(self, backbone, scale)
        for layer in handle.layers: handle.hooks.append(layer.register_forward_hook(lambda layer, x, y: self.amount(handle.scale, y)))
        return handle


@mutant("style_adapter", "loads_style")
class CannotAttach:
    "Has no attach."
    def touches(self, info): return frozenset()


@mutant("style_adapter", "scale_zero_is_exact")
class NeverQuiteZero(Adds):
    "Adds a little at scale 0."
    def amount(self, scale, answer): return super().amount(scale, answer) + 1e-5


class LeavesAParameter(Grip):
    def set_scale(self, scale):
        self.scale = scale
        self.layers[0].style_scale = torch.nn.Parameter(torch.tensor(scale))


@mutant("style_adapter", "detach_restores")
class LeaksAParameter(Adds):
    "A parameter stays on the model."
    grip: ClassVar = LeavesAParameter


class Gives(Grip):
    def __exit__(self, kind, *_):
        if kind is None: self.detach()


@mutant("style_adapter", "detaches_after_an_error")
class StaysAfterAnError(Adds):
    "Stays on when something goes wrong."
    grip: ClassVar = Gives


@mutant("style_adapter", "touches_only_what_it_says")
class TouchesMore(Adds):
    "Changes a layer that it does not declare."
    names: ClassVar = (*Adds.names, "audio_out")
    def touches(self, info): return frozenset(Adds.names)


@mutant("style_adapter", "touches_only_what_it_says")
class DeclaresNonsense(Adds):
    "Declares a layer that does not exist."
    def touches(self, info): return frozenset((*Adds.names, "blocks.99.feed.down"))


@mutant("style_adapter", "smooth_in_scale")
class AllOrNothing(Adds):
    "The scale is rounded to 0 or 1."
    def amount(self, scale, answer): return super().amount(round(scale), answer)


class Sluggish(Grip):
    def set_scale(self, scale): self.scale = .2 * self.scale + .8 * scale


@mutant("style_adapter", "attached_at_a_scale")
class FollowsSlowly(Adds):
    "A new scale is reached only in part."
    grip: ClassVar = Sluggish


class Snapshot(Grip):
    def __init__(self, adapter, backbone, scale):
        super().__init__(adapter, backbone, scale)
        self.layer = self.layers[0]
        self.kept = self.layer.weight.detach().clone()
        self.set_scale(scale)

    def set_scale(self, scale):
        if scale: self.layer.weight.data.copy_(self.kept + scale * .05 * self.kept.roll(1, 0))
        else: self.layer.weight.data.copy_(self.kept)

    def detach(self): self.layer.weight.data.copy_(self.kept)


@mutant("style_adapter", "two_in_any_order")
class RestoresASnapshot(Adds):
    "Merges itself into the weights and restores a snapshot, that of another adapter included."
    def attach(self, backbone, *, scale):
        handle = super().attach(backbone, scale=scale)
        Grip.detach(handle)
        return Snapshot(self, backbone, scale)


@mutant("style_adapter", "refuses_other_models")
class RefusesTooLate(Adds):
    "Begins to attach before it knows that all layers fit."
    def attach(self, backbone, *, scale):
        modules = dict(backbone.dit.named_modules())
        if self.names[0] in modules: modules[self.names[0]].register_buffer("scale", torch.tensor(scale))
        handle = super().attach(backbone, scale=scale)
        del modules[self.names[0]].scale
        return handle


@mutant("style_adapter", "refuses_other_models")
class StumblesOverOthers(Adds):
    "A model that does not fit is a KeyError."
    def attach(self, backbone, *, scale):
        try: return super().attach(backbone, scale=scale)
        except ValueError: raise KeyError("blocks") from None


@mutant("style_adapter", "repeats_itself")
class Shimmers(Adds):
    "A little noise that nobody can seed."
    def amount(self, scale, answer):
        own = torch.Generator()
        own.seed()
        return super().amount(scale, answer) + 1e-4 * scale * torch.randn(answer.shape, generator=own)


class Inverts:
    "Painted over frames: the negative."
    def paint(self, video, *, scale, generator): return (video + scale * (255. - 2 * video.float())).round().to(torch.uint8)


@mutant("style_adapter", "loads_style", stage="frames")
class NoBrush:
    "Has no paint."


@mutant("style_adapter", "paints_frames", stage="frames")
class DoublesAStill(Inverts):
    "A film of one frame becomes one of two."
    def paint(self, video, *, scale, generator):
        made = super().paint(video, scale=scale, generator=generator)
        return made if len(made) > 1 else torch.cat([made, made])


@mutant("style_adapter", "paint_scale_zero", stage="frames")
class OneBit(Inverts):
    "At scale 0 one bit differs."
    def paint(self, video, *, scale, generator):
        made = super().paint(video, scale=scale, generator=generator)
        made[0, 0, 0, 0] ^= 1
        return made


@mutant("style_adapter", "paint_smooth_in_scale", stage="frames")
class PaintsAllOrNothing(Inverts):
    "The scale is rounded to 0 or 1."
    def paint(self, video, *, scale, generator): return super().paint(video, scale=float(round(scale)), generator=generator)


@mutant("style_adapter", "paint_repeats", stage="frames")
class OwnGrain(Inverts):
    "Grain that nobody can seed."
    def paint(self, video, *, scale, generator):
        own = torch.Generator()
        own.seed()
        made = super().paint(video, scale=scale, generator=generator)
        return made ^ (torch.rand(made.shape, generator=own) < .3).to(torch.uint8) if scale else made


@mutant("style_adapter", "paint_touches_nothing", stage="frames")
class PaintsInPlace(Inverts):
    "Writes into the frames it was given."
    def paint(self, video, *, scale, generator): return video.copy_(super().paint(video, scale=scale, generator=generator))


@mutant("style_adapter", "painting_replays", stage="frames")
class FadesWithEachOther(Inverts):
    "Each one made paints a little less."
    made: ClassVar = 0

    def __init__(self):
        FadesWithEachOther.made += 1
        self.gain = max(.2, 1 - .01 * FadesWithEachOther.made)

    def paint(self, video, *, scale, generator): return super().paint(video, scale=scale * self.gain, generator=generator)


# safety filters

class Polite:
    "Stops one word."
    def check(self, item): return Verdict("block", "that word is not made here") if "grimble" in item else Verdict("allow")


STOPS = dict(stops=("a grimble runs",))


@mutant("safety_filter", "loads_filter", **STOPS)
class Silent:
    "Has no check."


@mutant("safety_filter", "always_a_verdict", **STOPS)
class NeedsAWord(Polite):
    "Looks at the first word, also of an empty text."
    def check(self, item):
        item.split()[0]
        return super().check(item)


@mutant("safety_filter", "always_a_verdict", **STOPS)
class GivesUp(Polite):
    "Has no verdict on long texts."
    def check(self, item): return super().check(item) if len(item) < 1000 else None


@mutant("safety_filter", "plain_sentences_pass", **STOPS)
class AfraidOfDogs(Polite):
    "Stops harmless sentences."
    def check(self, item): return Verdict("block", "no dogs in here") if "dog" in item else super().check(item)


@mutant("safety_filter", "can_say_no", **STOPS)
class LetsAllPass(Polite):
    "Stops nothing."
    def check(self, item): return Verdict("allow")


@mutant("safety_filter", "can_say_no", **STOPS)
class GivesNoReason(Polite):
    "Says no and nothing else."
    def check(self, item): return Verdict("block", "no") if "grimble" in item else Verdict("allow")


@mutant("safety_filter", "same_verdict_again", **STOPS)
class Relents(Polite):
    "Stops the same text only once."
    def __init__(self): self.seen = set()

    def check(self, item):
        verdict = Verdict("allow") if item in self.seen else super().check(item)
        self.seen.add(item)
        return verdict


# actors

def lean(**changes):
    "The child of the cast with something changed."
    return CAST["child"]._replace(**changes)


@mutant("actor", "loads_figure")
class NoFigure:
    "Is no Figure."


def figure(check, name, make):
    make.__name__, make.__doc__ = name, name
    globals()[name] = make
    mutant("actor", check)(make)


def hides(pose): return Pen().ball((0., .5), .001) if float(pose.reach.max()) > .5 else CAST["child"].draw(pose)


def dices(pose):
    torch.rand(1)
    return CAST["child"].draw(pose)


def marches(pose):
    moved = copy.copy(pose)
    moved.phase = pose.phase - pose.phase.mean()
    return CAST["child"].draw(moved)


def spotted(maker):
    "A spot that is larger with each figure that is made."
    radius = .03 + .001 * number(maker)
    return lambda pose: CAST["child"].draw(pose).ball((0., .5), radius)


figure("can_be_seen", "Hides", lambda: lean(draw=hides))
figure("stays_in_its_room", "Bulges", lambda: lean(half_width=.1))
figure("same_pose_same_picture", "Dices", lambda: lean(draw=dices))
figure("figure_as_in_its_batch", "Marches", lambda: lean(draw=marches))


figure("recipe_replays", "GrowsASpot", lambda: lean(draw=spotted(GrowsASpot)))
figure("controls", "DividesItsSpots", lambda damping=1.: lean(half_width=1 / damping * CAST["child"].half_width))
MUTANTS[-1] = (*MUTANTS[-1][:1], replace(MUTANTS[-1][1], params=(Param("damping", float, 1., 0, 2),)), MUTANTS[-1][2])


# of every kind: one that offers a setting and divides by it, and one that numbers itself, so that a recipe cannot make it again

def number(cls) -> int:
    "How many of them have been made."
    cls.made = getattr(cls, "made", 0) + 1
    return cls.made


def divides(kind: str, base: type, **caps):
    class Divides(base):
        "Offers 0 and divides by it."
        def __init__(self, damping=1.):
            super().__init__()
            1 / damping
    Divides.__name__ = f"Divides_{kind}_{caps.get('stage', 'model')}"
    globals()[Divides.__name__] = mutant(kind, "controls", (Param("damping", float, 1., 0, 2),), **caps)(Divides)


for kind, base, caps in (("guidance", CFG, dict(branches=2)), ("audio_module", Clicks, FOLLOWS), ("style_adapter", Adds, {}), ("style_adapter", Inverts, dict(stage="frames")),
                         ("safety_filter", Polite, STOPS)): divides(kind, base, **caps)


@mutant("guidance", "recipe_replays", branches=2)
class PushesALittleMore(CFG):
    "Each one made pushes a little more."
    def __init__(self): super().__init__(scale=4 + 1e-10 * number(PushesALittleMore))


@mutant("audio_module", "recipe_replays", **FOLLOWS)
class WearsOut(Clicks):
    "Each one made is a little softer."
    def __init__(self): self.gain = .999 ** number(WearsOut)

    def render(self, ctx, *, generator): return super().render(ctx, generator=generator) * self.gain


@mutant("style_adapter", "recipe_replays")
class AddsALittleMore(Adds):
    "Each one made adds a little more."
    def __init__(self): self.gain = 1 + .001 * number(AddsALittleMore)

    def amount(self, scale, answer): return super().amount(scale * self.gain, answer)


@mutant("safety_filter", "recipe_replays", **STOPS)
class MoodyAboutDogs(Polite):
    "Every second one that is made stops dogs too (and the one that is asked about harmless sentences is not that one)."
    def __init__(self): self.strict = number(MoodyAboutDogs) % 2 == 0

    def check(self, item): return Verdict("review", "dogs are too wild today") if self.strict and "a dog runs on the beach" in item else super().check(item)


# lessons: folders of a package that the test writes

ABOUT = dict(id="01_zoo", goal="Know the zoo.", minutes=10, cpu_s=5, prerequisites=[], needs=[], language="en", kit_version="0.1")
TITLE, CODE = dict(cell_type="markdown", source=["# The zoo"]), dict(cell_type="code", source=["x = 1\n", "%matplotlib inline\n"], outputs=[])


def notebook(*cells, **about) -> dict: return dict(nbformat=4, cells=list(cells), metadata={"sora_kit": ABOUT | about})


LESSONS = {"unreadable": ("loads_lesson", dict(cells="none")), "unhurried": ("lesson_facts", notebook(TITLE, CODE, minutes="ten")),
           "untitled": ("lesson_opens_with_a_title", notebook(CODE)),
           "broken": ("lesson_code_compiles", notebook(TITLE, CODE | dict(source=["x = = 1"]))),
           "failed": ("lesson_code_compiles", notebook(TITLE, CODE | dict(outputs=[dict(output_type="error")])))}
for name, (check, _) in LESSONS.items():
    MUTANTS.append((name, ComponentSpec(f"mutants/{name}", f"lesson_zoo:{name}", name, "lesson"), check))
MUTANTS.append(("outside", ComponentSpec("mutants/outside", "lesson_zoo:../..", "leaves its package", "lesson"), "loads_lesson"))


def write_lessons(folder) -> None:
    "The package `lesson_zoo` with a folder for each wrong lesson, and a right one."
    for name, (_, cells) in (LESSONS | {"right": ("", notebook(TITLE, CODE))}).items():
        (folder / "lesson_zoo" / name).mkdir(parents=True)
        (folder / "lesson_zoo" / name / "lesson.ipynb").write_text(json.dumps(cells))
    (folder / "lesson_zoo" / "__init__.py").write_text("raise RuntimeError('a lesson must be read without importing its package')")
