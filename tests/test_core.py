"""Recipes, seeds, and clips that show themselves."""

import base64
import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sora_kit.core import Audio, Clip, Component, Recipe, generator, machine_facts, vtt
from sora_kit.files import InputError

words = st.text(max_size=40)
params = st.dictionaries(
    words, st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words, max_size=4
)
names = st.text(min_size=1, max_size=40)
components = st.builds(Component, names, names, names, params)
recipes = st.builds(
    Recipe,
    prompt=st.text(max_size=200),
    seed=st.integers(0, 2**63 - 1),
    steps=st.integers(0, 1000),
    components=st.lists(components, max_size=3).map(tuple),
    parents=st.lists(words, max_size=3).map(tuple),
    versions=st.dictionaries(words, words, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(recipes)
def test_recipes_round_trip(recipe):
    assert Recipe.from_json(recipe.to_json()) == recipe
    hidden = recipe.private()
    assert hidden.prompt == "" and hidden.private() == hidden and Recipe.from_json(hidden.to_json()) == hidden
    assert replace(hidden, prompt=recipe.prompt, prompt_sha256="") == recipe


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | words,
        lambda s: (
            st.lists(s, max_size=3)
            | st.dictionaries(
                st.sampled_from(["prompt", "seed", "fps", "components", "parents", "versions", "kind", "id", "params", "x"]), s, max_size=5
            )
        ),
    )
)
def test_any_value_is_a_recipe_or_an_input_error(value):
    try:
        Recipe.from_dict(value)
    except InputError as problem:
        assert "\n" not in str(problem)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"seed": 2**63},
        {"seed": True},
        {"seed": 1.0},
        {"steps": "20"},
        {"prompt": None},
        {"prompt": "x" * 2001},
        {"fps": "0"},
        {"fps": "1/0"},
        {"fps": "nan"},
        {"fps": "241"},
        {"weights": "x" * 201},
        {"components": ({"id": "a"},)},
        {"parents": (1,)},
        {"versions": {"a": 1}},
        {"versions": {str(i): "" for i in range(201)}},
        {"threads": -1},
    ],
)
def test_wrong_values_are_refused_by_the_constructor(wrong):
    with pytest.raises(InputError, match="got"):
        Recipe(**wrong)


def test_component_params_are_plain_values():
    shared = {"scale": 3.0}
    part = Component("guidance", "cfg", params=shared)
    shared["scale"] = 9.0
    assert part.params == {"scale": 3.0}
    for bad in ({"a": float("nan")}, {"a": object()}, {"a": torch.ones(1)}, {"a": "x" * 5000}, [1]):
        with pytest.raises(InputError):
            Component("guidance", "cfg", params=bad)


def test_machine_facts_fill_a_recipe():
    recipe = Recipe("a dog", **machine_facts())
    assert recipe.threads >= 1 and recipe.versions["torch"] == str(torch.__version__) and Recipe.from_json(recipe.to_json()) == recipe


def test_seeds():
    draws = [torch.rand(4, generator=generator(*args)) for args in ((0,), (0, "video"), (0, "audio"), (1, "video"), (2**63 - 1,))]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])
    assert torch.equal(draws[1], torch.rand(4, generator=generator(0, "video")))
    for bad in (-1, 2**63, 1.5, "3", None, True):
        with pytest.raises(InputError, match="seed"):
            generator(bad)


def test_audio_checks():
    for bad in (torch.zeros(3, 100), torch.zeros(1, 1, 5), torch.tensor([float("nan")]), torch.tensor([float("inf")])):
        with pytest.raises(InputError):
            Audio(bad)
    for rate in (0, -1, 10**6, 16000.0, "16000"):
        with pytest.raises(InputError):
            Audio(torch.zeros(10), rate)
    assert Audio(torch.zeros(10)).fitted(4).samples.shape == (1, 4) and Audio(torch.ones(10)).fitted(12).samples[0, -3:].tolist() == [
        1,
        0,
        0,
    ]


def test_clip_checks():
    good = torch.zeros(2, 8, 8, 3, dtype=torch.uint8)
    for bad in (good.float(), good[0], good[..., :2], good[:0], good.movedim(3, 1)):
        with pytest.raises(InputError):
            Clip(bad)
    for captions in (
        ((0, 1),),
        ((1, 0, "x"),),
        ((-1, 1, "x"),),
        ((0, 1, 2),),
        ((0, float("nan"), "x"),),
        (("0", 1, "x"),),
        ((0, 1, "x" * 501),),
    ):
        with pytest.raises(InputError):
            Clip(good, captions=captions)
    for fps in (0, -8, 1000, "x", None, float("nan")):
        with pytest.raises(InputError):
            Clip(good, fps)


class Tags(HTMLParser):
    "The tags of a page and their attributes."

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(
    "prompt", ["a red ball", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onload='x", "&lt;", "</video>", "-->"]
)
def test_the_player_is_accessible_and_prompts_are_text(prompt):
    clip = Clip(torch.zeros(2, 16, 16, 3, dtype=torch.uint8), captions=((0, 0.2, prompt),), recipe=Recipe(prompt))
    page = Tags(clip._repr_html_())
    assert [tag for tag, _ in page.found] == ["video", "source", "track"] and page.text == prompt
    video, source, track = (attributes for _, attributes in page.found)
    assert video["aria-label"] == prompt and "controls" in video and track["kind"] == "captions"
    assert base64.b64decode(source["src"].split(",")[1])[4:8] == b"ftyp"
    captions = base64.b64decode(track["src"].split(",")[1]).decode()
    assert captions.startswith("WEBVTT\n") and captions.count("-->") == 1 and html.unescape(captions.split("\n")[3]) == prompt


def test_webvtt_times():
    text = vtt(((0, 1.5, "a\n\n00:00 --> 00:01\nb"), (3599.9996, 3661.25, "c")))
    assert re.findall(r"^(\S+) --> (\S+)$", text, re.M) == [("00:00:00.000", "00:00:01.500"), ("01:00:00.000", "01:01:01.250")]


def test_reprs_are_short():
    clip = Clip(torch.zeros(2, 16, 16, 3, dtype=torch.uint8), recipe=Recipe("x" * 2000))
    assert len(repr(clip)) < 200 and "16×16" in repr(clip) and "<audio controls" in Audio(torch.zeros(800))._repr_html_()
