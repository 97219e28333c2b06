"""The world's two tiers: the core tier stays what the shipped model learned; the full tier is more rows that keep the same promises."""
import random
from dataclasses import replace

import pytest
import torch

from sora_kit.actors import CAST
from sora_kit.captions import caption, describe, understand
from sora_kit.files import InputError
from sora_kit.full_cast import FULL_CAST
from sora_kit.render import render
from sora_kit.scenes import ACTORS, CAMERAS, MOODS, MOTIONS, MOVES, PLACES, TIMES, WEATHERS, Actor, Scene, cast, held_out, sample_scene, simulate
from sora_kit.sounds import synthesise
from sora_kit.styles import STYLES
from sora_kit.tiers import CORE, FULL, tier_of
from sora_kit.vocabulary import Noun, split
from sora_kit.wide_vocabulary import WIDE_NOUNS, lexicon

NEWCOMERS = FULL.actors[len(CORE.actors):]

# The core tier keeps its rows

FIRST = (     # the first scenes of `Random(11)`, drawn from the core tier alone
    ('desert', 'sunset', 'clear', 'brown balloon floats right, black house stands left', 'static', 'none', 1992583342),
    ('forest', 'night', 'snow', 'grey car rolls left', 'static', 'none', 301607616),
    ('street', 'sunset', 'clear', 'grey tree stands left', 'static', 'none', 1158677336),
    ('beach', 'day', 'clear', 'yellow child stands left balloon', 'pan_left', 'none', 1946513985),
    ('desert', 'sunset', 'clear', 'orange cat walks left, green tree stands left', 'static', 'calm', 295391205),
    ('beach', 'sunset', 'rain', 'green cat runs left, yellow ball rolls left', 'static', 'none', 1339190980),
    ('street', 'night', 'rain', 'yellow child jumps left', 'static', 'happy', 1791659082),
    ('street', 'sunset', 'rain', 'red glass stands left', 'static', 'happy', 1892029704),
    ('desert', 'day', 'clear', 'orange balloon floats right', 'static', 'tense', 615126836),
    ('desert', 'day', 'clear', 'pink house stands right', 'zoom_in', 'happy', 919935999),
)


def told(s: Scene) -> tuple:
    who = ", ".join(" ".join(w for w in (a.colour, a.kind, a.motion, a.direction, a.holds) if w) for a in s.actors)
    return s.place, s.time, s.weather, who, s.camera, s.mood, s.seed


def test_a_seed_draws_these_core_scenes_whatever_other_tiers_hold():
    rng = random.Random(11)
    assert tuple(told(sample_scene(rng)) for _ in FIRST) == FIRST
    rng = random.Random(11)
    assert tuple(told(sample_scene(rng, tier="core")) for _ in FIRST) == FIRST


def test_the_core_tier_draws_only_core_rows():
    rng = random.Random(3)
    for s in [sample_scene(rng) for _ in range(600)]:
        assert s.place in PLACES and s.time in TIMES and s.weather in WEATHERS and s.camera in CAMERAS and s.mood in MOODS
        assert s.style == "plain" and not s.lapse and not held_out(s)
        for a in s.actors: assert a.kind in ACTORS and a.motion in MOTIONS and a.holds in ("", "glass", "balloon")
        if not s.relation: assert all(a.motion in MOVES[a.kind] for a in s.actors)


def test_the_core_tables_are_those_of_the_shipped_model():
    assert set(ACTORS) == set(CAST)
    assert ACTORS == ("child", "dog", "cat", "robot", "bird", "car", "boat", "balloon", "ball", "tree", "house", "tower", "glass")
    assert (len(PLACES), len(TIMES), len(WEATHERS), len(MOTIONS), len(CAMERAS), len(MOODS)) == (6, 3, 4, 8, 5, 4)


def test_more_figures_change_no_core_picture():
    rng = random.Random(5)
    scenes = [sample_scene(rng) for _ in range(5)]
    few, many = render(scenes, 48, frames=5, figures=CAST), render(scenes, 48, frames=5)
    assert torch.equal(few.frames, many.frames) and torch.equal(few.owner, many.owner)
    wide = sample_scene(random.Random(8), "horse", "walks", tier="full")
    mixed = render([*scenes, replace(wide, place=scenes[0].place, time=scenes[0].time)], 48, frames=5)
    assert torch.equal(mixed.frames[:5], many.frames)


@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_core_reader_claims_no_word_of_the_full_tier(lang):
    for kind, row in WIDE_NOUNS[lang].items():
        for word in split(row):
            word = word if lang == "en" else Noun.parse(word).word
            article = "a" if lang == "en" else "ein"
            script = understand(f"{article} {word}", lang)
            assert all(m.kind in ACTORS for m in script.actors), word
            assert kind in [m.kind for m in understand(f"{article} {word}", lang, tier="full").actors], word
    script = understand("a horse waves in the fog at dawn in outer space, as a watercolour, in time-lapse, sad music, the camera tilts up")
    assert script.tier == "core" and not (script.actors or script.place or script.style or script.lapse or script.camera or script.weather or script.mood)
    assert {w for w, _ in script.unknown} >= {"horse", "fog", "dawn", "watercolour"}


@pytest.mark.parametrize("lang", ["en", "de"])
def test_core_captions_use_core_words(lang):
    rng, foreign = random.Random(9), set()
    for row in WIDE_NOUNS[lang].values(): foreign |= {(w if lang == "en" else Noun.parse(w).word).lower() for w in split(row)}
    for _ in range(150):
        text, script = caption(sample_scene(rng), rng, lang)
        assert not foreign & set(text.lower().rstrip(".").replace(",", "").split()) and understand(text) == script, text


# The full tier is more rows

def test_the_full_tier_begins_with_the_core_tier():
    for name in ("places", "times", "weathers", "motions", "cameras", "moods", "styles", "actors"):
        core, full = getattr(CORE, name), getattr(FULL, name)
        assert full[:len(core)] == core and len(full) > len(core), name
    assert set(FULL.moves) <= set(FULL_CAST) and set(FULL.styles) == set(STYLES)


def test_the_full_tier_is_asked_for_and_draws_every_row():
    rng = random.Random(4)
    scenes = [sample_scene(rng, tier="full") for _ in range(1500)]
    seen = {name: {getattr(s, name) for s in scenes} for name in ("place", "time", "weather", "camera", "mood", "style", "lapse")}
    assert seen["place"] == set(FULL.places) and seen["time"] == set(FULL.times) and seen["weather"] == set(FULL.weathers)
    assert seen["camera"] == set(FULL.cameras) and seen["mood"] == set(FULL.moods) and seen["style"] == set(FULL.styles) and seen["lapse"] == {False, True}
    assert {a.kind for s in scenes for a in s.actors} == set(FULL.actors) and {a.motion for s in scenes for a in s.actors} == set(FULL.motions)
    assert all(FULL.lives(a.kind, s.place) for s in scenes for a in s.actors) and not any(map(held_out, scenes))


@pytest.mark.parametrize("call", [lambda: tier_of("huge"), lambda: sample_scene(random.Random(0), tier="huge"), lambda: understand("a dog", tier="huge"), lambda: lexicon("huge")])
def test_an_unknown_tier_is_one_clear_line(call):
    with pytest.raises(InputError, match="tier: got 'huge', but it must be core or full") as problem: call()
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("lang", ["en", "de"])
def test_what_is_said_of_a_full_scene_is_read_again(lang):
    rng = random.Random(21)
    for _ in range(120):
        text, script = caption(sample_scene(rng, refuse=False, tier="full"), rng, lang, "full")
        assert understand(text, tier="full") == script, text


def test_a_core_writer_has_no_words_for_the_moon():
    scene = Scene("space", "night", "clear", (Actor("child", "red", "walks", speed=.3),))
    with pytest.raises(InputError, match="tier='full'"): describe(scene, random.Random(0))
    assert describe(scene, random.Random(0), tier="full")


def newcomer(kind: str) -> Scene:
    scene = sample_scene(random.Random(kind), kind, pairs=0., tier="full")
    return replace(scene, style="plain", camera="static", weather="clear", bursts=(), lapse=False)


def test_every_newcomer_is_seen_owned_and_followed():
    scenes = [newcomer(kind) for kind in NEWCOMERS]
    drawn = render(scenes, 64, frames=5, truth=True)
    for i, s in enumerate(scenes):
        own = (drawn.owner[i] == 0).flatten(1).sum(1)
        assert own.max() > 60, s.actors[0].kind
        assert drawn.owner[i].max() < len(cast(s)) and 0 <= drawn.depth[i].min() and drawn.depth[i].max() <= 1
    assert torch.isfinite(drawn.flow).all()


@pytest.mark.parametrize("kind, motion, sound", [
    ("horse", "runs", "footstep"), ("bell", "swings", "strike"), ("drum", "swings", "strike"), ("fish", "jumps", "splash"), ("man", "falls", "impact"),
    ("umbrella", "falls", "impact"), ("rocket", "floats", "takeoff"), ("woman", "spins", "footstep")])
def test_what_is_seen_to_happen_is_heard(kind, motion, sound):
    scene = replace(sample_scene(random.Random(2), kind, motion, tier="full"), slow=False, lapse=False, mood="none", bursts=(), weather="clear")
    motion = simulate(scene)
    times = [e.time for e in motion.events if e.kind == sound and .1 < e.time < 1.9]
    assert times, "nothing happens"
    wave = synthesise(scene, motion)
    loud = wave.unfold(0, 320, 160).square().mean(1).sqrt()                      # 20 ms, every 10 ms
    assert max(loud[round(t * 100):][:6].max() / loud[max(round(t * 100) - 8, 0):][:5].min() for t in times) > 1.5


def test_a_bell_rings_where_it_turns_back_and_wheels_roll_with_the_distance():
    bell = replace(sample_scene(random.Random(2), "bell", "swings", tier="full"), slow=False, lapse=False)
    fine = simulate(bell, frames=850, fps=400.)
    for e in fine.events:
        if e.kind == "strike" and .1 < e.time < 2.: assert abs(fine.spin[0, round((e.time - .06) * 400)]) > .495
    for kind, radius in (("bus", .17), ("train", .17), ("bicycle", .27)):
        m = simulate(replace(sample_scene(random.Random(1), kind, "rolls", pairs=0., tier="full"), slow=False, lapse=False))
        assert torch.allclose(m.x[0].diff().abs(), m.spin[0].diff().abs() * radius * newcomer_size(kind), atol=1e-4)


def newcomer_size(kind: str) -> float:
    return sample_scene(random.Random(1), kind, "rolls", pairs=0., tier="full").actors[0].size


@pytest.mark.parametrize("style", sorted(set(STYLES) - {"plain"}))
def test_a_style_keeps_its_clip_still_and_leaves_others_alone(style):
    plain = Scene("meadow", "day", "clear", (Actor("tree", "green", "stands", y=-.5, size=1.3),), seed=5)
    both = render([plain, replace(plain, style=style)], 64, frames=3)
    assert torch.equal(both.frames[0], render([plain], 64, frames=3).frames[0])
    drawn = both.frames[1].float()
    assert (drawn - both.frames[0].float()).abs().mean() > 10
    moved, before = drawn.diff(dim=0).abs().mean(), both.frames[0].float().diff(dim=0).abs().mean()
    assert moved < 3 * before + 3, "grain and paper must not move"


def test_fog_hides_what_is_far_more_than_what_is_near():
    clear = Scene("street", "day", "clear", (Actor("car", "red", "stands", size=.7),), seed=3)
    a, b = (render([replace(clear, weather=w)], 64, frames=1).frames[0, 0].float() for w in ("clear", "fog"))
    assert b[10:34].std() < .6 * a[10:34].std() and b[48:60].std() > .6 * a[48:60].std()


def test_a_time_lapse_moves_the_sky_faster():
    scene = Scene("meadow", "day", "clear", (Actor("house", "red", "stands", y=-.5, size=1.1),), seed=6)
    slow, fast = (render([replace(scene, lapse=lapse)], 64, frames=9).frames[0, :, :20].float().diff(dim=0).abs().mean() for lapse in (False, True))
    assert fast > 3 * slow
