"The style keeps the contract, and prints with the inks that it says."
import pytest
import torch
from sora_kit.testing import parametrize_with_contract
from sora_kit_risograph import sora_style_adapters
from sora_kit_risograph.style import INKS, Risograph, screen


@parametrize_with_contract(sora_style_adapters())
def test_contract(check): check.run()


def printed(grey, **settings):
    video = torch.full((1, 64, 64, 3), grey, dtype=torch.uint8)
    return Risograph(**settings).paint(video, scale=1., generator=torch.Generator().manual_seed(0)).float() / 255


def test_what_is_darker_gets_more_ink():
    assert printed(0).mean() < printed(90).mean() < printed(180).mean() < printed(255).mean()


@pytest.mark.parametrize("inks", INKS)
def test_black_is_the_dark_ink_and_what_lies_on_it(inks):
    dark, bright = map(torch.tensor, INKS[inks])
    assert ((printed(0, inks=inks).mean((0, 1, 2)) - dark * (dark * 0 + bright).clamp(max=1)).abs() < .25).all()


def test_a_screen_covers_as_much_as_asked():
    thresholds = screen(96, 128, 24, 30.)
    for cover in (.1, .5, .9): assert abs((thresholds < cover).float().mean().item() - cover) < .01


def test_the_plates_slip_by_chance_and_by_the_same_chance_for_the_same_seed():
    video = torch.randint(0, 256, (2, 64, 64, 3), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    a, b, c = (Risograph(slip=.05).paint(video, scale=1., generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 5))
    assert torch.equal(a, b) and not torch.equal(a, c)
