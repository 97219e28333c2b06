"""From a sentence to a clip: what comes out, what is refused, and where it comes from."""
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import write_leaper, write_tiny

import sora_kit
from sora_kit.core import Clip, Recipe
from sora_kit.files import InputError, load_index
from sora_kit.film import Plan, cross_fade, denoiser
from sora_kit.guidance import CFG
from sora_kit.hooks import BUILTIN, ComponentSpec
from sora_kit.leap import leap_file
from sora_kit.lora import save_lora
from sora_kit.pipeline import Run, Session, generate, sample_clips
from sora_kit.replay import replay
from sora_kit.session import Given, Layout

PROMPT = "a dog runs on the beach"


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def session(folder): return Session(folder)


def latents(session, prompt=PROMPT, seed=0, **settings):
    run = Run(session, prompt, seed, **{"steps": 2} | settings)
    for _ in run: pass
    return torch.cat(run.latents)


# What comes out

@pytest.mark.parametrize("seconds, frames", [(None, 17), (.125, 1), (.3, 2), (1, 8), (2.125, 17), (2.2, 18), (5, 40)])
def test_a_clip_has_the_length_that_was_asked_for(session, seconds, frames):
    clip = generate(PROMPT, session=session, steps=1, seconds=seconds)
    assert clip.frames.shape == (frames, 128, 128, 3) and clip.fps == 8
    assert clip.audio.samples.shape == (1, frames * 2000) and clip.audio.samples.abs().max() <= 1
    assert clip.captions == ((0, frames / 8, PROMPT),)


def test_twenty_seconds_are_made_in_pieces(session):
    run = Run(session, PROMPT, steps=1, seconds=20)
    assert len(run) == len(list(run)) == 13 and len(run.result().frames) == 160


def test_the_recipe_says_everything(session, folder):
    clip = generate(PROMPT, seed=7, session=session, steps=2, sampler="ancestral:eta=.5", guidance="apg:scale=5", seconds=3)
    recipe = Recipe.from_json(clip.recipe.to_json())
    assert recipe == clip.recipe and (recipe.prompt, recipe.seed, recipe.steps, recipe.frames, recipe.fps, recipe.lang) == (PROMPT, 7, 2, 24, "8", "en")
    assert recipe.model == "tiny" and recipe.weights == load_index(folder, "tiny")[1] and recipe.dtype == "float32"
    assert [(c.kind, c.id) for c in recipe.components] == [("sampler", "sora_kit/ancestral"), ("guidance", "sora_kit/apg"), ("vocoder", "sora_kit/vocoder"),
                                                           ("chain", "sora_kit/last-frames"), ("steps", "sora_kit/fingerprints")]
    assert recipe.components[0].params == {"eta": .5} and recipe.components[1].params == {"scale": 5., "eta": 0., "radius": 0.}


def test_same_seed_same_bits_and_other_seeds_other_films(session, folder):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = latents(session, sampler="ancestral", seconds=3)
    assert torch.equal(before, torch.get_rng_state()), "the global generator was used"
    torch.manual_seed(6)
    assert torch.equal(first, latents(Session(folder), sampler="ancestral", seconds=3))
    assert not torch.equal(first, latents(session, seed=1, sampler="ancestral", seconds=3))
    assert not torch.equal(latents(session), latents(session, "a cat on the beach")) and not torch.equal(latents(session), latents(session, guidance=1))


def test_interleaved_runs_do_not_disturb_each_other(session):
    runs = [Run(session, p, 3, steps=3) for p in ("a red ball bounces", "a cat sits")]
    for steps in zip(*runs): pass
    for run, prompt in zip(runs, ("a red ball bounces", "a cat sits")):
        assert torch.equal(run.latents[0], latents(session, prompt, 3, steps=3))


@pytest.mark.parametrize("sampler", ["dpmpp-2m", "dpmpp-2m-sde", "ancestral"])
def test_a_batch_gives_what_each_prompt_gives_alone(session, sampler):
    prompts, seeds = ["a dog runs", "a red balloon floats up at night", "ein Hund am Strand"], [0, 5, 5]
    batch = list(sample_clips(session, prompts, seeds, steps=2, sampler=sampler, batch=2))
    assert len(batch) == 3
    for clip, prompt, seed in zip(batch, prompts, seeds):
        alone = generate(prompt, seed, session, steps=2, sampler=sampler)
        assert (clip.frames.int() - alone.frames.int()).abs().max() <= 1 and torch.allclose(clip.audio.samples, alone.audio.samples, atol=1e-3)
        assert replace(alone.recipe, components=alone.recipe.components[:-1]) == clip.recipe      # without the fingerprints of its steps


@pytest.mark.parametrize("spec", [s for s in BUILTIN if s.kind in ("sampler", "guidance") and not s.caps.get("flow_map")], ids=lambda s: s.id)
def test_every_component_runs_and_asks_once_for_all_branches(session, spec, monkeypatch):
    asked = []
    forward = session.backbone.dit.forward
    monkeypatch.setattr(session.backbone.dit, "forward", lambda video, *rest, **more: (asked.append(len(video)), forward(video, *rest, **more))[1])
    name = "skip-layer:low=0" if spec.name == "skip-layer" else spec.name
    chosen = {spec.kind: name} | ({"guidance": 3.5} if spec.kind == "sampler" else {})
    assert latents(session, steps=3, **chosen).isfinite().all()
    branches = spec.caps.get("branches", 2)
    stages = len(spec.caps.get("stages", (0,)))
    each = [2, 1] if spec.name == "skip-layer" else [branches]                # the weaker model is asked by itself
    assert asked == each * (3 * stages - (stages > 1 and spec.caps["stages"][-1] == 1))


def test_the_weaker_model_of_skip_layer_is_asked_about_the_picture_alone(session):
    plain, skipped = (next(Run(session, PROMPT, steps=2, guidance=rule)).x0 for rule in (3.5, "skip-layer:scale=3.5"))
    (video, audio), (other, same) = (session.backbone.layout.unpack(x) for x in (plain, skipped))
    assert torch.allclose(audio, same, atol=1e-5) and not torch.allclose(video, other, atol=1e-2)


def test_a_component_of_somebody_else(session, folder):
    theirs = Session(folder)
    theirs.registry.add(ComponentSpec("other/wobble", "sora_kit.samplers:Euler", "theirs", "sampler"))
    assert torch.equal(latents(theirs, sampler="wobble"), latents(session, sampler="euler"))
    with pytest.raises(InputError, match="wobble"): Run(session, PROMPT, sampler="wobble")


def test_without_a_vocoder_griffin_lim_makes_the_sound(tmp_path):
    clip = generate(PROMPT, session=Session(write_tiny(tmp_path, vocoder=False, dtype=torch.bfloat16)), steps=1)
    assert clip.audio.samples.shape == (1, 34000) and 0 < clip.audio.samples.abs().max() <= 1 and clip.recipe.components[2].id == "sora_kit/griffin-lim"


# Known frames and chaining

def test_pieces_begin_with_the_last_frames_of_the_piece_before(session, monkeypatch):
    levels, forward = [], session.backbone.dit.forward
    monkeypatch.setattr(session.backbone.dit, "forward", lambda v, a, tv, ta, w: (levels.append((tv[0].tolist(), ta[0].item())), forward(v, a, tv, ta, w))[1])
    run = Run(session, PROMPT, steps=2, seconds=5)
    for _ in run: pass
    a, b, c = (session.backbone.layout.unpack(x)[0] for x in run.latents)
    assert torch.equal(b[:, :, :5], a[:, :, -5:]) and torch.equal(c[:, :, :5], b[:, :, -5:]) and not torch.equal(b[:, :, 5], a[:, :, 5])
    assert levels[0] == ([1.] * 5, 1.) and levels[2] == ([0., 0., 1., 1., 1.], 1.) and levels[3] == ([0., 0., .5, .5, .5], .5)
    video, mel = run.plan.join(run.latents)
    assert torch.equal(video, torch.cat([a, b[:, :, 5:], c[:, :, 5:]], 2)[:, :, :40]) and mel.shape == (1, 64, 2 * 150 + 216)


def test_a_picture_can_begin_the_film(session):
    picture = torch.full((1, 90, 160, 3), 200, dtype=torch.uint8)
    run = Run(session, PROMPT, steps=2, first=picture)
    wanted = session.backbone.encode(picture)
    for _ in run: pass
    assert torch.equal(session.backbone.layout.unpack(run.latents[0])[0][:, :, :1], wanted)
    assert len(run.recipe.parents) == 1 and run.recipe != Run(session, PROMPT, steps=2).recipe
    film = Clip(torch.randint(0, 255, (9, 64, 64, 3), dtype=torch.uint8))
    again = Run(session, PROMPT, steps=1, first=film)
    assert again.material.first.shape[2] == 5
    for bad in (torch.zeros(1, 8, 8, 3), torch.zeros(8, 8, 3, dtype=torch.uint8), torch.zeros(0, 8, 8, 3, dtype=torch.uint8)):
        with pytest.raises(InputError, match="first"): Run(session, PROMPT, first=bad)


def test_known_frames_stay_known_under_rescaled_guidance(session):
    layout = session.backbone.layout
    known = Given.first(torch.randn(1, layout.channels, 5, layout.grid, layout.grid), layout)
    x, words = torch.randn(1, layout.size), session.backbone.words([PROMPT])
    x0 = denoiser(session.backbone, words, CFG(7., rescale=.7), known)(x, .5).x0
    assert torch.equal(layout.unpack(x0)[0][:, :, :5], known.video[:, :, :5])
    with pytest.raises(InputError): Given.first(torch.randn(1, layout.channels, 4, 8, 8), layout)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 160))
def test_plans_cover_every_length(frames):
    plan = Plan(frames, Layout())
    made = 17 + (plan.pieces - 1) * 12
    assert made >= frames and (plan.pieces == 1 or made - 12 < frames)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.integers(1, 60))
def test_cross_fades_keep_what_both_agree_on(old, at, new):
    at, new = min(at, old), max(new, old - min(at, old))
    out = cross_fade(torch.ones(2, old), torch.ones(2, new), at)
    assert out.shape == (2, at + new) and torch.allclose(out, torch.ones(()))


# What is refused

@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": -1}, {"steps": 1001}, {"steps": 2.5}, {"steps": True}, {"seconds": 0}, {"seconds": 21}, {"seconds": float("nan")},
                                   {"seconds": "3"}, {"seconds": .01}, {"lang": "fr"}, {"sampler": "nothing"}, {"sampler": "flow-map"}, {"sampler": "euler:eta=1"},
                                   {"sampler": ""}, {"guidance": -1}, {"guidance": float("nan")}, {"guidance": float("inf")}, {"guidance": "strong"}, {"guidance": True},
                                   {"guidance": "cfg:scale"}, {"guidance": "cfg:low=1"}, {"guidance": "skip-layer:at=1"}, {"seed": -1}, {"seed": 2**63}, {"seed": 1.5}])
def test_wrong_settings_are_one_line(session, wrong):
    with pytest.raises(InputError) as caught: Run(session, PROMPT, **wrong)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t", "x" * 10_000, "🎆🎆🎆", "\x00\x07", "12345", None, 5, b"dog"])
def test_prompts_that_say_nothing_are_refused(session, prompt):
    with pytest.raises(InputError, match="prompt"): Run(session, prompt)


@pytest.mark.parametrize("prompt", ["a dog 🐶 on the beach", "\x1b[31ma dog\x00 runs\u202e", "<img src=x onerror=alert(1)> a dog", "собака на пляже", "海辺の犬", "un chien à la plage",
                                    "a dog " + "very " * 300 + "slow", "a \ud800 dog", "DOG!!!", "'; DROP TABLE clips; --", "a" * 2000])
def test_odd_prompts_make_a_film(session, prompt):
    run = Run(session, prompt, steps=1)
    clip = run.result()
    assert clip.frames.shape[0] == 17 and run.report() and "<img" not in run.script._repr_html_() and "<img" not in clip._repr_html_()


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_a_run_or_an_input_error(session, text):
    try: run = Run(session, text)
    except InputError as problem: assert "\n" not in str(problem)
    else: assert run.report() and run.recipe.prompt


def test_what_cannot_be_done_is_said(session):
    assert "Speech" in Run(session, 'a dog says "hello"').report() and "Speech" in Run(session, "ein Kind singt").report() and "Speech" not in Run(session, "the dog's ball").report()
    long = "a red dog runs slowly to the left over a green meadow in the evening while a blue cat and a yellow bird look at a big brown house and a small white tower in the rain"
    assert "does not see" in Run(session, long).report() and "does not see" not in Run(session, PROMPT).report()


# Nothing of the result is drawn or synthesised

BLOCKED = ("render", "scenes", "shapes", "actors", "creatures", "things", "places", "scenery", "sky", "wilds", "foley", "music", "sounds", "data", "train", "captions", "sentences")


def test_nothing_comes_from_the_renderer_or_the_synthesiser():
    "With the shipped weights, in a process where importing any part of the world fails."
    code = f"""
import sys
for name in {BLOCKED!r}: sys.modules["sora_kit." + name] = None
import sora_kit
clip = sora_kit.generate({PROMPT!r}, steps=1)
assert clip.frames.shape[0] > 1 and clip.audio.samples.shape[1] == round(len(clip.frames) / clip.fps * 16000) and len(clip.mp4()) > 1000
world = {{n for n in sys.modules if n.startswith("sora_kit.") and sys.modules[n] is not None}}
print(sorted(n.partition(".")[2] for n in world))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=Path(sora_kit.__file__).parent.parent)
    assert done.returncode == 0, done.stderr[-1500:]
    assert set(eval(done.stdout)) <= {"files", "media", "core", "hooks", "vocabulary", "synonyms", "script", "codec", "audio", "text", "flow",
                                 "tracker", "refiner", "dit", "samplers", "guidance", "session", "film", "given", "lineage", "material", "position", "request", "run", "pipeline",
                                 "components", "builtin", "decorators", "installed", "plugins", "safety", "guests", "newcomers", "tags", "tiers", "wide_vocabulary", "leap", "lora", "interpreter"}


# Leaps

@pytest.fixture(scope="module")
def leaper(tmp_path_factory):
    "A session whose tiny model was given an adapter for leaps, of random numbers."
    return Session(write_leaper(tmp_path_factory.mktemp("leaper"), 5))


def test_a_leaping_film_asks_four_times_without_guidance_and_replays(leaper, monkeypatch):
    asked, forward = [], leaper.backbone.dit.forward
    monkeypatch.setattr(leaper.backbone.dit, "forward", lambda video, *rest: (asked.append(len(video)), forward(video, *rest))[1])
    run = Run(leaper, PROMPT, sampler="flow-map")
    clip = run.result()
    assert asked == [1] * 4 and run.levels[1] == pytest.approx(2 * .75 / 1.75) and run.settings["guidance"] == "sora_kit/none"
    plain = Run(leaper, PROMPT, sampler="euler", guidance="none", steps=4)
    plain.result()
    assert not torch.equal(run.latents[0], plain.latents[0]) and len(leaper.backbone.dit.time_in._forward_hooks) == 0
    assert torch.equal(latents(leaper, sampler="flow-map", steps=4), run.latents[0])
    assert replay(clip.recipe, leaper).verdict == "identical"
    (part,) = (p for p in clip.recipe.components if p.kind == "leap")
    other = replace(clip.recipe, components=tuple(replace(p, params={"sha256": "0" * 64}) if p is part else p for p in clip.recipe.components))
    with pytest.raises(InputError, match="another adapter"): replay(other, leaper)     # the same weights, taught to leap again
    assert not any(p.kind == "leap" for p in plain.result().recipe.components)


def test_leaps_need_weights_that_leap_and_bring_their_own_guidance(leaper, session):
    with pytest.raises(InputError, match="trained to leap"): Run(session, PROMPT, sampler="flow-map")
    with pytest.raises(InputError, match="baked in"): Run(leaper, PROMPT, sampler="flow-map", guidance=3.)
    assert Run(leaper, PROMPT).steps == 20 and Run(leaper, PROMPT, sampler="flow-map", steps=6).steps == 6


def test_an_adapter_for_leaps_of_other_weights_is_not_used(leaper, tmp_path):
    folder = write_tiny(tmp_path, seconds=1.)                                          # other facts, another hash
    save_lora(leap_file(folder, "tiny"), leaper.backbone.leap)
    assert Session(folder).backbone.leap is None
