"""Style adapters come off without a trace, learn without moving the model, and their looks are told apart."""
import hashlib
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_model import CODEC, DIT, alive

from sora_kit import adapt
from sora_kit.adapt import Base, calibrated, fit_lora, make_lessons
from sora_kit.codec import Codec
from sora_kit.dit import DiT
from sora_kit.files import InputError, MachineError
from sora_kit.looks import LOOKS, FilmNoir, fit_judge
from sora_kit.lora import OUTERMOST, LoRA, adaptable, load_lora, new_lora, save_lora, styled, taken_over
from sora_kit.recipes import TrainRecipe
from sora_kit.render import render
from sora_kit.scenes import sample_scene
from sora_kit.text import load_tokenizer
from sora_kit.batches import Latents


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    dit = DiT(DIT).eval().requires_grad_(False)
    dit.load_state_dict(alive(dit, 1))
    return SimpleNamespace(dit=dit)


def adapter(backbone, seed: int = 1, rank: int = 2) -> LoRA:
    "A random adapter of strong effect."
    g = torch.Generator().manual_seed(seed)
    lora = new_lora(backbone.dit, rank, g)
    return LoRA(lora.down, {k: torch.randn(v.shape, generator=g) for k, v in lora.up.items()}, lora.facts)


def answer(backbone) -> torch.Tensor:
    "What the model says about a fixed question."
    g = torch.Generator().manual_seed(2)
    video, audio = torch.randn(1, 4, 5, 8, 8, generator=g), torch.randn(1, 4, 512, generator=g)
    with torch.no_grad(): return backbone.dit(video, audio, torch.full((1, 2), .6), torch.full((1,), .6), torch.zeros(1, 32, dtype=torch.long))[0]


def trace(backbone) -> str:
    "A hash of everything that an adapter could leave behind."
    digest = hashlib.sha256()
    for name, m in backbone.dit.named_modules(): digest.update(f"{name} {type(m)} {dict(m._forward_hooks)} {dict(m._forward_pre_hooks)} {sorted(vars(m))} {m.training}".encode())
    for name, x in backbone.dit.state_dict().items(): digest.update(name.encode() + x.numpy().tobytes())
    return digest.hexdigest()


def test_scale_zero_is_bit_exact_and_detach_restores_everything(backbone):
    before, plain = trace(backbone), answer(backbone)
    handle = adapter(backbone).attach(backbone, scale=1)
    assert not torch.allclose(answer(backbone), plain, atol=1e-3)
    handle.set_scale(0)
    assert torch.equal(answer(backbone), plain)
    handle.detach()
    handle.detach()
    assert trace(backbone) == before and torch.equal(answer(backbone), plain)


def test_the_effect_is_continuous_in_scale(backbone):
    plain = answer(backbone)
    with adapter(backbone).attach(backbone, scale=1e-3) as handle:
        little = (answer(backbone) - plain).abs().max()
        handle.set_scale(2e-3)
        assert 0 < little < (answer(backbone) - plain).abs().max() < 20 * little


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_come_off_in_any_order(backbone, order):
    before = trace(backbone)
    with adapter(backbone, 2).attach(backbone, scale=.5): alone = answer(backbone)
    handles = [adapter(backbone, 1).attach(backbone, scale=1), adapter(backbone, 2).attach(backbone, scale=.5)]
    handles[order[0]].detach()
    if order[0] == 0: assert torch.equal(answer(backbone), alone)
    handles[order[1]].detach()
    assert trace(backbone) == before


def test_only_what_it_touches_changes(backbone):
    lora, hooked = adapter(backbone), set()
    with lora.attach(backbone, scale=1): hooked = {name for name, m in backbone.dit.named_modules() if m._forward_hooks}
    assert hooked == lora.touches(DIT) == adaptable(DIT) and not any("audio" in name for name in hooked)


def test_an_exception_in_a_run_detaches(backbone):
    before = trace(backbone)
    with pytest.raises(KeyboardInterrupt), styled(backbone, [(adapter(backbone, 1), 1.), (adapter(backbone, 2), 1.)]): raise KeyboardInterrupt
    assert trace(backbone) == before


@pytest.mark.parametrize("change", ["shape", "name", "scale"])
def test_what_does_not_fit_is_refused_before_anything_changes(backbone, change):
    before, lora, scale = trace(backbone), adapter(backbone), 1.
    if change == "shape": lora.up["patches.fold_out"] = torch.zeros(3, 2)
    if change == "name": lora.down["blocks.9.feed.down"], lora.up["blocks.9.feed.down"] = torch.zeros(2, 3), torch.zeros(3, 2)
    if change == "scale": scale = float("nan")
    with pytest.raises(InputError), styled(backbone, [(adapter(backbone, 5), 1.), (lora, scale)]): pass
    assert trace(backbone) == before


def test_files(backbone, tmp_path):
    path, lora = tmp_path / "a.safetensors", adapter(backbone)
    save_lora(path, lora)
    again = load_lora(path)
    assert again.touches(DIT) == lora.touches(DIT) and again.facts == lora.facts
    data = path.read_bytes()
    for bad in (data[:-7], data[:40], b"", data.replace(b"sora_kit.lora/1", b"sora_kit.lora/9"), data.replace(b".down", b".dawn")):
        path.write_bytes(bad)
        with pytest.raises(MachineError): load_lora(path)


def test_training_moves_the_adapter_and_nothing_else(backbone, tmp_path):
    torch.manual_seed(1)
    base = Base("tiny", "0" * 64, backbone.dit, Codec(CODEC).eval().requires_grad_(False), 17)
    before = trace(backbone)
    make_lessons(base, "chalkboard", tmp_path, n=1)
    films = Latents(tmp_path, "clip", load_tokenizer(), replace(TrainRecipe(), dit=DIT))
    lora = fit_lora(base, films, 1., rank=1, most=2, log=lambda line: None)
    assert trace(backbone) == before and max(x.abs().max() for x in lora.up.values()) > 0
    assert not any(x.requires_grad for x in (*lora.up.values(), *lora.down.values())) and lora.facts["steps"] == 2


def stills(n: int, seed: int) -> torch.Tensor:
    "Frames of random scenes, uint8 [n,64,64,3]."
    rng = random.Random(seed)
    return render([sample_scene(rng) for _ in range(n)], 64, frames=1, batch=64).frames[:, 0]


def test_looks_are_pure_and_told_apart():
    taught, asked = stills(24, 1), stills(12, 2)
    kept = taught.clone()
    looks = {"plain": lambda v: v, **LOOKS}
    judge = fit_judge({name: look(taught) for name, look in looks.items()})
    assert torch.equal(taught, kept)
    for name, look in looks.items():
        drawn = look(asked)
        assert drawn.shape == asked.shape and drawn.dtype == torch.uint8 and torch.equal(drawn[:1], look(asked[:1]))
        assert sum(judge(frame[None]) == name for frame in drawn) >= 11, name


def test_film_noir():
    film, seeded = stills(3, 3), lambda s: torch.Generator().manual_seed(s)
    assert torch.equal(FilmNoir().paint(film, scale=0, generator=seeded(1)), film)
    dark = FilmNoir(0.).paint(film, scale=1, generator=seeded(1))
    assert (dark[..., 0] == dark[..., 2]).all() and dark.dtype == torch.uint8
    assert torch.equal(FilmNoir().paint(film, scale=1, generator=seeded(1)), FilmNoir().paint(film, scale=1, generator=seeded(1)))


def test_shipped_adapters_are_small():
    from sora_kit.lora import ADAPTERS
    for path in Path(ADAPTERS).glob("*.safetensors"): assert path.stat().st_size < 300_000 and load_lora(path).facts["look"] == path.stem


@pytest.mark.parametrize("least, strength", [(.62, .65), (0., .45), (.9, .9), (2., 1.)])
def test_an_adapter_is_written_as_weak_as_its_look_allows(backbone, monkeypatch, least, strength):
    tried = []

    def share_in_look(base, lora, look, n, strengths):
        tried.extend(strengths)
        return {s: float(s >= least) for s in strengths}, None

    monkeypatch.setattr(adapt, "share_in_look", share_in_look)
    lora = adapter(backbone)
    made = calibrated(backbone, lora, "blueprint", log=lambda line: None)
    assert made.facts["strength"] == strength and len(tried) <= 4
    assert all(torch.equal(made.up[k], lora.up[k] * strength) and torch.equal(made.down[k], lora.down[k]) for k in lora.up)
    again = taken_over(new_lora(backbone.dit, 2, torch.Generator().manual_seed(1)), made)
    assert all(torch.allclose(again.up[k], lora.up[k], atol=1e-6) for k in lora.up), "one that goes on begins as strong as it was taught"


def test_each_part_of_an_adapter_has_a_rank_of_its_own(backbone):
    lora = new_lora(backbone.dit, 1, torch.Generator().manual_seed(0), thin=2, ends=3)
    ranks = {name: len(down) for name, down in lora.down.items()}
    assert {r for name, r in ranks.items() if name.startswith("blocks.")} == {1}
    assert {ranks[name] for name in OUTERMOST} == {3} and ranks["patches.merge"] == 2 and lora.facts["ends"] == 3
