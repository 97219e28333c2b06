"""Figures without a browser: what is in their pages, what is packed, what is refused."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import torch
from tiny_model import write_tiny

import sora_kit
from sora_kit.core import Audio, Clip
from sora_kit.explorer import changes, step_explorer
from sora_kit.figures import MOST_BYTES, Figure, Parts, embedded, schedule_figure, script, smaller, static, still
from sora_kit.files import InputError
from sora_kit.flow import shift_times
from sora_kit.race import apart, film_race, lap, race_figure
from sora_kit.run import Run
from sora_kit.samplers import flow_levels
from sora_kit.session import Session
from sora_kit.timeline import best_lag, motion, peaks, sync_figure
from sora_kit.trace import Trace
from sora_kit.vectors import guidance_vectors, plane

STATIC = Path(sora_kit.__file__).parent / "static"
VIEWS = sorted(p.stem for p in STATIC.glob("*.js") if p.stem != "common")
BAD = "a dog </script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    return Session(write_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def trace(session):
    return Trace.record(Run(session, BAD, steps=3))


# The JavaScript files


@pytest.mark.parametrize("view", VIEWS)
def test_a_figure_is_one_module_that_loads_nothing(view):
    text = script(view)
    assert text.rstrip().endswith("export default { render };") and text.count("export default") == 1
    assert not re.search(r"https?://(?!www\.w3\.org)|^\s*import\b|\bimport\(|\beval\(|new Function|\bfetch\(|XMLHttpRequest", text, re.MULTILINE)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text), "text from people must become text nodes"
    assert "@import" not in static("figure.css") and "url(" not in static("figure.css")


def test_translations_are_of_words_that_figures_say():
    source = "".join(static(f"{view}.js") for view in (*VIEWS, "common")) + "".join((Path(sora_kit.figures.__file__).parent / f"{name}.py").read_text() for name in ("figures", "vectors", "explorer", "race", "timeline"))
    joined = re.sub(r'"\s*\n\s*"', "", source)
    german = json.loads(static("de.json"))
    assert [text for text in german if f'"{text}"' not in joined] == [], "nobody says these any more"
    asked = {m for view in ("common", "schedule", "vectors", "steps", "race", "sync") for m in re.findall(r'say\("([^"]+)"', static(f"{view}.js"))}
    assert asked - set(german) == set() and all(one.count("{}") == other.count("{}") for one, other in german.items())


def test_the_files_are_in_the_package():
    assert '"static/*"' in (Path(__file__).parent.parent / "setup.py").read_text()


# Pages


def test_hostile_text_stays_text_in_pages():
    page = Figure("schedule", {"title": BAD, "parts": []}, BAD, b"").page()
    assert "<img" not in page and page.count("</script>") == 4
    state = re.search(r'id="state">(.*?)</script>', page, re.DOTALL)[1]
    assert json.loads(state)["data"]["title"] == BAD
    frame = Figure("schedule", {"title": BAD}, BAD).frame()
    assert frame.count("<") == 2 and "<iframe" in frame
    assert "<" not in embedded([BAD])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_know_are_refused(value):
    with pytest.raises(ValueError):
        embedded({"x": value})


def test_the_blob_has_a_limit_and_keeps_its_order():
    parts = Parts()
    numbers = [parts.numbers(torch.tensor([1.5, -2.0])), parts.add(b"abc", "text/plain"), parts.numbers(torch.ones(3))]
    assert numbers == [0, 1, 2]
    for start, length, _ in parts.table:
        assert start % 4 == 0 and start + length <= len(parts.blob)
    start, length, _ = parts.table[0]
    assert torch.equal(torch.frombuffer(bytearray(parts.blob[start : start + length]), dtype=torch.float32), torch.tensor([1.5, -2.0]))
    with pytest.raises(InputError, match="fewer"):
        parts.add(bytes(MOST_BYTES), "video/mp4")


def test_figures_are_saved_as_pages_and_nothing_else(tmp_path):
    figure = race_figure(budgets=(4,), count=10)
    assert figure.save(tmp_path / "race.html").read_text(encoding="utf-8") == figure.page()
    with pytest.raises(InputError, match="html"):
        figure.save(tmp_path / "race.png")
    bundle, _ = figure._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}, "outside a kernel there is no live widget"


def test_an_exported_notebook_asks_no_server(tmp_path):
    figure = race_figure(budgets=(4,), count=10)
    bundle, _ = figure._repr_mimebundle_()
    book = nbformat.v4.new_notebook(metadata={"widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"abc": {}}}}})
    data = {**bundle, "application/vnd.jupyter.widget-view+json": {"model_id": "abc", "version_major": 2, "version_minor": 1}}
    book.cells = [nbformat.v4.new_markdown_cell("# Title\n$x_t$"), nbformat.v4.new_code_cell("figure", outputs=[nbformat.v4.new_output("display_data", data=data)])]
    path = tmp_path / "lesson.ipynb"
    nbformat.write(book, path)
    page = still(path)
    assert "srcdoc=" in page and "model_id" not in page and not re.findall(r'(?:src|href)="(?:https?:)?//[^"]*"', page)


# What the figures compute


def test_the_explorer_has_every_step_in_picture_and_sound(trace):
    figure = step_explorer(trace, every=8, size=32, sounds=2)
    data = figure.data
    assert len(data["rows"]) == len(data["x0"]) == len(data["x"]) == len(data["mels"]) == 3 and data["frames"] == [0, 8, 16] and len(data["sounds"]) == 2
    assert data["title"] == trace.prompt and data["rows"][0]["change"] is None and data["rows"][-1]["to"] == 0
    kinds = [kind for _, _, kind in data["parts"]]
    assert kinds.count("image/jpeg") == 9 and kinds.count("audio/mp4") == 2 and sum(n for _, n, _ in data["parts"]) <= len(figure.blob)
    assert changes(trace)[1][0] > 0
    json.dumps(data, allow_nan=False)


def test_an_empty_trace_is_refused(session):
    with pytest.raises(InputError, match="record"):
        step_explorer(Trace(Run(session, "a dog", steps=2)))


def test_a_race_counts_questions_and_ends_where_the_sampler_ends(session):
    registry, x = session.registry, torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    from sora_kit.race import RING

    places, asked = lap(registry, "heun", 8, x, RING.denoise)
    assert asked[-1] <= 8 and len(places) == len(asked) == 5 and torch.equal(places[0], x)
    errors = {lane["name"]: lane["error"] for lane in race_figure(budgets=(32,), count=40).data["budgets"][0]["lanes"]}
    assert errors["heun"] < errors["euler"] and errors["unipc-2"] < errors["euler"] and apart(x, x) == 0
    figure = film_race(session, BAD, samplers=("euler", "heun"), questions=2, size=32)
    assert [len(lane["strips"]) for lane in figure.data["budgets"][0]["lanes"]] == [3, 2]
    for wrong in ((), ("euler",) * 5):
        with pytest.raises(InputError, match="lanes"):
            race_figure(wrong)


def test_the_plane_of_guidance_is_exact(trace):
    cond, uncond = trace.cond(1), trace.uncond(1)
    c, u = (torch.tensor(v, dtype=torch.float64) for v in plane(cond, uncond))
    for w in (0.0, 1.0, 7.5):
        whole = (uncond + w * (cond - uncond)).double().norm() / cond.numel() ** 0.5
        assert abs(float((u + w * (c - u)).norm() - whole)) < 1e-5 * max(1, float(whole))
    figure = guidance_vectors(trace, scales=(0.0, 2.0), pictures=1, size=32)
    assert len(figure.data["rows"]) == 3 and sum(p is not None for p in figure.data["pictures"]) == 1


def test_without_two_answers_there_are_no_arrows(session):
    with pytest.raises(InputError, match="guidance"):
        guidance_vectors(Trace.record(Run(session, "a dog", steps=1, guidance="none")))


@pytest.mark.parametrize("late", [-0.25, 0.0, 0.125])
def test_the_time_line_finds_a_lag(late):
    frames, wave = torch.zeros(17, 32, 32, 3, dtype=torch.uint8), torch.zeros(34000)
    for k, i in enumerate((4, 9, 13)):
        frames[i:] = 60 * (k + 1)
        start = round((i / 8 + late) * 16000)
        wave[start : start + 800] = torch.exp(-torch.arange(800) / 200) * 0.8
    clip = Clip(frames, audio=Audio(wave), captions=((0.0, 1.0, BAD),))
    assert abs(best_lag(clip)[0] - late) <= 1 / 8 + 1e-6 and peaks(motion(clip), 8) == [0.5, 1.125, 1.625]
    figure = sync_figure(clip)
    assert "<img" not in figure.page() and len(figure.data["loudness"]) > 200
    with pytest.raises(InputError, match="sound"):
        sync_figure(Clip(frames))


def test_still_and_silent_clips_have_a_time_line():
    data = sync_figure(Clip(torch.zeros(1, 32, 32, 3, dtype=torch.uint8), audio=Audio(torch.zeros(2000)))).data
    assert data["peaks"] == [] and data["onsets"] == []
    json.dumps(data, allow_nan=False)


def test_frames_are_made_smaller_and_never_larger():
    frames = torch.randint(0, 255, (2, 60, 90, 3), dtype=torch.uint8)
    assert smaller(frames, 45).shape == (2, 30, 45, 3) and smaller(frames, 500) is frames


def test_the_schedule_explorer_starts_at_the_samplers_levels():
    data = schedule_figure(torch.zeros(3, 32, 32, 3, dtype=torch.uint8), steps=10, shift=3.0).data
    assert data["steps"] == 10 and data["shift"] == 3.0
    assert torch.allclose(flow_levels(10), torch.tensor([shift_times(1 - i / 10, 1.0) for i in range(11)], dtype=torch.float64))
