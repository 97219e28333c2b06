"""Metrics: exact cases for pairing, intervals and floors; a smoke test of the shipped detector."""
import math
import random
from itertools import combinations, permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sora_kit.detector import (
    QUESTIONS, Detector, accuracies, answers, foot_track, load_detector, make_examples, pictures, present, save_detector, shipped_codec)
from sora_kit.files import InputError, MachineError, load_tensors, save_tensors
from sora_kit.metrics import (
    ALWAYS, Seen, evaluate, held_out_prompts, impact_times, inside, memory, onset_f1, pairs_within, rate_row, shuffled_f1, table, watch,
    wilson)
from sora_kit.scenes import Actor, Scene, held_out, is_flagship, simulate

DOG = Scene("beach", "day", "clear", (Actor("dog", "red", "runs", speed=.7),))

# Intervals and floors


@pytest.mark.parametrize("right, n, low, high", [
    (81, 263, .2553, .3662), (15, 148, .0624, .1605), (0, 20, 0., .1611), (1, 29, .0061, .1718)])
def test_wilson_gives_the_published_intervals(right, n, low, high):
    "Newcombe (1998), Statistics in Medicine 17, table I, method 3."
    assert wilson(right, n) == pytest.approx((low, high), abs=6e-5)


def test_wilson_of_nothing_is_everything():
    assert wilson(0, 0) == (0, 1)


def test_the_floor_is_the_mean_over_every_other_prompt():
    asked, seen = list("aabbbc"), list("abbbca")
    others = [a == s for i, a in enumerate(asked) for j, s in enumerate(seen) if i != j]
    row = rate_row("x", asked, seen, asked)
    assert (row.value, row.chance, row.ceiling) == (3 / 6, 3 / 6, 1)
    assert row.floor == pytest.approx(sum(others) / len(others))


# Onsets

moments = st.lists(st.integers(0, 20).map(lambda k: k / 10), max_size=5)


@given(moments, moments)
def test_the_pairing_is_the_largest_there_is(a, b):
    short, long = sorted((a, b), key=len)
    def fits(some, other): return all(abs(x - y) <= .1 + 1e-9 for x, y in zip(some, other))
    def possible(k): return any(fits(some, other) for some in combinations(short, k) for other in permutations(long, k))
    assert pairs_within(a, b, .1) == max(k for k in range(len(short) + 1) if possible(k))


@pytest.mark.parametrize("impacts, heard, f1", [
    ([[.5, 1.]], [[.5, 1.]], 1), ([[.5]], [[.61]], 0), ([[.5]], [[.6]], 1),
    ([[.5, .55]], [[.5]], 2 / 3), ([[.5], []], [[.5], [1., 2.]], .5), ([[]], [[]], 0)])
def test_f1(impacts, heard, f1):
    assert onset_f1(impacts, heard) == pytest.approx(f1)


def test_the_floor_of_f1_shuffles_whole_clips():
    assert shuffled_f1([[1.], [2.], [3.]], [[1.], [2.], [3.]]) == 0
    assert shuffled_f1([[1.], [1.], [2.]], [[1.], [1.], [2.]]) == pytest.approx((1 / 3 + 1 / 3) / 2)
    with pytest.raises(ValueError): onset_f1([[1.]], [])


@pytest.mark.parametrize("kind, motion", [("ball", "bounces"), ("child", "jumps"), ("robot", "jumps"), ("dog", "jumps")])
@pytest.mark.parametrize("slow", [False, True])
def test_impacts_are_found_between_the_frames(kind, motion, slow):
    rng = random.Random(f"{kind} {slow}")
    for _ in range(20):
        m = simulate(Scene("meadow", "day", "clear", (Actor(kind, "red", motion, phase=rng.random()),), slow=slow))
        true = [e.time for e in m.events if e.kind == "impact"]
        found = impact_times(m.y[0].tolist())
        assert all(min((abs(t - f) for f in found), default=9) < .06 for t in true if .2 < t < 1.8), (true, found)
        assert all(min((abs(t - f) for t in true), default=9) < .06 for f in inside(found)), (true, found)


def test_what_does_not_fall_does_not_hit():
    bird, balloon, tree = (Actor(kind, "red", motion) for kind, motion in (("bird", "flies"), ("balloon", "floats"), ("tree", "stands")))
    for actor in (*DOG.actors, bird, balloon, tree):
        assert impact_times(simulate(Scene("meadow", "day", "clear", (actor,))).y[0].tolist()) == []


# Prompts and the table

def test_prompts_are_held_out_and_say_what_is_judged():
    prompts = held_out_prompts(40, 3, german=.5)
    assert prompts == held_out_prompts(40, 3, german=.5) != held_out_prompts(40, 4, german=.5)
    assert all(held_out(p.scene) and not is_flagship(p.scene) and len(p.scene.actors) == 1 and set(ALWAYS) <= set(p.said) for p in prompts)


def test_a_perfect_model_gets_everything():
    prompts = held_out_prompts(64, 5)
    right = torch.tensor([list(answers(p.scene).values()) for p in prompts])
    hits = [[e.time for e in simulate(p.scene).events if e.kind == "impact"] for p in prompts]
    seen = Seen(right, torch.zeros(64, 17, 2), hits, hits, torch.zeros(64, 0))
    rows = evaluate(prompts, seen, seen)
    assert {"actor", "all four", "actor: glass", "onsets F1"} <= {r.name for r in rows}
    assert all(r.value == 1 and r.ceiling == 1 for r in rows if r.n)
    assert len(table(rows).splitlines()) == len(rows) + 1


def test_a_copy_is_suspected_and_a_blur_is_not():
    g = torch.Generator().manual_seed(0)
    training, fresh = torch.randn(400, 32, generator=g), torch.randn(60, 32, generator=g)
    assert memory(training[:60] + .02, fresh, training)["suspects"] == 1
    assert memory(.3 * fresh, fresh, training)["suspects"] < .1


# The detector

def test_questions_that_the_picture_cannot_answer():
    assert answers(DOG)["direction"] == 1 and present(DOG).sum() == 1
    tree = Scene("meadow", "day", "clear", (Actor("tree", "green", "stands"),))
    assert answers(tree)["direction"] == -1
    both = Scene("meadow", "day", "clear", (*DOG.actors, *tree.actors), "beside")
    assert answers(both)["actor"] == -1 and answers(both)["count"] == 1 and present(both).sum() == 2


def test_shapes():
    net = Detector().eval()
    out = net(torch.zeros(2, 5, 3, 64, 64))
    assert {q: tuple(out[q].shape) for q in QUESTIONS} == {q: (2, len(a)) for q, a in QUESTIONS.items()}
    assert out["cast"].shape == (2, 13) and out["track"].shape == (2, 5, 2) and sum(p.numel() for p in net.parameters()) <= 350_000
    right, track = watch(net, torch.zeros(2, 17, 128, 128, 3, dtype=torch.uint8))
    assert right.shape == (2, len(QUESTIONS)) and track.shape == (2, 17, 2)
    with pytest.raises(InputError): pictures(torch.zeros(1, 17, 32, 32, 3, dtype=torch.uint8))


def test_saved_weights_come_back_and_wrong_ones_do_not(tmp_path):
    net, path = Detector().eval(), tmp_path / "d.safetensors"
    save_detector(net, path)
    x = torch.rand(1, 3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert path.stat().st_size <= 800_000 and (load_detector(path)(x)["actor"] - net(x)["actor"]).abs().max() < .1
    save_tensors(path, {k: v for k, v in load_tensors(path).items() if k != "foot.bias"})
    with pytest.raises(MachineError, match="foot.bias"): load_detector(path)


def test_the_shipped_detector_knows_this_world():
    found = accuracies(load_detector(), make_examples(shipped_codec(), seed=2024, n=30, noise=0., pairs=0.))
    rates = {q: right / n for q, (right, n) in found.items()}
    assert min(rates[q] for q in ALWAYS) >= .8, rates


def test_the_track_follows_the_foot():
    e = make_examples(shipped_codec(), seed=2025, n=12, noise=0., pairs=0.)
    with torch.no_grad(): seen = load_detector()(pictures(e.frames))["track"]
    assert (seen - e.track).abs().median() < 2 / 64 and math.isclose(foot_track(DOG)[8, 0].item(), 0, abs_tol=.1)
