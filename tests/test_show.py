"""Figures carry words, and exported stills say what they are."""

from fractions import Fraction

import pytest
import torch
from PIL import Image

from sora_kit.core import Audio, Clip, Recipe
from sora_kit.files import InputError
from sora_kit.show import contact_sheet, film_strip, picked, save_gif, save_strip, show_latents, show_sound, show_steps

CLIP = Clip(
    (torch.rand(5, 32, 48, 3) * 255).to(torch.uint8), Fraction(8), Audio(torch.rand(10000) - 0.5), recipe=Recipe("a cat & <b>$x$</b>")
)
FLOAT = torch.rand(5, 3, 32, 48)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: film_strip(CLIP), "cat"),
        (lambda: film_strip(FLOAT, n=3, title="x"), "3 frames"),
        (lambda: film_strip(FLOAT[:1]), "1 frames"),
        (lambda: contact_sheet([CLIP, FLOAT]), "cat"),
        (lambda: contact_sheet([FLOAT] * 7, ["$a_b$"] * 7, columns=3), "$a_b$"),
        (lambda: show_sound(CLIP, [(0.2, "bark")]), "bark at 0.20"),
        (lambda: show_sound(Audio(torch.zeros(2, 5000))), "0.31 s"),
        (lambda: show_latents(torch.randn(4, 3, 8, 8)), "4 of 4 channels"),
        (lambda: show_latents(torch.zeros(16, 1, 4, 4)), "8 of 16"),
        (lambda: show_steps([FLOAT] * 9, rows=3), "step 0 to step 8"),
        (lambda: show_steps([FLOAT], ["t = 1"], title="one"), "one"),
    ],
)
def test_pictures_have_alternative_text(make, says):
    picture = make()
    data, metadata = picture._repr_mimebundle_()
    assert says in picture.alt and metadata["image/png"]["alt"] == picture.alt and data["image/png"].startswith("iVBOR")


def test_picked_covers_both_ends():
    assert picked(17, 8)[0] == 0 and picked(17, 8)[-1] == 16 and picked(3, 8) == [0, 1, 2] and picked(9, 1) == [0] and picked(1, 4) == [0]


def test_wrong_things_are_refused():
    for call in (
        lambda: film_strip(torch.zeros(3, 4)),
        lambda: contact_sheet([]),
        lambda: show_latents(torch.zeros(1, 4, 3, 8, 8)),
        lambda: show_sound(Clip(CLIP.frames)),
    ):
        with pytest.raises(InputError):
            call()


def test_stills_say_what_they_are(tmp_path):
    strip = Image.open(save_strip(CLIP, tmp_path / "a.png", n=3))
    strip.load()
    assert strip.size == (144, 32) and strip.info["Artist"] == "AI-generated, sora_kit" and "cat" in strip.info["Title"]
    gif = Image.open(save_gif(CLIP, tmp_path / "a.gif"))
    assert gif.n_frames == 5 and b"AI-generated, sora_kit" in gif.info["comment"]
    assert film_strip(CLIP).save(tmp_path / "b.png").stat().st_size > 1000
