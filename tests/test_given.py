"""One model, many tasks: what is given stays, what is not is made, and whatever a stranger gives is used or refused in one line."""
import json
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from PIL import Image
from tiny_model import write_tiny

from sora_kit.cli import main
from sora_kit.core import Audio, Clip, generator
from sora_kit.files import InputError, MachineError
from sora_kit.film import Plan, noise
from sora_kit.flow import Pred
from sora_kit.given import FILMS, Inputs, fitted
from sora_kit.guidance import CFG
from sora_kit.material import STEADY, level_of, sound_for, steadied
from sora_kit.pipeline import Run, Session, generate, sample_clips
from sora_kit.replay import replay
from sora_kit.samplers import DPMpp2MSDE, sample

PROMPT = "a dog runs on the beach"


def film(frames=17, height=64, width=64, fps=8, sound=16000, seed=0):
    "A film of noise from a stranger."
    g = torch.Generator().manual_seed(seed)
    count = round(frames * sound / fps) if sound else 0
    return Clip(torch.randint(0, 256, (frames, height, width, 3), dtype=torch.uint8, generator=g), Fraction(fps), Audio(.1 * torch.randn(1, count, generator=g), sound) if sound else None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def session(folder): return Session(folder)


def ended(session, **settings):
    "The latents of a finished run, one row for each piece."
    run = Run(session, PROMPT, **{"seed": 3, "steps": 3} | settings)
    for _ in run: pass
    return torch.cat(run.latents)


def halves(session, x): return session.backbone.layout.unpack(x)


EVERY = [{"image": film(1)}, {"image": film(9)}, {"last": film(1)}, {"image": film(1), "last": film(1, seed=1)}, {"extend": film(20), "seconds": 5.}, {"inpaint": film(20), "region": (8, 8, 20, 20)},
         {"inpaint": film(), "keep": (0, 1.)}, {"remix": film(20), "strength": .5}, {"reference": film(1)}, {"video": film(20)}, {"sound": film().audio}, {"sound": film(), "image": film(1), "reference": film(1)}]


def name_of(inputs): return "+".join(inputs)


# What stays

def test_the_first_and_the_last_picture_stay(session):
    first, last = film(1, seed=1), film(1, seed=2)
    video, _ = halves(session, ended(session, image=first, last=last))
    encode = session.backbone.encode
    assert torch.equal(video[:, :, :1], encode(first.frames)) and all(torch.equal(video[:, :, k:k + 1], encode(last.frames)) for k in range(13, 17))
    long = ended(session, last=last, seconds=4.)                                     # 32 frames in three pieces; the last frame is the eighth of the third
    assert torch.equal(halves(session, long)[0][-1:, :, 7:8], encode(last.frames))


def test_outside_of_the_region_the_film_stays(session):
    given = film()
    video, _ = halves(session, ended(session, inpaint=given, region=(16, 0, 16, 64)))
    wanted = session.backbone.encode(fitted(Inputs(video=given), session.backbone.layout).video.frames)
    changed = (video != wanted).any(1)[0]                                            # [F,h,w]
    assert changed[:, :, 2:4].all() and not changed[:, :, :2].any() and not changed[:, :, 4:].any()


def test_the_kept_time_stays(session):
    given = film()
    changed = (halves(session, ended(session, inpaint=given, keep=(.5, 1.5)))[0] != session.backbone.encode(fitted(Inputs(video=given), session.backbone.layout).video.frames)).flatten(3).any(3).any(1)[0]
    assert changed.tolist() == [True] * 4 + [False] * 8 + [True] * 5


def test_extending_keeps_the_film_itself(session):
    given = film(20, 128, 128)
    clip = generate(PROMPT, 3, session, steps=2, extend=given, seconds=4.)
    assert torch.equal(clip.frames[:20], given.frames) and len(clip.frames) == 32 == clip.recipe.frames and clip.audio.samples.shape == (1, 64000)
    early = given.audio.samples[:, :15 * 2000]
    assert torch.equal(clip.audio.samples[:, :15 * 2000], early) and not torch.equal(clip.audio.samples[:, -100:], torch.zeros(1, 100))


def test_video_keeps_the_pictures_and_sound_keeps_the_samples(session):
    given = film(20, 128, 128)
    seen, heard = (generate(PROMPT, 3, session, steps=2, **inputs) for inputs in ({"video": given}, {"sound": given.audio}))
    assert torch.equal(seen.frames, given.frames) and not torch.equal(seen.audio.samples, given.audio.samples)
    assert torch.equal(heard.audio.samples, given.audio.samples) and heard.frames.shape == given.frames.shape


def test_a_longer_film_for_a_video_holds_its_last_picture(session):
    given = film(20, 128, 128)
    clip = generate(PROMPT, 3, session, steps=1, video=given, seconds=3.)
    assert len(clip.frames) == 24 == clip.recipe.frames and torch.equal(clip.frames[:20], given.frames) and torch.equal(clip.frames[-1], given.frames[-1])


def test_films_made_together_know_the_same_kinds_of_things(session):
    face = film(1, 32, 32).frames
    first = film(1, 128, 128).frames
    for inputs in ([{"image": first}, {"image": first, "reference": face}], [{"reference": face}, {"sound": film(17, 128, 128).audio}]):
        with pytest.raises(InputError, match="one by one"): list(sample_clips(session, [PROMPT, PROMPT], [0, 1], 1, inputs=inputs))


def test_sound_for_changes_the_sound_alone(session):
    x = torch.cat([ended(session), ended(session, seed=4)])
    words = session.backbone.words([PROMPT] * 2)
    again = sound_for(session, x, words, [3, 4], steps=2)
    (video, audio), (video2, audio2) = halves(session, x), halves(session, again)
    assert torch.equal(video, video2) and not torch.equal(audio, audio2) and torch.equal(again, sound_for(session, x, words, [3, 4], steps=2))


# How strongly

def test_strength_from_nothing_to_everything(session):
    given = film(20)
    source = generate(PROMPT, 3, session, steps=3, remix=given, strength=0)
    through = torch.cat(list(session.backbone.pictures(session.backbone.encode(fitted(Inputs(remix=given), session.backbone.layout).remix.frames))))
    assert (source.frames.int() - through.int()).abs().max() <= 1                      # the same latents, decoded in batches of another size: one rounding apart
    assert torch.equal(ended(session, remix=film(), strength=1), ended(session))      # an independent sample, with the bits of a run without a film
    assert level_of(0) == 0 and level_of(1) == 1 and .94 < level_of(.7) < .96


def test_a_reference_changes_the_film_and_nothing_does_not(session):
    plain, one, other = ended(session), ended(session, reference=film(1, seed=1)), ended(session, reference=film(1, seed=2))
    assert not torch.equal(plain, one) and not torch.equal(one, other)


@pytest.mark.parametrize("sampler", ["euler", "heun", "ab2", "dpmpp-2m-sde", "unipc-2", "rk4", "ancestral"])
def test_every_sampler_leads_known_cells_home(session, sampler):
    given = film()
    video, _ = halves(session, ended(session, inpaint=given, region=(0, 0, 32, 64), sampler=sampler, steps=4))
    wanted = session.backbone.encode(fitted(Inputs(video=given), session.backbone.layout).video.frames)
    assert torch.allclose(video[..., 4:], wanted[..., 4:], atol=1e-4)


def test_many_at_a_time_as_one_by_one(session):
    given = [{"image": film(1, seed=1)}, {"image": film(1, seed=2)}]
    clips = list(sample_clips(session, [PROMPT, "a cat"], [3, 4], steps=3, inputs=given))
    alone = generate("a cat", 4, session, steps=3, **given[1])
    assert (clips[1].frames.int() - alone.frames.int()).abs().max() <= 2
    with pytest.raises(InputError, match="together"): list(sample_clips(session, [PROMPT] * 2, [3, 4], steps=2, inputs=[{}, given[0]]))


def test_many_at_a_time_without_numbers_is_said(session, monkeypatch):
    monkeypatch.setattr(session.backbone, "predict", lambda x, *rest, **more: x * float("nan"))
    with pytest.raises(MachineError, match="NaN"): list(sample_clips(session, [PROMPT] * 2, [3, 4], steps=2))


# Runs without inputs

@pytest.mark.parametrize("seconds", [None, 3.])
def test_a_run_without_inputs_is_what_it_was(session, seconds):
    "The transformer is asked as it always was: no reference, nothing known but the frames of the piece before, whose colours are led back to those of the first."
    backbone, layout, words, found = session.backbone, session.backbone.layout, session.backbone.words([PROMPT]), []
    for piece in range(1 if seconds is None else 2):
        start = halves(session, found[-1])[0][:, :, -5:] if found else None

        def denoise(x, t, to=None):
            video, audio = layout.unpack(x.repeat(2, 1))
            levels = torch.full((2, layout.groups), t, dtype=torch.float32)
            if start is not None: video, levels = torch.cat([start.repeat(2, 1, 1, 1, 1), video[:, :, 5:]], 2), torch.cat([torch.zeros(2, 2), levels[:, 2:]], 1)
            with torch.no_grad(): out = layout.pack(*backbone.dit(video, audio, levels, torch.full((2,), t), torch.cat([words, torch.zeros_like(words)])))
            x0 = CFG(3.5).combine([Pred(x, t, part, "x0") for part in out.chunk(2)], t).x0
            if start is not None: x0 = layout.pack(torch.cat([start, layout.unpack(x0)[0][:, :, 5:]], 2), layout.unpack(x0)[1])
            return Pred(x, t, x0, "x0")

        for _, x, _ in sample(DPMpp2MSDE(), noise(layout, [3], piece), denoise, 3, generator=[generator(3, f"sampler/{piece}")]): pass
        found.append(steadied(x, halves(session, found[0])[0], Plan(24, layout)) if found else x)
    assert torch.equal(torch.cat(found), ended(session, seconds=seconds))


def test_which_pieces_are_led_back_to_the_colours_of_the_beginning(session):
    given, picture = film(33), film(1)
    def begun(piece, seconds=4., **inputs):
        run = Run(session, PROMPT, 3, steps=2, seconds=seconds, **inputs)
        made = tuple(torch.full((1, run.plan.layout.size), float(k)) for k in range(piece))
        found = run.material.begun(piece, made, run.inputs, run.plan.layout)
        return None if found is None else found.mean().item()
    assert begun(0) is None and begun(1) == begun(2) == 0 and begun(1, image=picture) == 0 and begun(0, image=picture) is None
    run = Run(session, PROMPT, 3, steps=2, seconds=8., extend=given)
    assert begun(0, 8., extend=given) == begun(1, 8., extend=given) == run.material.first.mean().item()
    assert begun(1, remix=given) is None and begun(1, video=given) is None and begun(1, inpaint=given, keep=(0, 1.)) is None
    last = Run(session, PROMPT, 3, steps=2, seconds=4., last=picture).plan.pieces - 1
    assert begun(last, last=picture) is None and begun(1, sound=given) == 0
    assert {"steady": STEADY} in [{k: v for k, v in part.params.items() if k == "steady"} for part in run.recipe.components if part.kind == "chain"]


# Runs with inputs

@pytest.mark.parametrize("inputs", EVERY, ids=name_of)
def test_the_same_bits_again_forked_saved_and_replayed(session, folder, tmp_path, inputs):
    def fresh(): return Run(session, PROMPT, 3, steps=2, sampler="ancestral", **inputs)
    run, taken = fresh(), fresh()
    clip = run.result()
    next(taken)
    taken.pause()
    opened, fork = Run.open(taken.save(tmp_path / "half.run"), Session(folder)), taken.fork()
    for other in (fresh(), taken, opened, fork):
        again = other.result()
        assert torch.equal(torch.cat(run.latents), torch.cat(other.latents)) and again.recipe == clip.recipe
        assert torch.equal(again.frames, clip.frames) and torch.equal(again.audio.samples, clip.audio.samples)
    plain = {k: v for k, v in inputs.items() if k not in ("seconds", "strength", "region", "keep")}
    assert replay(clip, session, **plain).verdict == "identical"
    assert len(clip.recipe.parents) == len(plain)
    with pytest.raises(InputError, match="made from"): replay(clip, session)


def test_a_fork_before_the_first_step_is_a_run_of_its_own(session):
    settings = {"remix": film(), "strength": .6}
    fork = Run(session, PROMPT, 3, steps=3, **settings).fork(seed=9, steps=4)
    for _ in fork: pass
    assert torch.equal(torch.cat(fork.latents), ended(session, seed=9, steps=4, **settings))


def test_the_recipe_names_what_was_given(session):
    recipe = Run(session, PROMPT, steps=1, inpaint=film(), region=(0, 0, 8, 8)).recipe
    lines = [part for part in recipe.components if part.kind == "input"]
    assert [line.id for line in lines] == ["sora_kit/inpaint"] and lines[0].params == {"sha256": recipe.parents[0], "region": [0, 0, 8, 8]}
    assert Run(session, PROMPT, steps=1, remix=film()).recipe.components[-1].params["strength"] == .7
    other = Run(session, PROMPT, steps=1, inpaint=film(seed=1), region=(0, 0, 8, 8)).recipe
    assert other.parents != recipe.parents and json.loads(recipe.to_json())["parents"] == list(recipe.parents)


# From strangers

def test_any_size_rate_and_channel(session):
    for given in (film(50, 30, 90, 30, 44101), film(5, 2, 2, 3, 0), film(3, 200, 40, 1, 4000), replace(film(), audio=Audio(torch.zeros(2, 99), 8000))):
        clip = generate(PROMPT, 0, session, steps=1, video=given)
        assert abs(clip.seconds - given.seconds) <= 1 / 8 and clip.frames.shape[1:] == (128, 128, 3)


@pytest.mark.parametrize("inputs, word", [
    ({"image": 5}, "image"), ({"last": torch.zeros(3)}, "last"), ({"reference": torch.zeros(1, 4, 4, 3)}, "reference"), ({"extend": film(1).frames}, "extend"), ({"extend": film(160)}, "seconds"),
    ({"extend": film(), "seconds": 1.}, "seconds"), ({"remix": film(9, fps=1, sound=0), "video": film()}, "one other film"), ({"remix": film(40, fps=1, sound=0)}, "20 s"), ({"inpaint": film()}, "region"),
    ({"region": (0, 0, 4, 4)}, "region"), ({"inpaint": film(), "region": (0, 0, 65, 4)}, "64×64"), ({"inpaint": film(), "region": "0,0,4,4"}, "whole pixels"), ({"inpaint": film(), "region": (0, 0, 0, 4)}, "region"),
    ({"inpaint": film(), "keep": (1., .5)}, "keep"), ({"inpaint": film(), "keep": (float("nan"), 1.)}, "keep"), ({"remix": film(), "strength": 1.5}, "strength"), ({"remix": film(), "strength": True}, "strength"),
    ({"strength": .5}, "strength"), ({"sound": torch.zeros(1, 9)}, "sound"), ({"sound": Audio(torch.zeros(1, 21 * 16000), 16000)}, "sound"), ({"sound": film(), "video": film()}, "sound"),
    ({"image": film(1), "remix": film()}, "image"), ({"last": film(1), "seconds": .5}, "seconds")])
def test_what_cannot_be_used_is_one_line(session, inputs, word):
    with pytest.raises(InputError) as caught: Run(session, PROMPT, steps=1, **inputs)
    assert word in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_input_is_a_mistake(session):
    with pytest.raises(InputError, match="fisrt: there is no such setting; did you mean first"): Run(session, PROMPT, fisrt=film(1))
    assert set(FILMS) < set(Inputs.__dataclass_fields__)


# The command line

@pytest.fixture
def cli(folder, tmp_path, monkeypatch, capsys):
    "Run `generate` in a folder with a film, its sound and a picture: (exit code, standard output, error lines)."
    monkeypatch.chdir(tmp_path)
    film().save("film.mp4"), film().audio.save("sound.wav"), Image.new("RGB", (90, 70), "teal").save("picture.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "picture.png").read_bytes()[:60])
    (tmp_path / "notes.txt").write_text("no picture")

    def run(*options):
        code = main(["generate", PROMPT, "-o", "out.mp4", "--steps", "1", "--weights", str(folder), *options])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()
    return run


@pytest.mark.parametrize("options", [("--image", "picture.png"), ("--image", "film.mp4", "--last", "picture.png"), ("--extend", "film.mp4"), ("--inpaint", "film.mp4", "--region", "0,0,32,64"),
                                     ("--inpaint", "film.mp4", "--keep", "0-1.5"), ("--remix", "film.mp4", "--strength", ".4"), ("--reference", "picture.png"), ("--video", "film.mp4"), ("--sound", "sound.wav")])
def test_each_task_has_an_option(cli, options):
    code, _, err = cli(*options)
    assert (code, err) == (0, [])
    lines = [part for part in Clip.load("out.mp4").recipe.components if part.kind == "input"]
    assert [f"--{line.id.partition('/')[2]}" for line in lines] == [o for o in options if o in ("--image", "--last", "--extend", "--inpaint", "--remix", "--reference", "--video", "--sound")]


@pytest.mark.parametrize("options, word", [
    (("--image", "nowhere.png"), "no such file"), (("--image", "broken.png"), "damaged"), (("--reference", "notes.txt"), "damaged"), (("--video", "picture.png"), "MP4"), (("--sound", "notes.txt"), "MP4"),
    (("--inpaint", "film.mp4", "--region", "a,b"), "region"), (("--inpaint", "film.mp4", "--region", "1,2,3"), "region"), (("--inpaint", "film.mp4", "--keep", "1"), "keep"), (("--inpaint", "film.mp4"), "region"),
    (("--remix", "film.mp4", "--strength", "7"), "strength"), (("--strength", ".5"), "strength"), (("--extend", "film.mp4", "--seconds", "1"), "seconds"), (("--image", "picture.png", "--video", "film.mp4"), "image")])
def test_bad_input_is_one_line_and_code_2(cli, tmp_path, options, word):
    code, out, err = cli(*options)
    assert code == 2 and out == "" and len(err) == 1 and word in err[0] and "should not happen" not in err[0], err
    assert not (tmp_path / "out.mp4").exists()
