"""Every audio module gives exactly as much sound as was asked for, in time with what happens."""
import math
import random
from fractions import Fraction

import pytest
import torch

from sora_kit.audio import onsets
from sora_kit.audio_modules import AudioContext, JointSound, MoodMusic, mood_of, sample_count, soundtrack
from sora_kit.core import generator
from sora_kit.files import InputError
from sora_kit.motion_foley import Foley, hits
from sora_kit.render import render
from sora_kit.scenes import Event, sample_scene
from sora_kit.speech import Speech, espeak, quoted

MODULES = [JointSound(), MoodMusic(), MoodMusic("tense"), Foley(), Foley(-80.)]
LENGTHS = [(17, Fraction(8), 16000), (1, Fraction(24000, 1001), 44100), (5, Fraction(24000, 1001), 48000), (1, Fraction(8), 16000)]


def context(frames=17, fps=Fraction(8), rate=16000, channels=1, **facts) -> AudioContext:
    g = torch.Generator().manual_seed(1)
    n, mels = sample_count(frames, fps, rate), 8 * max(8, math.ceil(frames / fps * 12.5))
    return AudioContext(n, rate, channels, fps, latents=torch.randn(1, 64, mels, generator=g), text="A ball bounces", **({"video": torch.zeros(frames, 32, 32, 3, dtype=torch.uint8)} | facts))


@pytest.mark.parametrize("module", MODULES, ids=repr)
@pytest.mark.parametrize("length", LENGTHS, ids=str)
def test_length_range_and_mean(module, length):
    for channels in (1, 2):
        ctx = context(*length, channels)
        sound = module.render(ctx, generator=generator(3))
        assert sound.shape == (1, channels, sample_count(*length)) and sound.dtype == torch.float32
        assert sound.isfinite().all() and sound.abs().max() <= 1 and sound.mean(-1).abs().max() < 1e-3
        assert torch.equal(sound, module.render(ctx, generator=generator(3)))


def test_sample_count_is_exact():
    assert [sample_count(n, Fraction(24000, 1001), 48000) for n in (1, 2, 3)] == [2002, 4004, 6006]
    assert sample_count(1, Fraction(16000 * 2), 16000) == 1        # half a sample is rounded up


@pytest.mark.parametrize("rate", [16000, 44100])
def test_each_event_is_heard_at_its_moment(rate):
    def heard(times):
        events = tuple(Event(t, "impact", 0, .9) for t in times)
        return onsets(Foley().render(context(rate=rate, events=events), generator=generator(1))[0, 0], rate).tolist()
    times, later = (.35, .9, 1.5), (.475, 1.025, 1.625)
    for wanted in (times, later):
        for t in wanted: assert min(abs(t - h) for h in heard(wanted)) <= .0625
    assert heard(()) == []


def test_a_still_picture_is_silent_and_a_falling_thing_is_not():
    assert Foley().render(context(), generator=generator(1)).abs().max() < 1e-6
    t = torch.arange(17) / 8
    assert abs(hits((1 - 2 * t * t).clamp(min=-.6), Fraction(8))[0][0] - .8 ** .5) < .06
    shot = render([sample_scene(random.Random(2), "ball", "bounces")], 64)
    true, seen = [e.time for e in shot.motions[0].events if e.kind == "impact"], [e.time for e in Foley().events(context(video=shot.frames[0]))]
    assert seen and all(min(abs(s - x) for x in true) < .12 for s in seen)


def test_modules_are_added_and_each_has_its_own_stream():
    ctx = context()
    one, _ = soundtrack(ctx, [("a/music", MoodMusic("calm", -30.))], 4)
    two, _ = soundtrack(ctx, [("a/joint", MoodMusic("happy", -30.))], 4)
    both, captions = soundtrack(ctx, [("a/music", MoodMusic("calm", -30.)), ("a/joint", MoodMusic("happy", -30.))], 4)
    assert torch.allclose(both, one + two, atol=1e-6) and captions == () and not torch.equal(one, two)


@pytest.mark.parametrize("wrong", [lambda n: torch.zeros(1, 1, n - 1), lambda n: torch.zeros(1, n), lambda n: torch.zeros(1, 1, n).double(), lambda n: torch.full((1, 1, n), float("nan")),
                                   lambda n: torch.full((1, 1, n), 1.5), lambda n: None])
def test_a_wrong_sound_is_named(wrong):
    class Wrong:
        def render(self, ctx, *, generator): return wrong(ctx.n_samples)
    with pytest.raises(ValueError, match="somebody/wrong"): soundtrack(context(), [("somebody/wrong", Wrong())])


def test_what_is_missing_is_one_line():
    with pytest.raises(InputError, match="no sound of the model"): JointSound().render(AudioContext(800), generator=generator(0))
    with pytest.raises(InputError, match="frames or its events"): Foley().render(AudioContext(800), generator=generator(0))
    with pytest.raises(InputError, match="quotation"): Speech().render(AudioContext(800, text="A dog"), generator=generator(0))
    with pytest.raises(InputError, match="mood"): MoodMusic("funky")
    assert mood_of("Feuerwerk am Strand") == "happy"


def test_speech_has_a_caption_for_every_word():
    try: espeak()
    except InputError: pytest.skip("eSpeak NG is not installed")
    ctx = AudioContext(48000, text='A robot says "red balloon"')
    module, sound = Speech(), Speech().render(ctx, generator=generator(0))
    assert sound.shape == (1, 1, 48000) and torch.equal(sound, module.render(ctx, generator=generator(9)))
    words = module.captions(ctx)
    assert [w for _, _, w in words] == ["red", "balloon"] and all(0 <= a < b <= 3 for a, b, _ in words)
    a, b, _ = words[1]
    assert sound[0, 0, round(16000 * a):round(16000 * b)].square().mean() > 1e-4
    with pytest.raises(InputError, match="make it longer"): Speech("one two three four five six seven eight").render(AudioContext(8000), generator=generator(0))


def test_speech_without_espeak_is_one_line(monkeypatch):
    import ctypes.util
    import sys
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(InputError, match="pip install espeakng-loader"): espeak()


def test_quotation_marks_of_both_languages():
    assert quoted('He says "hi" and “bye”') == "hi bye" and quoted("Sie sagt „Hallo“") == "Hallo" and quoted("nothing") == ""
