"""Run: watching, stopping, going back, forking, editing, saving."""
import gc
import json
import subprocess
import sys
import threading
import time
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import torch
from tiny_model import taken, write_tiny

import sora_kit
from sora_kit.files import InputError, MachineError
from sora_kit.film import Backend
from sora_kit.hooks import ComponentSpec, Param, PluginError
from sora_kit.pipeline import Cancelled, DeadlinePassed, Run, Session
from sora_kit.position import apart, fingerprint, packed, unpacked
from sora_kit.run import FORMAT

PROMPT = "a dog runs on the beach"


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def session(folder): return Session(folder)


def ended(run):
    "All latents of the finished run."
    for _ in run: pass
    return torch.cat(run.latents)


def latents(session, prompt=PROMPT, seed=0, **settings): return ended(Run(session, prompt, seed, **{"steps": 2} | settings))


# Watching and stopping

def test_steps_are_frozen_and_tell_where_the_run_is(session):
    run = Run(session, PROMPT, steps=3)
    assert run.done == 0 and "after step 0 of 3" in repr(run)
    steps = list(run)
    assert [s.i for s in steps] == [0, 1, 2] and steps[-1].done == run.done == 1 and steps[-1].to == 0 and steps[0].t == 1
    assert all(a.to == b.t and a.seconds <= b.seconds for a, b in zip(steps, steps[1:]))
    assert torch.equal(steps[-1].x, steps[-1].x0) and torch.equal(steps[-1].x, run.latents[0])
    with pytest.raises(FrozenInstanceError): steps[0].t = 2.
    assert steps[0].preview(every=8).shape == (3, 128, 128, 3) and torch.equal(steps[-1].preview(), run.result().frames)


@pytest.mark.parametrize("after", [0, 1, 3, 4])
def test_cancel_takes_effect_before_the_next_question(session, monkeypatch, after):
    calls, forward = [], session.backbone.dit.forward
    monkeypatch.setattr(session.backbone.dit, "forward", lambda *a: (calls.append(1), forward(*a))[1])
    run = Run(session, PROMPT, steps=2, seconds=3)
    for k in range(after): next(run)
    run.cancel()
    assert list(run) == [] and len(calls) == after
    if after < 4:
        assert run.cancelled
        with pytest.raises(Cancelled, match=f"after step {after} of 4"): run.result()
    else: assert not run.cancelled and len(run.result().frames) == 24


def test_cancel_inside_a_step_and_from_a_thread(session, monkeypatch):
    run, forward = Run(session, PROMPT, steps=2, sampler="heun"), session.backbone.dit.forward
    def stop_it(*a):
        worker = threading.Thread(target=run.cancel)
        worker.start(); worker.join()
        return forward(*a)
    monkeypatch.setattr(session.backbone.dit, "forward", stop_it)
    assert list(run) == [] and run.cancelled and run.done == 0


def test_a_step_that_gives_nan_is_named(session, monkeypatch):
    forward = session.backbone.dit.forward
    monkeypatch.setattr(session.backbone.dit, "forward", lambda *a: tuple(x * float("nan") for x in forward(*a)))
    with pytest.raises(MachineError, match="step 1.*sora_kit/euler"): latents(session, sampler="euler")


def test_a_failing_sampler_is_named_and_the_run_can_go_on(folder, monkeypatch):
    theirs = Session(folder)
    theirs.registry.add(ComponentSpec("other/wobble", "sora_kit.samplers:AB2", "theirs", "sampler"), "1.2")
    run = taken(Run(theirs, PROMPT, steps=3, sampler="wobble"), 1)
    step = type(run.sampler).step
    monkeypatch.setattr(type(run.sampler), "step", lambda *a, **k: 1 / 0)
    with pytest.raises(PluginError, match=r"other/wobble \(other 1.2\) failed at step 2: ZeroDivisionError"): next(run)
    monkeypatch.setattr(type(run.sampler), "step", step)
    assert torch.equal(ended(run), latents(theirs, steps=3, sampler="ab2"))


def test_observers_hear_of_start_steps_and_end(folder, monkeypatch):
    heard, theirs = [], Session(folder)
    monkeypatch.setattr(theirs.plugins, "run_start", lambda run: heard.append("start"))
    monkeypatch.setattr(theirs.plugins, "on_step", lambda step: heard.append(step.i))
    monkeypatch.setattr(theirs.plugins, "run_end", lambda run, outcome: heard.append(outcome))
    ended(Run(theirs, PROMPT, steps=2))
    assert heard == ["start", 0, 1, "finished"]
    heard.clear()
    run = taken(Run(theirs, PROMPT, steps=2), 1)
    run.cancel()
    run.cancel()
    assert heard == ["start", 0, "cancelled"] and list(run) == []
    heard.clear()
    Run(theirs, PROMPT, steps=2).cancel()
    assert heard == []
    late = Run(theirs, PROMPT, steps=2, deadline=1e-9)
    with pytest.raises(DeadlinePassed): next(late)
    assert heard == ["start", "failed"]


def test_an_observer_may_save_a_run_that_failed(folder, monkeypatch, tmp_path):
    theirs = Session(folder)
    run, predict = taken(Run(theirs, PROMPT, steps=3), 1), theirs.backbone.predict
    monkeypatch.setattr(theirs.plugins, "run_end", lambda run, outcome: run.save(tmp_path / "rescued.run"))
    monkeypatch.setattr(theirs.backbone, "predict", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError): next(run)
    monkeypatch.setattr(theirs.backbone, "predict", predict)
    assert torch.equal(ended(Run.open(tmp_path / "rescued.run", theirs)), latents(theirs, steps=3))


def test_the_backbone_gives_what_a_backend_must_give(session): assert isinstance(session.backbone, Backend)


# Pausing

def test_a_paused_loop_ends_and_goes_on(session):
    run, seen = Run(session, PROMPT, steps=4), []
    for step in run:
        seen.append(step.i)
        if step.i == 1: run.pause()
    assert seen == [0, 1] and run.state == "paused" and list(run) == []
    run.resume()
    assert [step.i for step in run] == [2, 3] and torch.equal(torch.cat(run.latents), latents(session, steps=4))


def test_pausing_from_another_thread(session):
    run, seen, entered = Run(session, PROMPT, steps=200), [], threading.Event()

    def work():
        while run.wait():
            for step in run:
                seen.append(step.i)
                entered.set()

    worker = threading.Thread(target=work)
    worker.start()
    entered.wait(20)
    run.pause()
    time.sleep(.3)
    count = len(seen)
    time.sleep(.3)
    assert len(seen) == count < 200 and worker.is_alive() and run.state == "paused"
    run.resume()
    while len(seen) == count: time.sleep(.01)
    run.pause()
    run.cancel()
    worker.join(20)
    assert not worker.is_alive() and run.cancelled and seen == list(range(len(seen)))


def test_a_result_waits_for_a_paused_run(session):
    run, films = Run(session, PROMPT, steps=3), []
    forward = session.plugins.on_step
    worker = threading.Thread(target=lambda: films.append(run.result()))
    run.session.plugins.on_step = lambda step: run.pause() if step.i == 0 else None
    try:
        worker.start()
        while run.state != "paused": time.sleep(.01)
        assert not films
        run.resume()
        worker.join(20)
    finally: run.session.plugins.on_step = forward
    assert len(films) == 1 and len(films[0].frames) == 17


def test_two_threads_on_one_run_share_its_steps(session):
    run, seen = Run(session, PROMPT, steps=12), []
    workers = [threading.Thread(target=lambda: seen.extend(step.i for step in run)) for _ in range(3)]
    for worker in workers: worker.start()
    for worker in workers: worker.join(20)
    assert sorted(seen) == list(range(12)) and torch.equal(torch.cat(run.latents), latents(session, steps=12))


# Time

def test_a_deadline_stops_within_one_model_call(session, monkeypatch):
    calls, forward = [], session.backbone.dit.forward
    monkeypatch.setattr(session.backbone.dit, "forward", lambda *a: (time.sleep(.05), calls.append(1), forward(*a))[2])
    run = Run(session, PROMPT, steps=100, deadline=.18)
    with pytest.raises(DeadlinePassed, match="deadline of 0.18 s") as caught: run.result()
    assert "\n" not in str(caught.value) and 1 <= len(calls) <= 4 and isinstance(caught.value, MachineError)
    run.deadline, before = None, run.at
    next(run)
    assert run.at == before + 1


def test_pauses_do_not_count_for_the_deadline(session):
    run = taken(Run(session, PROMPT, steps=4, deadline=5.), 1)
    spent = run.spent
    time.sleep(.1)
    assert run.spent == spent < 5 and run.seconds_left == pytest.approx(3 * spent)
    assert Run(session, PROMPT, steps=4).seconds_left is None


@pytest.mark.parametrize("wrong", [0, -1, "soon", float("nan"), True])
def test_deadlines_that_are_none(session, wrong):
    with pytest.raises(InputError, match="deadline"): Run(session, PROMPT, deadline=wrong)


# Going back and editing

@pytest.mark.parametrize("sampler", ["dpmpp-2m", "dpmpp-2m-sde", "ancestral", "unipc-2"])
def test_going_back_changes_nothing(session, sampler):
    run = taken(Run(session, PROMPT, steps=3, seconds=3, sampler=sampler), 5)
    run.back(4)
    assert run.at == 1 and len(run.latents) == 0 and run.last is None
    assert torch.equal(ended(run), latents(session, steps=3, seconds=3, sampler=sampler))
    run.back(6)
    assert run.at == 0 and run.state == "ready" and torch.equal(ended(run), latents(session, steps=3, seconds=3, sampler=sampler))


@pytest.mark.parametrize("wrong", [0, -1, 3, 99, 1.5, True])
def test_back_past_the_start(session, wrong):
    run = taken(Run(session, PROMPT, steps=3), 2)
    with pytest.raises(InputError, match="back.*1 to 2"): run.back(wrong)
    with pytest.raises(InputError, match="no step to go back to"): Run(session, PROMPT).back()


def test_a_long_run_forgets_its_beginning(session, monkeypatch):
    monkeypatch.setattr("sora_kit.run.REMEMBERED", 1.)
    run = taken(Run(session, PROMPT, steps=30), 25)
    with pytest.raises(InputError, match="can go back 1 to"): run.back(25)
    with pytest.raises(InputError, match="can be forked at step"): run.fork(0)
    run.back(2)
    assert torch.equal(ended(run), latents(session, steps=30))


def test_an_edit_changes_the_film_and_stands_in_the_recipe(session):
    run = taken(Run(session, PROMPT, steps=4), 2)
    x = run.x + .1
    run.edit(x)
    x += 100
    assert run.x.abs().max() < 50 and [c.params["step"] for c in run.recipe.components if c.kind == "edit"] == [2]
    edited = run.fork()
    film = ended(run)
    assert torch.equal(film, ended(edited)) and not torch.equal(film, latents(session, steps=4)) and run.recipe == edited.recipe
    run.back(3)
    assert not [c for c in run.recipe.components if c.kind == "edit"] and torch.equal(ended(run), latents(session, steps=4))


def test_edits_that_are_refused(session):
    run = taken(Run(session, PROMPT, steps=2), 1)
    size = session.backbone.layout.size
    for wrong in (torch.zeros(1, 3), torch.zeros(size), torch.full((1, size), float("nan")), torch.full((1, size), float("inf")), [0.] * size, None, "x"):
        with pytest.raises(InputError, match="latents"): run.edit(wrong)
    ended(run)
    with pytest.raises(InputError, match="finished"): run.edit(run.x)


# Styles and sound modules

class Shift:
    "A style adapter that moves the output of one layer."
    def touches(self, info): return frozenset(["audio_out"])

    def attach(self, backbone, *, scale):
        hook = backbone.dit.patches.merge.register_forward_hook(lambda layer, seen, out: out + scale)
        self.detach = hook.remove
        return self


class Invert:
    "A style adapter that changes the finished frames."
    def touches(self, info): return frozenset()
    def attach(self, backbone, *, scale): raise AssertionError("it paints")
    def paint(self, frames, *, scale, generator): return 255 - frames if scale else frames


class Hum:
    "An audio module: a quiet hum as long as the film, and a caption."
    def __init__(self, level=.1): self.level = level
    def render(self, ctx, *, generator): return self.level * torch.sin(torch.arange(ctx.n_samples) / 9)[None, None]
    def captions(self, ctx): return ((0., .5, "[hum]"),)


@pytest.fixture
def dressed(folder):
    "A session with styles and a sound module of somebody else."
    theirs = Session(folder)
    for kind, cls, params in (("style_adapter", "Shift", ()), ("style_adapter", "Invert", ()), ("audio_module", "Hum", (Param("level", float, .1, 0, 1),))):
        theirs.registry.add(ComponentSpec(f"other/{cls.lower()}", f"{__name__}:{cls}", "theirs", kind, params=params), "1.0")
    return theirs


def test_styles_are_on_during_a_step_and_never_after(dressed):
    plain = latents(dressed)
    run = Run(dressed, PROMPT, steps=2, styles=["shift:scale=.5"])
    other = Run(dressed, PROMPT, steps=2)
    for _ in zip(run, other): pass
    assert not torch.equal(torch.cat(run.latents), plain) and torch.equal(torch.cat(other.latents), plain), "a style met another run"
    assert torch.equal(latents(dressed, styles=["shift:scale=0"]), plain) and not dressed.backbone.dit.patches.merge._forward_hooks
    assert [(c.id, c.version, c.params) for c in run.recipe.components if c.kind == "style_adapter"] == [("other/shift", "1.0", {"scale": .5})]
    fork = run.fork(0, styles=[])
    assert torch.equal(ended(fork), plain)


def test_a_style_is_off_after_a_failure(dressed, monkeypatch):
    run = Run(dressed, PROMPT, steps=2, styles=["shift"])
    monkeypatch.setattr(dressed.backbone, "predict", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError): next(run)
    assert not dressed.backbone.dit.patches.merge._forward_hooks
    monkeypatch.undo()
    monkeypatch.setattr(Shift, "attach", lambda *a, **k: 1 / 0)
    with pytest.raises(PluginError, match=r"other/shift \(other 1.0\) failed while it was attached"): next(run)


def test_a_style_that_paints(dressed):
    frames = Run(dressed, PROMPT, steps=1).result().frames
    assert torch.equal(Run(dressed, PROMPT, steps=1, styles=["invert"]).result().frames, 255 - frames)


def test_sound_modules_are_mixed_in_order(dressed, tmp_path):
    plain = Run(dressed, PROMPT, steps=1).result()
    run = Run(dressed, PROMPT, steps=1, audio=["hum:level=.2", "joint"])
    clip = run.result()
    assert [c.id for c in clip.recipe.components if c.kind == "audio_module"] == ["other/hum", "sora_kit/joint"] and (0., .5, "[hum]") in clip.captions
    alone = Run(dressed, PROMPT, steps=1, audio="hum").result().audio
    assert torch.allclose(alone.samples, .1 * torch.sin(torch.arange(34000) / 9)[None], atol=1e-6)
    assert clip.audio.samples.shape == plain.audio.samples.shape and not torch.equal(clip.audio.samples, plain.audio.samples)
    again = Run.open(run.save(tmp_path / "a.run"), dressed)
    assert torch.equal(again.result().audio.samples, clip.audio.samples) and again.recipe == run.recipe


@pytest.mark.parametrize("wrong", [{"styles": ["nothing"]}, {"styles": 5}, {"styles": ["shift", "shift"]}, {"styles": ["shift:scale=9"]}, {"styles": ["shift:scale=x"]}, {"styles": ["shift:x=1"]}, {"styles": [5]},
                                   {"audio": ["nothing"]}, {"audio": ["hum:level=3"]}, {"audio": {"hum": 1}}])
def test_styles_and_modules_that_are_refused(dressed, wrong):
    with pytest.raises(InputError) as caught: Run(dressed, PROMPT, **wrong)
    assert "\n" not in str(caught.value)


# Forks

@pytest.mark.parametrize("sampler", ["dpmpp-2m", "dpmpp-2m-sde", "ancestral", "unipc-2", "heun", "ab2"])
@pytest.mark.parametrize("at", [0, 1, 3, 4, 6])
def test_a_fork_without_changes_gives_the_same_bits(session, sampler, at):
    run = taken(Run(session, PROMPT, 3, steps=3, seconds=3, sampler=sampler), at)
    later = run.fork()
    film = ended(run)
    earlier = run.fork(at)
    assert torch.equal(film, ended(later)) and torch.equal(film, ended(earlier)) and run.recipe == later.recipe == earlier.recipe


def test_a_fork_with_changes(session):
    run = taken(Run(session, PROMPT, 3, steps=6), 3)
    films = {str(change): ended(run.fork(**change)) for change in ({}, {"prompt": "a cat"}, {"guidance": 1}, {"sampler": "euler"}, {"seed": 4}, {"steps": 9}, {"steps": 4})}
    assert len({fingerprint(x) for x in films.values()}) == len(films)
    fork = run.fork(prompt="a cat", steps=9)
    assert fork.at == 3 and len(fork) == 9 and [step.i for step in fork] == [3, 4, 5, 6, 7, 8] and fork.at == 9
    assert fork.recipe.prompt == "a cat" and [c.params for c in fork.recipe.components if c.kind == "fork"] == [{"step": 3, "was": {"prompt": PROMPT, "steps": 6}}]
    assert torch.equal(ended(run), latents(session, seed=3, steps=6)), "the original was disturbed"


def test_a_fork_at_the_start_is_another_run(session):
    run = taken(Run(session, PROMPT, 3, steps=3), 2)
    fork = run.fork(0, seed=8, prompt="a cat", sampler="ancestral", steps=4)
    plain = Run(session, "a cat", 8, steps=4, sampler="ancestral")
    assert torch.equal(ended(fork), ended(plain)) and fork.recipe == plain.recipe


def test_levels_of_a_fork_with_other_steps_fall_from_where_it_is(session):
    run = taken(Run(session, PROMPT, steps=4), 2)
    steps = list(run.fork(steps=7))
    assert steps[0].t == .5 and steps[-1].to == 0 and all(a.to == b.t and a.t > b.t for a, b in zip(steps, steps[1:])) and len(steps) == 5


def test_a_chained_film_is_forked_and_made_longer(session):
    run = taken(Run(session, PROMPT, steps=2, seconds=5), 3)
    fork = run.fork(prompt="a cat", steps=3)
    assert len(fork) == 3 + 2 + 3 and len(fork.result().frames) == 40 and torch.equal(fork.latents[0], run.latents[0])
    short = Run(session, PROMPT, steps=2)
    ended(short)
    longer = short.fork(seconds=3)
    assert len(longer.result().frames) == 24 and torch.equal(longer.latents[0], short.latents[0])
    assert torch.equal(torch.cat(longer.latents), latents(session, steps=2, seconds=3))


def test_forks_that_are_refused(session):
    run = taken(Run(session, PROMPT, steps=4), 3)
    for wrong, says in (({"step": 4}, "0 to 3"), ({"step": -1}, "0 to 3"), ({"step": "2"}, "fork"), ({"colour": "red"}, "it can change"), ({"first": None}, "it can change"), ({"steps": 3}, "at least 4"),
                        ({"sampler": "nothing"}, "nothing"), ({"prompt": ""}, "prompt"), ({"seconds": 99}, "seconds")):
        with pytest.raises(InputError, match=says): run.fork(**wrong)
    ended(run)
    with pytest.raises(InputError, match="fork earlier"): run.fork(prompt="a cat")
    assert run.fork().state == "finished"


def test_a_fork_of_a_cancelled_run_goes_on(session):
    run = taken(Run(session, PROMPT, steps=3), 1)
    run.cancel()
    run.resume()
    assert run.cancelled and torch.equal(ended(run.fork()), latents(session, steps=3))


def test_a_very_long_sentence_before_a_fork_still_fits_into_the_recipe(session):
    run = taken(Run(session, "собака " * 280, steps=2), 1)
    fork = run.fork(prompt="a dog")
    assert fork.recipe.components[-1].params["was"]["prompt"].startswith("sha256:") and len(fork.result().frames) == 17


# Saving

@pytest.mark.parametrize("settings, at", [({}, 0), ({}, 2), ({"sampler": "ancestral:eta=.7"}, 1), ({"sampler": "unipc-2", "guidance": "apg:scale=5,eta=.1"}, 2),
                                          ({"sampler": "ancestral", "seconds": 5}, 4), ({"seconds": 3}, 3), ({}, 3)])
def test_a_saved_run_goes_on_to_the_same_bits(session, folder, tmp_path, settings, at):
    run = taken(Run(session, PROMPT, 5, steps=3, **settings), at)
    again = Run.open(run.save(tmp_path / "half.run"), Session(folder))
    assert again.at == at and again.settings == run.settings
    assert torch.equal(ended(run), ended(again)) and again.recipe == run.recipe and str(again) == str(run)


def test_a_saved_run_goes_on_in_another_process(session, folder, tmp_path):
    runs = [taken(Run(session, PROMPT, 5, steps=3, sampler="ancestral", seconds=3), 4).fork(prompt="a cat", seed=9), taken(Run(session, PROMPT, steps=3, first=torch.full((5, 64, 64, 3), 90, dtype=torch.uint8)), 2)]
    for k, run in enumerate(runs): run.save(tmp_path / f"{k}.run")
    code = f"""
from sora_kit.pipeline import Run, Session
session = Session({str(folder)!r})
for k in range(2):
    run = Run.open(f"{tmp_path}/{{k}}.run", session)
    for step in run: pass
    print(run.recipe.to_json())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=Path(sora_kit.__file__).parent.parent)
    assert done.returncode == 0, done.stderr[-1500:]
    for run, line in zip(runs, done.stdout.splitlines(), strict=True):
        ended(run)
        prints = [[c["params"] for c in json.loads(text)["components"] if c["kind"] == "steps"] for text in (line, run.recipe.to_json())]
        assert prints[0] == prints[1] and json.loads(line)["parents"] == list(run.parents)


def test_files_that_are_cut_or_altered(session, tmp_path):
    path = taken(Run(session, PROMPT, steps=3, sampler="ancestral"), 1).save(tmp_path / "half.run")
    data = path.read_bytes()
    for bad in (b"", data[:7], data[:100], data[:-1], data + b"\0", b"PK" + data[2:], data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]):
        path.write_bytes(bad)
        with pytest.raises(InputError, match="run file") as caught: Run.open(path, session)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file"): Run.open(tmp_path / "nothing.run", session)
    with pytest.raises(InputError, match="path"): Run(session, PROMPT).save(tmp_path / "no" / "folder.run")


def test_files_that_somebody_made_up(session, tmp_path):
    tensors, facts = unpacked(FORMAT, taken(Run(session, PROMPT, steps=3, seconds=3, sampler="unipc-2"), 4).save(tmp_path / "half.run").read_bytes())
    size, settings = session.backbone.layout.size, facts["settings"]
    wrong = [({}, {"piece": 7}), ({}, {"piece": -1}), ({}, {"piece": "0"}), ({}, {"i": 3}), ({}, {"i": True}), ({}, {"state": []}), ({}, {"weights": "0" * 64}), ({}, {"settings": None}),
             ({}, {"settings": settings | {"x": 1}}), ({}, {"settings": settings | {"steps": 10**9}}), ({}, {"settings": settings | {"steps": 4}}), ({}, {"settings": settings | {"prompt": 5}}),
             ({}, {"settings": settings | {"sampler": "os:system"}}), ({}, {"settings": settings | {"styles": "abc"}}), ({}, {"prints": ["<b>"]}), ({}, {"prints": "x"}), ({}, {"lineage": [[0, {"kind": "x"}]]}),
             ({}, {"lineage": 5}), ({}, {"sources": ["x"]}), ({}, {"inputs": {"x": 1}}), ({}, {"inputs": {"strength": .5}}), ({"x": torch.zeros(1, 3)}, {}), ({"x": torch.full((1, size), float("nan"))}, {}), ({"x": torch.zeros(1, size).half()}, {}),
             ({"x0": torch.zeros(2, size)}, {}), ({"levels": torch.zeros(4).double()}, {}), ({"levels": torch.ones(3)}, {}), ({"random": torch.zeros(10, dtype=torch.uint8)}, {}),
             ({"random": torch.zeros(5056, dtype=torch.uint8)}, {}), ({"latents": torch.zeros(0, size)}, {}), ({"input.image.frames": torch.zeros(1, 2, 3)}, {}), ({"input.sound.samples": torch.zeros(3).half()}, {}), ({"state.x": torch.full((1, size), float("inf"))}, {})]
    for tensor, fact in wrong:
        (tmp_path / "bad.run").write_bytes(packed(FORMAT, tensors | tensor, facts | fact))
        with pytest.raises(InputError) as caught: Run.open(tmp_path / "bad.run", session)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500, (list(tensor), fact)
    for gone in facts:
        if gone == "model": continue
        (tmp_path / "bad.run").write_bytes(packed(FORMAT, tensors, {k: v for k, v in facts.items() if k != gone}))
        if gone != "state":
            with pytest.raises(InputError): Run.open(tmp_path / "bad.run", session)


def test_a_fingerprint_sees_small_differences(session):
    x = torch.randn(1, 5000, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(1, 5000, generator=torch.Generator().manual_seed(2))
    assert apart(fingerprint(x), fingerprint(x.clone())) == 0
    for size in (.01, .1, 1.): assert size / 5 < apart(fingerprint(x), fingerprint(x + size * noise)) < size * 4


# Many runs

def test_200_runs_leak_less_than_50_megabytes(session):
    status = Path("/proc/self/status")
    if not status.exists(): pytest.skip("this system does not tell how much memory is held")
    held = lambda: int(status.read_text().partition("VmRSS:")[2].split()[0]) / 1000

    def some(n):
        for k in range(n):
            run = Run(session, PROMPT, k, steps=1)
            run.result()
            run.fork(0)
        gc.collect()

    some(20)
    before = held()
    some(200)
    assert held() - before < 50


def test_a_run_that_is_dropped_is_gone_at_once(session):
    import weakref
    run = taken(Run(session, PROMPT, steps=3), 2)
    x = weakref.ref(run.x)
    gc.disable()
    try:
        del run
        assert x() is None, "a cycle keeps the latents until the next collection"
    finally: gc.enable()
