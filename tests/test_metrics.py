"""Metrics: exact cases for pairing, intervals and floors; a smoke test of the shipped detector."""
import math
import random
from dataclasses import replace
from itertools import combinations, permutations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sora_kit.core import Audio, Clip
from sora_kit.detector import (
    QUESTIONS, Detector, accuracies, answers, foot_track, glances, load_detector, make_examples, pictures, present, recognised, save_judge,
    shipped_codec)
from sora_kit.evaluation import Judges, Seen, asked, evaluate, judged, mistakes, noted, right_of, see
from sora_kit.files import InputError, MachineError, load_tensors, save_tensors
from sora_kit.finder import finder_accuracies, found, load_finder, make_pairs, owners
from sora_kit.listener import Listener, load_listener, mood_heard, mood_lessons
from sora_kit.metrics import bootstrap, inside, memory, onset_f1, onset_row, pairs_within, rate_row, shuffled_f1, table, wilson
from sora_kit.physics import camera_move, flights, free_fall, impact_times, loud_onsets
from sora_kit.prompts import ALWAYS, PUBLIC, exam, held_out_prompts, landing_prompts, landings, pair_prompts, prompts_in, staged
from sora_kit.render import render
from sora_kit.scenes import ACTORS, COLOURS, GRAVITY, MOODS, Actor, Scene, held_out, is_flagship, sample_scene, side_of, simulate
from sora_kit.sounds import synthesise

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


def test_the_interval_of_a_score_holds_the_score_and_narrows():
    g = torch.Generator().manual_seed(0)
    true = [(2 * torch.rand(2, generator=g)).tolist() for _ in range(200)]
    late = [[t + .15 * float(torch.randn((), generator=g)) for t in ts] for ts in true]
    few, many = onset_row("few", true[:20], late[:20]), onset_row("many", true, late)
    assert few.low < few.value < few.high and many.low < many.value < many.high and many.high - many.low < few.high - few.low
    assert bootstrap([], lambda a, b: a / b.clamp(min=1)) == (0, 0)


# What moves

@pytest.mark.parametrize("kind, motion", [("ball", "bounces"), ("child", "jumps"), ("robot", "jumps"), ("dog", "jumps")])
@pytest.mark.parametrize("slow", [False, True])
def test_impacts_are_found_between_the_frames(kind, motion, slow):
    rng = random.Random(f"{kind} {slow}")
    for _ in range(20):
        m = simulate(Scene("meadow", "day", "clear", (Actor(kind, "red", motion, phase=rng.random()),), slow=slow))
        true = [e.time for e in m.events if e.kind == "impact"]
        found = impact_times(m.y[0].tolist())
        fell = [t for t in inside(true) if t > .2 * (1 + slow)]              # long enough for the fall to be seen
        assert all(min((abs(t - f) for f in found), default=9) < .06 for t in fell), (true, found)
        assert all(min((abs(t - f) for t in true), default=9) < .06 for f in inside(found)), (true, found)


def test_a_trembling_track_still_tells_most_impacts():
    rng, g = random.Random(0), torch.Generator().manual_seed(0)
    moves = [simulate(p.scene) for p in landing_prompts(60, rng.randrange(100))]
    true = [inside([e.time for e in m.events if e.kind == "impact"]) for m in moves]
    def score(tremble): return onset_f1(true, [inside(impact_times((m.y[0] + tremble * torch.randn(17, generator=g)).tolist())) for m in moves])
    assert score(0) >= .97 and score(.03) >= .8


def test_what_does_not_fall_does_not_hit():
    bird, balloon, tree = (Actor(kind, "red", motion) for kind, motion in (("bird", "flies"), ("balloon", "floats"), ("tree", "stands")))
    for actor in (*DOG.actors, bird, balloon, tree):
        assert impact_times(simulate(Scene("meadow", "day", "clear", (actor,))).y[0].tolist()) == []


def test_landings_are_heard_and_take_offs_are_not():
    for p in landing_prompts(12, 1):
        m = simulate(p.scene)
        hits = inside([e.time for e in m.events if e.kind == "impact"])
        assert pairs_within(hits, loud_onsets(synthesise(p.scene, m)), .05) >= len(hits) - 1
    assert loud_onsets(torch.zeros(34000)) == []


@pytest.mark.parametrize("slow, gravity", [(False, GRAVITY), (True, GRAVITY / 4)])
def test_free_fall(slow, gravity):
    y = simulate(Scene("meadow", "day", "clear", (Actor("ball", "red", "bounces", phase=.2),), slow=slow), frames=33).y[0].tolist()
    error, total, found = free_fall(y, impact_times(y))
    assert 1 - error / total > .999 and found and all(abs(g - gravity) < .15 for g in found)
    steady = [1 - .2 * abs(k % 8 - 4) for k in range(24)]
    error, total, _ = free_fall(steady, [1., 2.])
    assert .9 < 1 - error / total < .97 and free_fall([0.] * 17, []) == (0, 0, []) and flights([0.] * 17, [.01, 3.]) == []


@pytest.mark.parametrize("camera", ["static", "pan_left", "pan_right", "zoom_in", "zoom_out"])
def test_the_camera(camera):
    scene = Scene("street", "day", "clear", (Actor("dog", "red", "runs", speed=.7),), camera=camera)
    assert camera_move(render([scene], 64).frames[0], foot_track(scene)) == camera


# Prompts and the table

def test_prompts_are_held_out_and_say_what_is_judged():
    prompts = held_out_prompts(40, 3)
    assert prompts == held_out_prompts(40, 3) != held_out_prompts(40, 4)
    assert all(held_out(p.scene) and not is_flagship(p.scene) and len(p.scene.actors) == 1 and set(ALWAYS) <= set(p.said) for p in prompts)
    assert all(set(ALWAYS) <= set(p.said) and p.lang == "de" for p in held_out_prompts(8, 3, lang="de"))


def test_landings_and_pairs():
    falls, pairs = landing_prompts(20, 2), pair_prompts(20, 2)
    assert all(landings(p.scene) and held_out(p.scene) and p.extra and {"actor", "motion"} <= set(p.said) for p in falls)
    assert all(len(p.scene.actors) == 2 and held_out(p.scene) and p.extra and "relation" in p.said for p in pairs)
    assert [p.scene.relation for p in pairs].count("chases") == 10 and sum("side" in p.said for p in pairs) >= 5 and any({"colour", "other colour"} <= set(p.said) for p in pairs)
    assert len(exam(64, 1)) == 96 and not landings(DOG)


@pytest.mark.parametrize("text, told", [
    ("a red cat to the left of a blue dog on the beach", {"relation", "side", "colour", "other colour"}), ("a red cat left of a dog", {"relation", "side", "colour"}),
    ("ein rotes Auto rechts neben einem grünen Hund", {"relation", "side", "colour", "other colour"}), ("a red cat beside a blue dog", {"relation", "colour", "other colour"}),
    ("to the left of a tree stands a child", {"relation", "side"})])
def test_what_is_said_of_a_pair(text, told):
    p = staged(text)
    assert set(p.said) == told and p.scene.relation == "beside"
    assert "side" not in told or (p.scene.actors[0].x < p.scene.actors[1].x) == (side_of(p.scene) == "left of") == ("left" in text)


def test_a_pair_in_swapped_colours_or_on_swapped_sides_is_wrong():
    p = staged("a red cat to the left of a blue dog")
    right = perfect(p)
    value = lambda seen, name: next(r.value for r in evaluate([p], [seen], [right]) if r.name == name)
    assert all(value(right, name) == 1 for name in ("colours of both", "left or right of", "two actors, all right", "count", "two actors, all right"))
    for wrong, name in ((replace(right, dress=right.dress[::-1]), "colours of both"), (replace(right, places=right.places[::-1]), "left or right of"),
                        (replace(right, pair=["child", "car"]), "two actors, both")):
        assert value(wrong, name) == value(wrong, "two actors, all right") == 0
    chase = staged("a dog chases a red ball")
    assert right_of(chase, perfect(chase)) and not right_of(chase, replace(perfect(chase), answers=perfect(chase).answers | {"actor": "ball"}))
    assert value(replace(right, answers=right.answers | {"count": "one"}), "count") == 0


def test_prompts_of_ones_own_are_staged(tmp_path):
    p = staged("a green dog chases a red balloon on the beach at night in slow motion")
    assert [(a.kind, a.colour) for a in p.scene.actors] == [("dog", "green"), ("balloon", "red")] and p.scene.slow and p.said == ("relation", "colour", "other colour")
    assert (p.scene.relation, p.scene.place, p.scene.time) == ("chases", "beach", "night") and p == staged(p.text)
    ball = staged("ein blauer Ball hüpft bei Schneefall nach links über die Wiese, die Kamera schwenkt nach rechts")
    assert asked(ball) == dict(actor="ball", place="meadow", motion="bounces", weather="snow", direction="left", colour="blue", camera="pan_right")
    for text in ("a dragon", "a boat chases a tree", "a dog, a cat and a bird"):
        with pytest.raises(InputError, match="prompt"): staged(text)
    path = tmp_path / "mine.txt"
    path.write_text("# mine\n\na dog runs\na dragon\n")
    with pytest.raises(InputError, match="line 4 of"): prompts_in(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"): prompts_in(path)
    path.write_text("# nothing\n")
    with pytest.raises(InputError, match="no prompt"): prompts_in(path)


def test_the_public_prompts():
    prompts = prompts_in(PUBLIC)
    assert len(prompts) >= 128 and len({p.text for p in prompts}) == len(prompts) and {p.lang for p in prompts} == {"en", "de"}
    assert {p.scene.actors[0].kind for p in prompts} == set(ACTORS) and sum(landings(p.scene) for p in prompts) >= 16
    assert sum(len(p.scene.actors) == 2 for p in prompts) >= 12


def perfect(p):
    "What a perfect judge would see in a perfect clip."
    m = simulate(p.scene)
    right = {q: QUESTIONS[q][max(i, 0)] for q, i in answers(p.scene).items()} | {"camera": p.scene.camera, "mood": p.scene.mood}
    if p.scene.relation == "chases": right["motion"] = "runs"
    hits = [e.time for e in m.events if e.kind == "impact"]
    pair = sorted(p.scene.actors, key=lambda a: ACTORS.index(a.kind))
    return Seen(right, True, [a.kind for a in pair], [a.colour for a in pair], [a.x for a in pair], foot_track(p.scene).tolist(), hits, hits, [])


def test_a_perfect_model_gets_everything():
    prompts = exam(64, 5)
    seen = [perfect(p) for p in prompts]
    rows = evaluate(prompts, seen, seen)
    assert {"actor", "actor recognised", "all four", "camera", "actor: glass", "mood", "two actors, both", "colours of both", "who chases", "left or right of", "two actors, all right", "count", "onsets F1", "free fall R²"} <= {r.name for r in rows}
    assert all(r.value == 1 and r.ceiling == 1 for r in rows if r.n and r.name != "free fall R²"), table(rows)
    assert next(r for r in rows if r.name == "free fall R²").value > .97 and not mistakes(prompts, seen, "actor")
    assert len(table(rows).splitlines()) == 1 + sum(r.n > 0 for r in rows)


def test_a_model_that_ignores_its_prompts_is_at_the_floor():
    prompts = exam(160, 6)
    seen = [perfect(p) for p in prompts]
    mixed = seen[7:] + seen[:7]
    for row in evaluate(prompts, mixed, seen):
        if row.name == "count": assert row.value > .8 and abs(row.floor - .5) < .02      # a pair's neighbour in the exam is a pair too: only the floor shuffles all
        elif row.floor is not None and row.n > 60: assert abs(row.value - row.floor) < .12 and row.ceiling > .97, row
    assert mistakes(prompts, mixed, "time")


def test_a_killed_evaluation_goes_on(tmp_path):
    path, about, made = tmp_path / "x.progress", {"seed": 1}, [perfect(p) for p in held_out_prompts(6, 1)]
    asked_from = []

    def clips(k):
        asked_from.append(k)
        for i in range(k, 6):
            if i == 3 and len(asked_from) == 1: raise KeyboardInterrupt
            yield i

    with pytest.raises(KeyboardInterrupt): judged(path, about, 6, clips, made.__getitem__)
    path.write_text(path.read_text()[:-25])                                # a line cut off
    assert judged(path, about, 6, clips, made.__getitem__) == made == noted(path, about) and asked_from == [0, 2]
    assert judged(path, about, 6, clips, made.__getitem__) == made and len(asked_from) == 2
    with pytest.raises(InputError, match="another evaluation"): noted(path, {"seed": 2})
    path.write_text("not\n")
    with pytest.raises(InputError, match="cannot be read"): noted(path, about)


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
    logits, track = glances(net, torch.zeros(2, 17, 128, 128, 3, dtype=torch.uint8))
    assert logits["actor"].shape == (2, 13) and recognised(logits).shape == (2,) and track.shape == (2, 17, 2)
    for shape in ((1, 17, 32, 32, 3), (1, 1, 64, 64, 3)):
        with pytest.raises(InputError): glances(net, torch.zeros(shape, dtype=torch.uint8))


def test_the_four_looks_are_fair_to_left_and_right():
    net, film = load_detector(), render([DOG], 64).frames
    (plain, track), (mirror, back) = glances(net, film), glances(net, film.flip(3))
    assert torch.allclose(plain["actor"], mirror["actor"], atol=1e-3) and torch.allclose(plain["direction"], mirror["direction"].flip(1), atol=1e-3)
    assert torch.allclose(track, back * torch.tensor([-1., 1.]), atol=1e-3)


def test_a_clip_is_seen_and_a_smear_is_not_recognised():
    frames = render([DOG], 64).frames[0]
    clip = Clip(frames, audio=Audio(synthesise(DOG, simulate(DOG))))
    judges = Judges.shipped()
    seen = see(replace(judges, codec=shipped_codec()), clip)
    assert (seen.answers["actor"], seen.answers["place"], seen.answers["camera"], seen.sure) == ("dog", "beach", "static", True)
    assert len(seen.track) == 17 and len(seen.signature) == 2048 and see(judges, Clip(frames)).onsets == []
    rng = random.Random(1)
    films = render([sample_scene(rng, pairs=0., refuse=False) for _ in range(20)], 64).frames
    pixels = films.permute(0, 1, 4, 2, 3).flatten(0, 1).float()
    smears = F.interpolate(F.adaptive_avg_pool2d(pixels, 4), 64, mode="bilinear").round().to(torch.uint8).permute(0, 2, 3, 1).view_as(films)
    sure = [sum(see(judges, Clip(film)).sure for film in some) for some in (films, smears)]
    assert sure[0] >= 19 and sure[1] <= 5


def test_saved_weights_come_back_and_wrong_ones_do_not(tmp_path):
    net, path = Detector().eval(), tmp_path / "d.safetensors"
    save_judge(net, path)
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


# The finder and the listener

def test_whose_each_cell_is():
    scene = Scene("meadow", "day", "clear", (Actor("dog", "red", "stands", x=-.5), Actor("tree", "green", "stands", x=.5)), "beside")
    rows = torch.full((1, 1, 64, 64), -1, dtype=torch.int8)
    rows[..., :8, :8], rows[..., 8:12, 8:12], rows[0, 0, 20, 20] = 0, 1, 1         # one pixel is not enough
    cells = owners(rows, [scene])[0, 0]
    assert cells[:2, :2].eq(ACTORS.index("dog") + 1).all() and cells[2, 2] == ACTORS.index("tree") + 1 and cells.gt(0).sum() == 5


def test_the_shipped_finder_tells_two_apart():
    detector = load_detector()
    net = load_finder(detector)
    a = Scene("meadow", "day", "clear", (Actor("child", "red", "stands", x=-.45), Actor("dog", "blue", "walks", x=.45, speed=.3)), "beside")
    b = replace(a, actors=(replace(a.actors[0], colour="blue"), replace(a.actors[1], colour="red")))
    _, across, colour = found(detector, net, torch.cat([r := render([a, b], 64).frames, r.flip(3)]))
    child, dog = ACTORS.index("child"), ACTORS.index("dog")
    assert (across[:2, child] < across[:2, dog] - .2).all() and (across[2:, dog] < across[2:, child] - .2).all()
    assert [[COLOURS[c] for c in row[[child, dog]].tolist()] for row in colour] == 2 * [["red", "blue"], ["blue", "red"]]
    right = {name: k / n for name, (k, n) in finder_accuracies(detector, net, make_pairs(shipped_codec(), 2026, n=24, noise=0.)).items()}
    assert right["colour"] >= .8 and right["side"] >= .9, right


def test_the_shipped_listener_hears_the_mood():
    net, (mels, moods) = load_listener(), mood_lessons(2026, 40)
    assert (net(mels).argmax(1) == moods).sum() >= 36
    scene = replace(DOG, mood="tense")
    assert mood_heard(net, synthesise(scene, simulate(scene))) == "tense" and mood_heard(net, torch.zeros(34000)) == "none" and set(MOODS) == {"none", "calm", "happy", "tense"}


@pytest.mark.parametrize("save, load, tensor", [
    (lambda p: save_judge(load_finder(load_detector()), p), lambda p: load_finder(load_detector(), p), "whose.bias"),
    (lambda p: save_judge(Listener().eval(), p), load_listener, "says.bias")])
def test_weights_of_small_judges_come_back_and_wrong_ones_do_not(tmp_path, save, load, tensor):
    path = tmp_path / "j.safetensors"
    save(path)
    assert path.stat().st_size <= 60_000 and load(path)
    save_tensors(path, {k: v for k, v in load_tensors(path).items() if k != tensor})
    with pytest.raises(MachineError, match=tensor): load(path)
