"""The figures of lessons 3, 4 and 14 as pages, with the network blocked: keyboard, words, tables, and pictures that follow."""

import pytest
import torch
from lab import chromium, serious

from sora_kit.core import Clip
from sora_kit.latents import latent_viewer
from sora_kit.patches import patch_viewer
from sora_kit.session import Session
from sora_kit.training import Diary, training_film

BAD = "a dog <img src=x onerror=alert(1)></script>"


def clip() -> Clip:
    g = torch.Generator().manual_seed(0)
    return Clip(torch.randint(0, 256, (17, 64, 64, 3), generator=g, dtype=torch.uint8), captions=((0.0, 2.0, BAD),))


def diary() -> Diary:
    kept = Diary([BAD, "a grey film"])
    for k in range(5):
        kept(50 * k, 2 - k / 4 if k else None, 2.2 - k / 4 + k**2 / 15, torch.full((2, 3, 16, 16, 3), 50 * k, dtype=torch.uint8))
    return kept


@pytest.fixture(scope="module")
def figures(tiny):
    backbone = Session(tiny).backbone
    return {"latents": latent_viewer(clip(), backbone, size=64, kept=(0, 1, 2)), "patches": patch_viewer(clip(), backbone, at=37), "training": training_film(diary())}


@pytest.fixture(scope="module")
def page():
    with chromium(color_scheme="light") as page:
        page.asked = []
        page.context.route("**/*", lambda route: route.continue_() if route.request.url.startswith(("file:", "data:", "blob:")) else (page.asked.append(route.request.url), route.abort()))
        yield page


@pytest.fixture
def shown(page, figures, tmp_path):
    "Opens a figure and waits until it is drawn."

    def show(view):
        page.emulate_media(color_scheme="light")
        page.goto(figures[view].save(tmp_path / f"{view}.html").as_uri())
        page.wait_for_selector(".sk[data-drawn]")
        return page

    return show


def says(page, words):
    page.locator(".sk .words", has_text=words).wait_for()


def drawn(page, state):
    page.wait_for_selector(f'.sk[data-drawn="{state}"]')


def slider(page, name):
    return page.locator(".sk .field", has_text=name).locator("input")


def picture(page, selector):
    return page.eval_on_selector(selector, "canvas => canvas.toDataURL()")


@pytest.mark.parametrize("view", ["latents", "patches", "training"])
def test_a_viewer_works_without_network_and_for_everybody(view, shown, page):
    shown(view)
    before = page.get_attribute(".sk", "data-drawn")
    slider = page.locator(".sk input[type=range]:visible").first
    slider.focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_function("before => document.querySelector('.sk').dataset.drawn !== before", arg=before)
    assert slider.get_attribute("aria-valuetext")
    page.locator(".sk summary").first.click()
    page.locator(".sk table tbody tr").first.wait_for()
    page.locator(".sk caption").first.wait_for()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert serious(page) == []
    assert all(page.eval_on_selector_all(".sk canvas[role=img]", "all => all.map(c => c.getAttribute('aria-label'))"))
    assert page.locator("img[src='x']").count() == 0 and page.problems == [] and page.asked == []


def test_a_channel_is_set_to_zero_and_comes_back(shown, page, figures):
    shown("latents")
    data = figures["latents"].data
    whole = picture(page, ".trio > div:last-child canvas")
    boxes = page.locator(".sk .channels label:not(.none)")
    assert boxes.count() == len(data["alone"]) == 4
    boxes.nth(2).click()
    says(page, f"without channel 2, the picture at 0.00 s has a PSNR of {data['alone'][2]['db'][0]:.1f} dB")
    assert picture(page, ".trio > div:last-child canvas") != whole
    boxes.nth(2).click()
    says(page, "with all 4 channels")
    assert picture(page, ".trio > div:last-child canvas") == whole
    boxes.nth(0).click()
    says(page, "without channel 0")
    page.keyboard.press("ArrowRight")
    says(page, "without channel 1")


def test_with_fewer_channels_the_ratio_grows(shown, page, figures):
    shown("latents")
    says(page, "12,288 pixel numbers become 256 latent numbers, 48 times fewer")
    page.get_by_label("all but a few").check()
    keep = slider(page, "Channels kept")
    keep.focus()
    page.keyboard.press("Home")
    says(page, "Nothing is told about this film")
    page.keyboard.press("ArrowRight")
    says(page, "become 64 latent numbers, 192 times fewer")
    assert page.locator(".sk .channels label.gone").count() == 3


def test_steps_through_the_cubes_agree_with_the_model(shown, page, figures):
    shown("patches")
    says(page, "5 groups × 4 rows × 4 columns = 80 tokens")
    says(page, "Token 37 is (group 2 × 4 + row 1) × 4 + column 1")
    for name, key, token in (("Column", "ArrowRight", 38), ("Row", "ArrowRight", 42), ("Group", "Home", 10), ("Token", "End", 79)):
        slider(page, name).focus()
        page.keyboard.press(key)
        says(page, f"Token {token} is")
    assert page.locator(".sk .pieces .numbers").count() == 4
    slider(page, "Token").focus()
    page.keyboard.press("Home")
    says(page, "It covers 1 frame of 16 × 16 pixels, 768 numbers; as latents they are 16")
    page.locator(".sk .pieces .numbers").first.wait_for()
    assert page.locator(".sk .pieces .numbers").count() == 1


def test_a_click_on_a_cube_shows_it(shown, page):
    shown("patches")
    box = page.locator(".sk canvas.block").bounding_box()
    page.locator(".sk canvas.block").click(position={"x": 4, "y": box["height"] - 8})
    says(page, "Token 12 is (group 0 × 4 + row 3) × 4 + column 0")
    before = picture(page, ".sk canvas.block")
    page.get_by_label("Pull the cubes apart").click()
    drawn(page, "12 false")
    assert picture(page, ".sk canvas.block") != before


def test_the_training_film_shows_each_moment(shown, page):
    shown("training")
    says(page, "It is lowest after")
    last = picture(page, ".sk .rows canvas")
    slider(page, "Moment").focus()
    page.keyboard.press("Home")
    says(page, "Before the first step the loss on held-out films is 2.20")
    assert picture(page, ".sk .rows canvas") != last
    page.locator(".sk summary").click()
    page.locator(".sk tbody tr").nth(4).wait_for()
    assert page.locator(".sk tbody tr").first.inner_text().split("\t") == ["0", "–", "2.20"]


def test_nothing_plays_on_its_own_and_everything_plays_on_demand(shown, page):
    page.emulate_media(reduced_motion="reduce")
    for view, button in (("latents", "Play the film"), ("patches", "Walk along the tokens"), ("training", "Watch it learn")):
        shown(view)
        assert page.locator(".sk button[aria-pressed=true]").count() == 0
        before = page.get_attribute(".sk", "data-drawn")
        page.get_by_role("button", name=button).click()
        page.wait_for_function("before => document.querySelector('.sk').dataset.drawn !== before", arg=before)
    page.emulate_media(reduced_motion="no-preference")
