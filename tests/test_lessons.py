"Lessons from anybody: read without running, split without leaking, checked for what they claim. What runs whole lessons is marked slow."

import json
import shutil
import sys
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from sora_kit.cli import main
from sora_kit.components import ComponentSpec
from sora_kit.files import InputError
from sora_kit.lesson_build import a11y, new_lesson, page_problems, split
from sora_kit.lesson_check import check_lesson, different, problems, run_lesson
from sora_kit.lesson_format import Source, languages, read_yaml
from sora_kit.lessons import LOCAL, Lesson, find_lesson, find_lessons, plugin_folder

LESSONS = sorted(p.parent for p in (Path(__file__).resolve().parent.parent / "lessons").glob("*/lesson.ipynb"))
EVERY = [pytest.param(folder, lang, id=f"{folder.name}-{lang}") for folder in LESSONS for lang in languages(folder)]
TRAP = "raise SystemExit('a lesson was run')"


@pytest.fixture
def lesson(tmp_path):
    return new_lesson(tmp_path, "20_light", "How bright is a film?")


def edited(folder, change):
    book = json.loads((folder / "lesson.ipynb").read_text())
    change(book)
    (folder / "lesson.ipynb").write_text(json.dumps(book))


@pytest.mark.parametrize("folder, lang", EVERY)
def test_lessons_are_complete(folder, lang):
    assert problems(folder, lang) == [] and a11y(folder, lang) == []


PARTS = {"en": ("**The question.**", "**Time:**", "## Quiz", "## What could go wrong", "## Sources", "lesson.quiz()"),
         "de": ("**Die Frage.**", "**Dauer:**", "## Quiz", "## Was schiefgehen kann", "## Quellen", "lesson.quiz()")}


@pytest.mark.parametrize("folder, lang", EVERY)
def test_lessons_have_all_their_parts_and_fit_into_an_hour(folder, lang):
    source = Source.read(folder, lang)
    text = "\n".join(c.text for c in source.cells)
    assert [part for part in PARTS[lang] if part not in text] == []
    assert source.info.minutes <= 45 and source.info.cpu_s <= (360 if source.info.id == "14_training" else 60)
    for name, exercise in source.exercises.items():
        told = [source.hints[name].get("messages", {}).get(c.name) or c.message for c in exercise.checks if not c.hidden]
        assert len(set(told)) == len(told), f"two checks of {name} say the same"


@pytest.mark.parametrize("folder, lang", [p for p in EVERY if p.values[1] != "en"])
def test_translations_share_the_code_and_translate_the_rest(folder, lang):
    english, other = Source.read(folder), Source.read(folder, lang)
    assert different(english, other) == [] and other.info.language == lang
    pairs = [(a.text, b.text) for a, b in zip(english.cells, other.cells) if a.kind == "markdown" and len(a.text) > 40]
    assert pairs and all(a != b for a, b in pairs)
    for name, exercise in english.exercises.items():
        told = other.hints[name].get("messages", {})
        assert {c.name for c in exercise.checks if c.message} <= set(told), f"{name} has untranslated messages"
        assert len(other.hints[name]["stages"]) == len(english.hints[name]["stages"])


@pytest.mark.slow
@pytest.mark.parametrize("folder", LESSONS, ids=lambda p: p.name)
def test_solutions_pass_and_stubs_and_wrong_answers_fail(folder):
    done = check_lesson(folder)
    assert done.ok, str(done)


def test_the_new_lesson_works(lesson):
    assert run_lesson(lesson).ok and problems(lesson) == []


def test_a_lesson_of_your_own_is_found_by_its_number(tmp_path, monkeypatch):
    new_lesson(tmp_path / "lessons", "20_light", "How bright is a film?")
    monkeypatch.chdir(tmp_path)
    assert find_lesson("20").folder == tmp_path / "lessons" / "20_light" and find_lesson("1").id == "01_noise"


def test_a_solution_that_fails_and_a_stub_that_passes_are_found(lesson):
    def spoil(book):
        for cell in book["cells"]: cell["source"] = cell["source"].replace("frames.float().mean((1, 2, 3)) / 255", "frames.float().mean()")
    edited(lesson, spoil)
    assert any("the solution fails shape" in line for line in run_lesson(lesson).wrong)
    edited(lesson, lambda book: [c.update(source="def test_shape(lesson): pass") for c in book["cells"] if "def test_" in c["source"]][:0])
    assert any("the empty stub passes" in line for line in run_lesson(lesson).wrong)


def test_each_wrong_answer_gets_the_message_of_its_own_check(lesson):
    mine = Lesson("20_light", lesson)
    import torch
    frames = torch.full((4, 6, 6, 3), 100, dtype=torch.uint8)
    told = [mine.check("ex1", frames=frames, brightness=f) for f in (lambda x: x.float().mean() / 255, lambda x: x.float().mean((1, 2, 3)))]
    assert [t.failed for t in told] == ["shape", "range"] and told[0].message != told[1].message
    assert [mine.hint("ex1")[:11] for _ in range(4)] == ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3", "Hint 3 of 3"]


def test_students_get_neither_solutions_nor_hidden_checks(lesson, tmp_path):
    path = split(lesson, tmp_path / "out")
    everything = "".join(p.read_text() for p in path.parent.rglob("*") if p.is_file())
    assert "test_grey" not in everything and "/ 255\\n" not in path.read_text() and "SOLUTION" not in everything
    away = Lesson("20_light", path.parent)
    assert list(away.exercises) == ["ex1"] and len(away.exercises["ex1"].checks) == 2


def test_students_work_is_never_overwritten(lesson, tmp_path):
    path = split(lesson, tmp_path / "out")
    path.write_text("my answers")
    with pytest.raises(InputError, match="in it already"): split(lesson, tmp_path / "out")
    assert path.read_text() == "my answers"


def test_reading_listing_and_splitting_run_nothing(lesson, tmp_path):
    edited(lesson, lambda book: [c.update(source=TRAP + "\n" + c["source"]) for c in book["cells"] if c["cell_type"] == "code" and '"""' not in c["source"]][:0])
    infos, wrong = find_lessons(folder=tmp_path)
    assert any(i.id == "20_light" for i in infos) and not wrong
    split(lesson, tmp_path / "out")
    problems(lesson)
    a11y(lesson)


def test_somebody_who_has_written_nothing_is_told_of_no_mistake(lesson):
    def brightness(frames): "Nothing yet."
    told = Lesson("20_light", lesson).check("ex1", frames=None, brightness=brightness)
    assert not told and told.message == "" and "gives nothing back" in told.found


def test_a_plugins_lesson_lists_and_opens_and_runs_only_when_it_is_checked(tmp_path, monkeypatch, capsys):
    "An installed package with an entry point, whose lesson writes a file as soon as any of its cells runs."
    package, about, ran = tmp_path / "site" / "shady", tmp_path / "site" / "shady-1.0.dist-info", tmp_path / "it ran"
    about.mkdir(parents=True)
    folder = new_lesson(package, "20_shadows", "Where does the shadow fall?")
    def traps(book):
        for cell in book["cells"]:
            if cell["cell_type"] == "code": cell["source"] = f"open({str(ran)!r}, 'w').close()\n" * ("test_" not in cell["source"]) + cell["source"]
    edited(folder, traps)
    (package / "__init__.py").write_text("from sora_kit.components import ComponentSpec\ndef sora_lessons():\n"
                                         "    return [ComponentSpec('shady/20_shadows', 'shady:20_shadows', 'Where does the shadow fall?', 'lesson')]\n")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shady\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sora_kit]\nshady = shady\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    for command in (["list"], ["list", "--json"], ["open", "shady/20_shadows", "--no-start"], ["split", "shady/20_shadows", "-o", "class"], ["a11y", "shady/20_shadows"]):
        assert main(["lessons", *command]) == 0, capsys.readouterr().err
        assert not ran.exists(), f"{command} ran the lesson"
    assert "shady/20_shadows" in capsys.readouterr().out and (tmp_path / "20_shadows" / "20_shadows.ipynb").is_file()
    assert main(["lessons", "check", str(folder)]) == 0 and ran.exists(), "the trap does not work"


def test_a_plugins_lesson_is_found_in_an_editable_install(tmp_path, monkeypatch):
    "pip install -e can put a finder of its own in place of a folder on the path."
    new_lesson(tmp_path / "elsewhere", "20_light", "Light")
    (tmp_path / "elsewhere" / "__init__.py").write_text(TRAP)
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            return spec_from_file_location(name, tmp_path / "elsewhere" / "__init__.py") if name == "edited_here" else None
    monkeypatch.setattr("sys.meta_path", [*sys.meta_path, Finder])
    assert plugin_folder(ComponentSpec("other/20_light", "edited_here:20_light", "a lesson", "lesson")) == (tmp_path / "elsewhere" / "20_light").resolve()


def test_a_plugins_package_is_not_imported_for_its_lesson(tmp_path, monkeypatch):
    package = tmp_path / "trapped"
    package.mkdir()
    (package / "__init__.py").write_text(TRAP)
    new_lesson(package, "20_light", "Light")
    monkeypatch.syspath_prepend(tmp_path)
    spec = ComponentSpec("other/20_light", "trapped:20_light", "a lesson", "lesson")
    infos, wrong = find_lessons([spec])
    assert [i.source for i in infos if i.id == "20_light"] == ["other"] and not wrong
    assert find_lesson("other/20_light", [spec]).folder == (package / "20_light").resolve()
    for factory in ("trapped:../..", "trapped:/etc", "no_such_package:x", "os.path:x"):
        with pytest.raises(InputError): plugin_folder(ComponentSpec("other/x", factory, "a lesson", "lesson"))


@pytest.mark.parametrize("name, content", [
    ("lesson.ipynb", b"{" * 50_000), ("lesson.ipynb", b" " * 4_000_001), ("lesson.ipynb", b'{"cells": 3}'), ("lesson.ipynb", b"\xff\xfe"), ("lesson.ipynb", b"[]"),
    ("hints.yml", b"ex1: &a [x]\nex2: *a"), ("hints.yml", b"- " * 30_000), ("hints.yml", b"ex1: {stages: 3}"), ("hints.yml", b"!!python/object/apply:os.system [ls]")])
def test_damaged_files_are_one_clear_line(lesson, name, content):
    (lesson / name).write_bytes(content)
    with pytest.raises(InputError) as problem: Source.read(lesson)
    assert len(str(problem.value)) < 500 and "\n" not in str(problem.value)


@pytest.mark.parametrize("id", ["..", ".git", "-x", "a/b", ""])
def test_an_id_is_a_name_and_no_place(lesson, id):
    edited(lesson, lambda book: book["metadata"]["sora_kit"].update(id=id))
    with pytest.raises(InputError, match="id"): Source.read(lesson)


def test_a_folder_takes_one_lesson(lesson, tmp_path):
    mine = tmp_path / "mine"
    split(lesson, mine)
    kept = (mine / LOCAL).read_bytes()
    with pytest.raises(InputError, match="another lesson"): split(new_lesson(tmp_path / "more", "21_dark", "Dark"), mine)
    assert (mine / LOCAL).read_bytes() == kept


def test_a_plugins_lesson_takes_no_number_from_a_shipped_one(tmp_path, monkeypatch):
    theirs = tmp_path / "site" / "their_lessons"
    theirs.mkdir(parents=True)
    (theirs / "__init__.py").write_text("")
    new_lesson(theirs, "01_noise", "Theirs")
    monkeypatch.syspath_prepend(str(theirs.parent))
    specs = [ComponentSpec("theirs/01_noise", "their_lessons:01_noise", "", "lesson")]
    assert find_lesson("1", specs).source == find_lesson("01_noise", specs).source == "sora_kit" and find_lesson("theirs/01_noise", specs).source == "theirs"


def test_links_out_of_a_lesson_are_refused(lesson, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (lesson / "media" / "dog.png").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match="must lie in the folder"): split(lesson, tmp_path / "out")
    (lesson / "hints.yml").unlink()
    (lesson / "hints.yml").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match="must lie in the folder"): Source.read(lesson)


def test_a_damaged_checks_file_is_one_clear_line(tmp_path):
    (tmp_path / LOCAL).write_text('{"id": "77_gone", "checks": {"ex1": [{"name": "x", "run": "rm"}]}}')
    with pytest.raises(InputError, match="damaged"): Lesson("77_gone", tmp_path)


@pytest.mark.parametrize("text", ["a: !!bool maybe", "a: !!int ''", "a: !!timestamp x", "a: !!float ''"])
def test_yaml_that_cannot_be_built_is_one_clear_line(text):
    with pytest.raises(InputError, match="not YAML"): read_yaml(text, "hints.yml")


def test_yaml_makes_no_objects():
    with pytest.raises(InputError): read_yaml("a: !!python/name:os.system", "x")


def test_page_rules_see_what_is_missing():
    assert page_problems('<html lang="en"><h1>A</h1><img src="x"></html>') == ["a picture has no alternative text"]



def test_a_copy_with_the_same_id_is_reported(tmp_path):
    copy = Path(shutil.copytree(LESSONS[0], tmp_path / "21_mine"))
    infos, wrong = find_lessons(folder=tmp_path)
    assert [i.folder for i in infos if i.id == LESSONS[0].name] == [copy]
    assert any(str(LESSONS[0]) in line and str(copy) in line and "change `id`" in line for line in wrong)
