"""For every promise of the contract a component that breaks it, and it alone."""
import inspect
import sys

import mutants
import pytest

from sora_kit import audio_checks, common_checks, sampler_checks, small_checks, style_checks
from sora_kit.components import ComponentSpec
from sora_kit.plugins import plugin_manager
from sora_kit.testing import CONTRACTS, checks_of, examined


@pytest.fixture(scope="module", autouse=True)
def lessons(tmp_path_factory):
    "A package of lessons that can be found and must not be imported."
    folder = tmp_path_factory.mktemp("lessons")
    mutants.write_lessons(folder)
    sys.path.append(str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def heavy(tmp_path_factory):
    "An installed plugin with a right component of every kind, whose list of components imports torch."
    folder = tmp_path_factory.mktemp("heavy")
    (folder / "heavy_list.py").write_text(HEAVY)
    about = folder / "heavy-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: heavy\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[sora_kit]\nheavy = heavy_list\n")
    sys.path.append(str(folder))
    yield {spec.kind: spec for spec in plugin_manager([str(folder)], names={}).find("heavy").specs}
    sys.path.remove(str(folder))


HEAVY = """
import torch
from sora_kit.hooks import ComponentSpec
from sora_kit.builtin import BUILTIN

def copied(name):
    ours = next(spec for spec in BUILTIN if spec.name == name)
    return [ComponentSpec(f"heavy/{name}", ours.factory, ours.summary, ours.kind, ours.caps, ours.params)]

def sora_samplers(): return copied("euler")
def sora_guidance(): return copied("cfg")
def sora_style_adapters(): return copied("film-noir")
def sora_audio_modules(): return copied("foley")
def sora_safety_filters(): return copied("prompt-filter")
def sora_lessons(): return [ComponentSpec("heavy/right", "lesson_zoo:right", "right", "lesson")]
def sora_actors(): return [ComponentSpec("heavy/child", "heavy_list:child", "the child of the cast", "actor")]

def child():
    from sora_kit.actors import CAST
    return CAST["child"]
"""


@pytest.mark.parametrize("name, spec, check", mutants.MUTANTS, ids=[f"{spec.kind}-{check}-{name}" for name, spec, check in mutants.MUTANTS])
def test_a_mutant_fails_exactly_its_check(name, spec, check):
    report = examined(spec)
    assert report.failed == (check,), str(report)


@pytest.mark.parametrize("kind", CONTRACTS)
def test_a_list_that_imports_torch_fails_exactly_its_check(heavy, kind):
    report = examined(heavy[kind])
    assert report.failed == ("light_listing",), str(report)


def names_of(kind: str) -> set:
    "Every check of a kind, in both stages of a style."
    specs = [ComponentSpec("x/y", "nowhere:Nothing", "", kind, {"stage": stage}) for stage in ("model", "frames")]
    return {check.name for spec in specs for check in checks_of(spec)}


@pytest.mark.parametrize("kind", CONTRACTS)
def test_every_check_has_a_mutant(kind):
    "Add a check without a mutant to any contract and this fails. The list that imports torch is a mutant of every kind."
    broken = {check for _, spec, check in mutants.MUTANTS if spec.kind == kind} | {"light_listing"}
    assert broken == names_of(kind)


def test_the_checks_of_the_modules_are_all_there():
    "A check that was written and forgotten in its list of tests would never run."
    modules = (common_checks, sampler_checks, small_checks, audio_checks, style_checks)
    functions = [f for module in modules for f in vars(module).values() if inspect.isfunction(f) and f.__module__ == module.__name__]
    written = {f.__name__ for f in functions if [*f.__annotations__][:1] == ["spec"] and f.__annotations__.get("return", 0) is None}
    assert written - {"replays"} == set().union(*map(names_of, CONTRACTS)), "replays is a tool of recipe_replays"


def test_a_right_lesson_is_right_and_is_not_imported():
    report = examined(ComponentSpec("mutants/right", "lesson_zoo:right", "right", "lesson"))
    assert report.ok and report.count("passed") == 4, str(report)
    assert "lesson_zoo" not in sys.modules
