"The figure and the LoRA keep their contracts; the word is understood, read as a robot's, and brings the LoRA along."
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from sora_kit.actors import CAST
from sora_kit.adapt import load_base
from sora_kit.detector import load_detector
from sora_kit.newcomers import newcomer
from sora_kit.render import render
from sora_kit.scenes import Actor, Scene, held_out
from sora_kit.script import understand
from sora_kit.testing import parametrize_with_contract
from sora_kit.text import load_tokenizer
from sora_kit.train import training_loss
from sora_kit_penguin import CAPS, sora_actors, sora_style_adapters
from sora_kit_penguin.adapter import FILE, DrawsPenguins, pieces, read_as
from sora_kit_penguin.judge import KINDS, Judge
from sora_kit_penguin.lessons import FIGURES, MOVES, Lessons, sample_penguin, told, told_as_robot
from sora_kit_penguin.train import LARGEST, prompts

GUEST = newcomer("penguin", CAPS)
trained = pytest.mark.skipif(not FILE.is_file(), reason="the LoRA has not been trained yet: python -m sora_kit_penguin.train")


@parametrize_with_contract(sora_actors())
def test_figure(check): check.run()


@trained
@parametrize_with_contract(sora_style_adapters())
def test_adapter(check): check.run()


@pytest.mark.parametrize("prompt, motion", [("a red penguin waddles on the beach", "walks"), ("two penguins jump", "jumps"), ("ein roter Pinguin watschelt am Strand", "walks"),
                                            ("rote Pinguine hüpfen", "jumps"), ("a penguin", "")])
def test_the_word_is_understood(prompt, motion):
    script = understand(prompt, extra=(GUEST,))
    assert [(a.kind, a.motion) for a in script.actors] == [("penguin", motion)] and not script.unknown
    assert understand(prompt).actors == () and understand(prompt).unknown


@pytest.mark.parametrize("motion", MOVES)
def test_it_is_drawn_in_its_colour_and_only_where_it_is_invited(motion):
    scene = Scene("meadow", "day", "clear", (Actor("penguin", "blue", motion, speed=.3 * (motion == "walks")),))
    drawn = render([scene], 64, figures=FIGURES)
    there = drawn.frames[drawn.owner == 0].float()
    assert there.shape[0] > 1500 and there[:, 2].mean() > there[:, 0].mean()
    with pytest.raises(ValueError, match="no actor 'penguin'"): render([scene], 64, figures=CAST)


def test_lessons_refuse_what_is_held_out_and_tell_of_penguins():
    rng = random.Random(0)
    taught, kept = [sample_penguin(rng) for _ in range(60)], [sample_penguin(rng, held=True) for _ in range(20)]
    assert not any(map(held_out, taught)) and all(map(held_out, kept)) and {s.actors[0].kind for s in taught} == {"penguin"}
    for scene in taught:
        for lang, word in (("en", "penguin"), ("de", "pinguin")): assert word in told(scene, random.Random(1), lang).lower()
    assert all("guin" in text.lower() and "robo" not in text.lower() for text in prompts(40))


def test_lessons_are_what_training_asks_for():
    base = load_base()
    batch = Lessons(base, 2, 0, log=lambda line: None).batch(2, random.Random(0))
    with torch.no_grad(): loss, parts = training_loss(base.dit, batch, torch.Generator().manual_seed(0))
    assert loss > 0 and {"video", "audio", "hits"} <= set(parts) and batch[6].shape[0] == 2


def test_a_penguin_is_read_as_the_robot_that_it_was_taught_as():
    tokenizer, rng = load_tokenizer(), random.Random(2)
    pairs = pieces(tokenizer)
    for lang in ("en", "de"):
        said = [sample_penguin(rng) for _ in range(40)]
        seeds = range(len(said))
        written, read = ([f(scene, random.Random(k), lang) for k, scene in zip(seeds, said)] for f in (told, told_as_robot))
        same = [torch.equal(read_as(tokenizer.batch([w])[0], pairs), tokenizer.batch([r])[0]) for w, r in zip(written, read)]
        assert sum(same) > 12                                                  # all that said robot, and not android or bot
    ids = tokenizer.batch(["a dog runs on the beach"])[0]
    assert torch.equal(read_as(ids, pairs), ids) and read_as(torch.zeros(2, 32).long(), pairs).sum() == 0


def test_a_judge_names_only_what_it_is_sure_of():
    net, layer = load_detector(), torch.nn.Linear(2 * 96, len(KINDS))
    torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
    judge = Judge(net, torch.zeros(2 * 96), torch.ones(2 * 96), layer.requires_grad_(False))
    grey = torch.full((2, 64, 64, 3), 128, dtype=torch.uint8)
    assert judge(grey) == ["unsure", "unsure"] and judge.film(grey) == "unsure"
    layer.bias[KINDS.index("penguin")] = 9.
    assert judge(grey) == ["penguin", "penguin"]


@trained
def test_it_is_small_and_bound_to_its_weights():
    assert FILE.stat().st_size <= LARGEST
    lora = DrawsPenguins().lora
    with pytest.raises(ValueError, match="^penguin: got .*it was trained on .*python -m sora_kit_penguin.train"):
        DrawsPenguins().attach(SimpleNamespace(dit=None, sha256="0" * 64))
    assert replace(lora).facts["actor"] == "penguin" and len(lora.facts["weights"]) == 64


@trained
def test_it_was_recognised_when_it_was_trained():
    judged = DrawsPenguins().lora.facts["judged"]
    assert judged["ceiling"]["penguins"] >= .85 and judged["ceiling"]["false"] <= .05
    assert judged["stills"]["1"] >= .7 and judged["stills"]["0"] <= .05
