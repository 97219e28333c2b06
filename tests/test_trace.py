"""Trace and replay: what is recorded, what fits into the budget, what comes out of a file, and whether a film is the same again."""
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_model import taken, write_tiny

from sora_kit.files import InputError
from sora_kit.pipeline import Run, Session
from sora_kit.position import packed, unpacked
from sora_kit.replay import again, replay
from sora_kit.trace import FORMAT, Trace

PROMPT = "a dog runs on the beach"


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def session(folder): return Session(folder)


def recorded(session, settings={}, **run): return Trace.record(Run(session, PROMPT, **{"steps": 4} | run), **settings)


# What is recorded

def test_rows_hold_what_the_steps_said(session):
    steps, trace = list(Run(session, PROMPT, steps=4)), recorded(session)
    assert [row.number for row in trace.rows] == [0, 1, 2, 3] and trace.rows[0].t == 1 and trace.rows[-1].to == 0
    for k, step in enumerate(steps):
        assert torch.equal(trace.x(k), step.pred.x) and torch.equal(trace.x0(k), step.x0) and trace.rows[k].fingerprint == step.fingerprint
        assert torch.equal(trace.cond(k), step.parts[0]) and torch.equal(trace.uncond(k), step.parts[1])
        assert torch.allclose(trace.x(k) - step.t * trace.v(k), step.x0, atol=1e-4)
    assert torch.equal(trace.x0(-1), trace.last[0]) and torch.equal(trace.x(1), steps[0].x)
    assert torch.allclose(trace.uncond(1) + 3.5 * (trace.cond(1) - trace.uncond(1)), trace.x0(1), atol=1e-4)


def test_recording_changes_nothing(session):
    for settings in ({}, {"attention": True}, {"parts": False}):
        run = Run(session, PROMPT, steps=3, sampler="ancestral")
        plain = Run(session, PROMPT, steps=3, sampler="ancestral")
        Trace.record(run, **settings)
        list(plain)
        assert torch.equal(run.latents[0], plain.latents[0]) and not any(b.attention._forward_pre_hooks for b in session.backbone.dit.blocks)


def test_following_a_run_that_stops_goes_back_and_goes_on(session):
    run = Run(session, PROMPT, steps=4)
    trace = Trace(run)
    for step in trace.follow(run):
        if step.i == 2: run.pause()
    assert len(trace) == 3
    run.resume()
    run.back(2)
    run.edit(run.x * .5)
    assert [step.i for step in trace.follow(run)] == [1, 2, 3]
    assert [row.number for row in trace.rows] == [0, 1, 2, 3] and list(trace.prints.values()) == run.prints and torch.equal(trace.last[0], run.latents[0])
    assert any(part.kind == "edit" for part in trace.recipe.components)


def test_nothing_is_decoded_before_somebody_looks(session, monkeypatch):
    decoded, pictures = [], type(session.backbone).pictures
    monkeypatch.setattr(type(session.backbone), "pictures", lambda self, video: (decoded.append(1), pictures(self, video))[1])
    trace = recorded(session)
    assert not decoded
    assert trace.frames(1).shape == (17, 128, 128, 3) and trace.frames(-3) is trace.frames(1) and len(decoded) == 1
    assert trace.frames(1, "x", every=8).shape == (3, 128, 128, 3) and len(decoded) == 2
    assert trace.sound(1).shape == (1, 34000) and trace.mel(1).shape == (64, 216) and trace.video(0).shape == (4, 17, 8, 8) and trace.tokens(0).shape == (27, 512)
    for k in range(4): trace.frames(k, every=16), trace.frames(k, "x", every=16), trace.sound(k)
    assert len(trace._decoded) <= 8


def test_attention_on_request(session):
    trace = recorded(session, {"attention": True}, sampler="heun")
    maps = trace.attention(0)
    assert maps.shape == (143, 143) and torch.allclose(maps.sum(1), torch.ones(143), atol=.01) and torch.allclose(trace.attention(0, 0), maps)
    assert trace.word_maps(2).shape == (len(trace.words), 5, 4, 4) and trace.words[1] == "▁dog"
    words, picture = trace.spans["words"], trace.spans["picture"]
    assert torch.equal(trace.word_maps(2)[1, 0, 0, 2], trace.attention(2)[picture[0] + 2, words[0] + 1])
    with pytest.raises(InputError, match="attention"): recorded(session).attention(0)


def test_attention_is_that_of_the_whole_model(session):
    plain, skipped = (recorded(session, {"attention": True}, guidance=rule) for rule in ("cfg:scale=3.5", "skip-layer:low=0"))
    assert torch.equal(plain.attention(0), skipped.attention(0)) and skipped.rows[0].branches == 3


def test_attention_with_a_reference(session):
    face = torch.full((1, 32, 32, 3), 200, dtype=torch.uint8)
    trace = recorded(session, {"attention": True}, reference=face)
    places = trace.spans
    assert trace.attention(0).shape == (159, 159) and places["sound"][1] == 159
    assert places["reference"] == [places["words"][1], places["words"][1] + 16] and places["picture"][0] == places["reference"][1]
    read = Trace.from_bytes(trace.to_bytes(strips=()))
    assert read.spans == places
    with pytest.raises(InputError, match="not saved"): read.attention(0)


def test_rows_of_a_fork_with_other_steps_in_a_later_piece_are_numbered_as_they_were_made(session):
    run = taken(Run(session, PROMPT, steps=3, seconds=3), 3)
    trace = Trace.record(run.fork(3, steps=2))
    assert [row.number for row in trace.rows] == [3, 4] and replay(trace, session).verdict == "identical"


def test_a_fork_that_changes_a_filter_is_replayed(session):
    clip = taken(Run(session, PROMPT, steps=3), 1).fork(1, filters=()).result()
    assert replay(clip, session).verdict == "identical" and not any(part.kind == "fork" for part in clip.recipe.components)


@pytest.mark.parametrize("guidance, branches", [("none", 1), ("cfg:scale=3,low=.3,high=.8", 2)])
def test_guidance_that_asks_once(session, guidance, branches):
    trace = recorded(session, guidance=guidance)
    assert trace.rows[0].branches == 1 and max(row.branches for row in trace.rows) == branches
    with pytest.raises(InputError, match="asked only once"): trace.uncond(0)
    read = Trace.from_bytes(trace.to_bytes(latents=("x", "x0", "cond", "uncond"), strips=()))
    assert branches == 1 or torch.equal(read.rows[0].tensors["uncond"], read.rows[0].tensors["cond"])


def test_rows_and_kinds_that_are_not_there(session):
    trace = recorded(session, {"parts": False})
    for ask, says in ((lambda: trace.x(4), "4 rows"), (lambda: trace.x(-5), "4 rows"), (lambda: trace.latents(0, "y"), "one of x"), (lambda: trace.cond(0), "without it"), (lambda: trace.x("1"), "row")):
        with pytest.raises(InputError, match=says): ask()


# The budget

@pytest.mark.parametrize("budget", [2.5, 3, 4, 6])
def test_the_budget_is_obeyed_at_every_step(session, budget):
    run = Run(session, PROMPT, steps=9, seconds=5)
    trace = Trace(run, budget=budget)
    for _ in trace.follow(run): assert trace.megabytes <= budget
    held = sum(x.numel() * x.element_size() for row in trace.rows for x in row.tensors.values()) + sum(4 * x.numel() for x in trace.last)
    assert held / 1e6 <= budget and len(trace) >= 1 and len(trace.prints) == 27 and trace.dtype == "bfloat16"
    assert all(row.number % trace.every == 0 for row in trace.rows) and trace.frames(0, every=16).shape[0] == 2
    assert replay(trace, session).verdict == "identical"


@pytest.mark.parametrize("budget", [0, -1, .1, "much", None])
def test_budgets_that_hold_nothing(session, budget):
    with pytest.raises(InputError, match="budget"): recorded(session, {"budget": budget})


# Files

def numpy_only(data):
    "As the notebook shows it."
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    facts, tensors = json.loads(header.pop("__metadata__")["facts"]), {}
    for name, info in header.items():
        first, last = info["data_offsets"]
        tensors[name] = np.frombuffer(data[8 + size + first:8 + size + last], {"F16": "<f2", "U8": "u1"}[info["dtype"]]).reshape(info["shape"])
    return facts, tensors


def test_a_file_comes_back_and_numpy_reads_it(session, tmp_path):
    trace = recorded(session, {"attention": True}, seconds=3)
    path = trace.save(tmp_path / "a.trace.safetensors", latents=("x", "x0", "cond", "uncond", "attention"), strips=("x0", "x", "mel"), every=4, size=32)
    read = Trace.load(path, session)
    for k in range(len(trace)):
        for what in ("x", "x0", "v", "cond", "uncond"): assert torch.allclose(read.latents(k, what), trace.latents(k, what), atol=2e-2, rtol=2e-3)
        assert torch.allclose(read.attention(k), trace.attention(k), atol=1e-3) and read.rows[k].t == trace.rows[k].t
    assert read.words == trace.words and read.recipe == trace.recipe and read.prints == trace.prints and replay(read, session).verdict == "identical"
    facts, tensors = numpy_only(path.read_bytes())
    assert facts["prompt"] == PROMPT and np.allclose(tensors["x0"][3], trace.x0(3)[0], atol=2e-2) and tensors["last"].shape == (2, session.backbone.layout.size)
    for what, shape in (("x0", (160, 32)), ("mel", (216, 64))):
        ends = facts["strips"][what]["offsets"]
        assert Image.open(io.BytesIO(tensors[f"strip.{what}"][ends[2]:ends[3]].tobytes())).size == shape


def test_a_file_without_a_model_shows_its_strips(session):
    trace = recorded(session)
    read = Trace.from_bytes(trace.to_bytes(latents=(), every=4))
    assert len(read) == 4 and read.strip(2) == trace.strip(2, every=4) and read.strip(-1, "mel") == trace.strip(-1, "mel", every=4)
    with pytest.raises(InputError, match="session"): Trace.from_bytes(trace.to_bytes(strips=())).frames(0)
    with pytest.raises(InputError, match="without it"): read.x0(0)


def test_an_unfinished_trace_is_saved_too(session):
    run = Run(session, PROMPT, steps=4)
    trace = Trace(run)
    empty = Trace.from_bytes(trace.to_bytes(), session)
    assert len(empty) == 0
    for step in trace.follow(run):
        if step.i == 1: run.cancel()
    read = Trace.from_bytes(trace.to_bytes(), session)
    assert len(read) == 2 and not read.last and replay(read, session).verdict == "identical"


def test_traces_that_are_cut_altered_or_made_up(session, tmp_path):
    data = recorded(session, {"attention": True}).to_bytes(every=8)
    for bad in (b"", data[:50], data[:-1], data[:-2] + b"\1" + data[-1:], data + b"\0"):
        with pytest.raises(InputError, match="trace file"): Trace.from_bytes(bad)
    tensors, facts = unpacked(FORMAT, data)
    row = facts["rows"][0]
    wrong = [{"prompt": 5}, {"prompt": "x" * 9999}, {"rows": [row] * 4}, {"rows": [{}] * 4}, {"rows": facts["rows"][:2]}, {"rows": [row | {"t": float(2)}, *facts["rows"][1:]]},
             {"rows": [row | {"fingerprint": "<img>"}, *facts["rows"][1:]]}, {"layout": {}}, {"layout": facts["layout"] | {"frames": 10**9}}, {"layout": facts["layout"] | {"fps": "0"}},
             {"prints": {"x": "y"}}, {"prints": {"9" * 5000: row["fingerprint"]}}, {"spans": {"words": [0]}}, {"words": [1]}, {"kept": {}}, {"kept": {"every": 0}}, {"recipe": {}, "extra": 1},
             {"strips": {"x0": []}}, {"strips": {"x0": {"offsets": [0, 10**9], "every": 1, "size": 1}}}, {"strips": {"y": facts["strips"]["x0"]}}, {"recipe": {"prompt": 1}}]
    for change in wrong:
        with pytest.raises(InputError) as caught: Trace.from_bytes(packed(FORMAT, tensors, facts | change))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    for change in ({"x": torch.zeros(4, 3).half()}, {"x": tensors["x"] * float("nan")}, {"x": tensors["x"].float()}, {"last": torch.zeros(3)}, {"attention": torch.zeros(1, 2).half()}):
        with pytest.raises(InputError): Trace.from_bytes(packed(FORMAT, tensors | change, facts))
    other = Session(write_tiny(tmp_path / "other", vocoder=False))
    with pytest.raises(InputError, match="made with tiny"): Trace.from_bytes(data, other)


# Replay

def test_the_same_film_again(session, folder):
    clip = Run(session, PROMPT, 3, steps=4, sampler="ancestral", seconds=3).result()
    answer = replay(clip, Session(folder))
    assert answer.verdict == "identical" and answer.step is None and answer.steps == 8 and "\n" not in str(answer)
    assert torch.equal(answer.run.result().frames, clip.frames)


def test_forks_of_forks_are_followed(session):
    run = Run(session, PROMPT, 3, steps=4, sampler="ancestral")
    for _ in range(2): next(run)
    second = run.fork(prompt="a cat", seed=8, steps=6)
    next(second)
    third = second.fork(prompt="a red ball", sampler="euler", guidance=2, seconds=3)
    clip = third.result()
    assert [c.params["step"] for c in clip.recipe.components if c.kind == "fork"] == [2, 3]
    assert replay(clip, session).verdict == "identical" and again(clip.recipe, session).at == 3


def test_the_first_step_that_differs_is_named(session):
    recipe = Run(session, PROMPT, 3, steps=5).result().recipe
    *parts, steps = recipe.components

    def changed(number, by):
        prints = list(steps.params["prints"])
        for k in range(number, 5): prints[k] = " ".join(["0" * 8, *(f"{float(m) + by:.4f}" for m in prints[k].split()[1:])])
        return replay(replace(recipe, components=(*parts, replace(steps, params=steps.params | {"prints": prints}))), session)

    near, far = changed(1, 5e-4), changed(2, .05)
    assert (near.verdict, near.step) == ("near", 2) and "within 0.001" in str(near) and near.apart == pytest.approx(5e-4, abs=2e-4)
    assert (far.verdict, far.step) == ("different", 3) and "step 3" in str(far)
    assert replay(replace(recipe, seed=4), session).step == 1


def test_a_film_with_a_picture_at_its_beginning(session):
    picture = torch.full((1, 64, 64, 3), 90, dtype=torch.uint8)
    clip = Run(session, PROMPT, steps=2, first=picture).result()
    assert replay(clip, session, first=picture).verdict == "identical"
    for wrong in (None, picture + 1):
        with pytest.raises(InputError, match="first"): replay(clip, session, first=wrong)


def test_what_cannot_be_followed(session, tmp_path):
    run = Run(session, PROMPT, steps=3)
    next(run)
    recipe = run.recipe
    with pytest.raises(InputError, match="finished"): replay(recipe, session)
    run.edit(run.x * 2)
    clip = run.result()
    with pytest.raises(InputError, match="by hand"): replay(clip, session)
    plain = Run(session, PROMPT, steps=2).result()
    with pytest.raises(InputError, match="private"): replay(plain.recipe.private(), session)
    with pytest.raises(InputError, match="weights"): replay(plain, Session(write_tiny(tmp_path, vocoder=False)))
    with pytest.raises(InputError, match="needs a recipe"): replay(replace(plain, recipe=None), session)
    with pytest.raises(InputError, match="needs a recipe"): replay("a film", session)
    for params in ({"step": 1, "was": {"colour": 1}}, {"step": "1", "was": {}}, {"step": 99, "was": {"seed": 1}}):
        fork = replace(plain.recipe.components[0], kind="fork", params=params)
        with pytest.raises(InputError, match="fork"): replay(replace(plain.recipe, components=(*plain.recipe.components, fork)), session)


def test_long_films_keep_every_nth_fingerprint(session):
    answer = replay(Run(session, PROMPT, steps=90).result(), session)
    assert answer.verdict == "identical" and answer.steps == 45
