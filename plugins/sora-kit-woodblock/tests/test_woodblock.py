"The module keeps the contract, and one hears wood where something lands."
from fractions import Fraction

import pytest
import torch
from sora_kit.audio import onsets
from sora_kit.audio_modules import AudioContext
from sora_kit.scenes import Event
from sora_kit.testing import parametrize_with_contract
from sora_kit_woodblock import sora_audio_modules
from sora_kit_woodblock.module import WOODS, Woodblock


@parametrize_with_contract(sora_audio_modules())
def test_contract(check): check.run()


def heard(module, *events, seconds=2): return module.render(AudioContext(16000 * seconds, events=events), generator=torch.Generator().manual_seed(0))[0, 0]


@pytest.mark.parametrize("wood", WOODS)
def test_every_wood_strikes_on_time(wood):
    found = onsets(heard(Woodblock(wood), Event(.5, "impact", 0, 1.), Event(1.25, "footstep", 0, .6)))
    assert all((found - t).abs().min() < .015 for t in (.5, 1.25))


def test_a_harder_blow_is_louder():
    soft, hard = (heard(Woodblock(), Event(.5, "impact", 0, force)).square().mean() for force in (.3, 1.))
    assert hard > 1.5 * soft > 0


def test_the_pulse_goes_on_where_nothing_lands():
    assert heard(Woodblock()).abs().max() == 0
    assert all((onsets(heard(Woodblock(pulse=120.))) - t).abs().min() < .015 for t in (.5, 1., 1.5))


def test_without_frames_and_events_it_says_so():
    ctx = AudioContext(1000, fps=Fraction(8))
    with pytest.raises(ValueError, match="frames or its events"): Woodblock().render(ctx, generator=torch.Generator())
