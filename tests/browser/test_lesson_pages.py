"""Exported lessons with the network blocked: figures answer, pictures have words, films have captions, and axe finds nothing serious."""

from pathlib import Path

import pytest
from lab import HERE, ROOT, chromium, serious

from sora_kit.lesson_build import build, new_lesson
from sora_kit.lesson_format import languages

LESSONS = [(p.parent, lang) for p in sorted((ROOT / "lessons").glob("*/lesson.ipynb")) for lang in languages(p.parent)]
ENGLISH = ("Film strip", "sampling steps", "frame 0", "Previous slide")


@pytest.fixture(scope="module")
def page():
    with chromium(color_scheme="light") as page:
        page.asked = []
        page.context.route("**/*", lambda route: route.continue_() if route.request.url.startswith(("file:", "data:", "blob:")) else (page.asked.append(route.request.url), route.abort()))
        yield page


def figures(page) -> list:
    "The frames of a page's figures, once each has been scrolled to and drawn."
    found = []
    for frame in page.locator("iframe:visible").element_handles():
        frame.scroll_into_view_if_needed()
        inside = frame.content_frame()
        inside.wait_for_selector(".sk .words, .sk .question", state="attached")
        found.append(inside)
    return found


def answers(figure) -> bool:
    "Whether a figure does something when it is touched with the keyboard; a quiz, when an answer is chosen."
    if figure.query_selector(".question"):
        figure.locator(".question:has(input[type=radio]) input").first.check()
        figure.locator(".said:not(:empty)").first.wait_for()
        return True
    seen = "() => (document.querySelector('.sk').dataset.drawn || '') + document.querySelector('.sk .words').innerText + [...document.querySelectorAll('input')].map(i => i.ariaValueText || i.getAttribute('aria-valuetext')).join()"
    figure.wait_for_function("document.querySelector('.sk .words').innerText.trim()")
    before = figure.evaluate(seen)
    slider = figure.locator(".sk input[type=range]:visible").first
    slider.focus()
    slider.press("Home")
    slider.press("ArrowRight")
    figure.wait_for_function(f"before => ({seen})() !== before", arg=before)
    return True


def looked_at(page, path: Path, lang: str, count: int):
    "Everything that must be true of a lesson's page."
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.lang") == lang and page.title()
    found = figures(page)
    assert len(found) >= count and all(answers(figure) for figure in found)
    for part in (page.main_frame, *found):
        part.evaluate((HERE / "axe.min.js").read_text(encoding="utf-8") + ";0")
        assert serious(part) == []
        assert part.evaluate("[...document.querySelectorAll('img')].filter(i => !i.alt && i.ariaHidden !== 'true').length") == 0
        assert part.evaluate("[...document.querySelectorAll('video')].filter(v => !v.querySelector('track[kind=captions], track[kind=subtitles]')).length") == 0
    alts = page.evaluate("[...document.querySelectorAll('img')].map(i => i.alt).join()") + page.inner_text("main")
    assert lang == "en" or not [words for words in ENGLISH if words in alts], "English is left over"
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert page.asked == [] and page.problems == []


def turned(page, path: Path, lang: str):
    "Everything that must be true of a lesson's slides."
    page.goto(path.as_uri())
    place = page.locator("#turn [role=status]")
    last = int(place.inner_text().split("/")[1])
    assert last >= 4 and page.locator("main .jp-Cell.now h1").count() == 1
    for n in range(1, last + 1):
        assert place.inner_text() == f"{n} / {last}"
        assert page.locator("main .jp-Cell.now :is(h1, h2, h3):visible").count() >= 1, f"slide {n} has no heading"
        page.keyboard.press("ArrowRight")
    page.locator("#turn button").last.click()
    assert place.inner_text() == "" and page.locator("main .jp-Cell:visible").count() > last
    assert serious(page) == [] and page.asked == [] and page.problems == []
    assert lang == "en" or not page.get_by_role("button", name="Previous slide").count()


def test_a_new_lesson_as_pages(page, tmp_path):
    html, slides = build(new_lesson(tmp_path, "20_light", "How bright is a film?"), tmp_path / "pages", ("html", "slides"))
    looked_at(page, html, "en", 1)
    turned(page, slides, "en")


@pytest.mark.slow
@pytest.mark.parametrize("folder, lang", [pytest.param(*x, id=f"{x[0].name}-{x[1]}") for x in LESSONS])
def test_a_lesson_as_pages(folder, lang, page, tmp_path):
    html, slides = build(folder, tmp_path, ("html", "slides"), lang)
    looked_at(page, html, lang, 1 if folder.name == "13_plugin" else 2)
    turned(page, slides, lang)
