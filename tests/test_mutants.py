"""For every promise of the contract a component that breaks it, and it alone."""
import sys
import textwrap

import mutants
import pytest

from sora_kit.components import ComponentSpec
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
    "An installed plugin whose list of components imports torch."
    folder = tmp_path_factory.mktemp("heavy")
    (folder / "heavy_list.py").write_text(textwrap.dedent("""
        import torch
        from sora_kit.hooks import ComponentSpec
        from sora_kit.builtin import BUILTIN
        def sora_samplers(): return [ComponentSpec("heavy/" + s.name, s.factory, s.summary, s.kind, s.caps, s.params) for s in BUILTIN if s.kind == "sampler"]
        def sora_guidance(): return [ComponentSpec("heavy/" + s.name, s.factory, s.summary, s.kind, s.caps, s.params) for s in BUILTIN if s.kind == "guidance"]
    """))
    about = folder / "heavy-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: heavy\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[sora_kit]\nheavy = heavy_list\n")
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.mark.parametrize("name, spec, check", mutants.MUTANTS, ids=[f"{spec.kind}-{check}-{name}" for name, spec, check in mutants.MUTANTS])
def test_a_mutant_fails_exactly_its_check(name, spec, check):
    report = examined(spec)
    assert report.failed == (check,), str(report)


@pytest.mark.parametrize("name", ["heavy/euler", "heavy/cfg"])
def test_a_list_that_imports_torch_fails_exactly_its_check(heavy, name):
    from sora_kit.builtin import BUILTIN
    ours = next(s for s in BUILTIN if s.name == name.partition("/")[2])
    report = examined(ComponentSpec(name, ours.factory, ours.summary, ours.kind, ours.caps, ours.params))
    assert report.failed == ("light_listing",), str(report)


@pytest.mark.parametrize("kind", CONTRACTS)
def test_every_check_has_a_mutant(kind):
    "Checks that all kinds share (listing, controls, recipes) need one mutant in any kind."
    broken = {check for _, spec, check in mutants.MUTANTS if spec.kind == kind}
    shared = {check for _, _, check in mutants.MUTANTS} & {"controls", "recipe_replays"} | {"light_listing"}
    names = {c.name for _, spec, _ in mutants.of_kind(kind) for c in checks_of(spec)}
    assert names - broken - shared == set() and broken <= names


def test_a_right_lesson_is_right_and_is_not_imported():
    report = examined(ComponentSpec("mutants/right", "lesson_zoo:right", "right", "lesson"))
    assert report.ok and report.count("passed") == 4, str(report)
    assert "lesson_zoo" not in sys.modules
