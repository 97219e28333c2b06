"""The contract kit itself: the built-in components pass it, and its reports hide nothing."""
import importlib.util
import subprocess
import sys

import pytest

from sora_kit.builtin import BUILTIN
from sora_kit.components import ComponentSpec
from sora_kit.samplers import Euler
from sora_kit.testing import CONTRACTS, Report, check_guidance, check_in_child, check_sampler, checks_of, minimum, parametrize_with_contract

KNOWN = [spec for spec in BUILTIN if spec.kind in ("sampler", "guidance")]


@parametrize_with_contract(KNOWN)
def test_contract(check):
    check.run()


def test_minimum_is_within_reach():
    "A component for which listing cannot be checked must still be able to pass."
    for spec in KNOWN:
        assert len(checks_of(spec)) - 2 <= minimum(spec) < len(checks_of(spec))
    assert set(CONTRACTS) == {"sampler", "guidance", "style_adapter", "audio_module", "safety_filter", "actor", "lesson"}


def test_expected_failures_are_strict_and_named():
    cfg = next(s for s in BUILTIN if s.id == "sora_kit/cfg")
    report = check_guidance(cfg, expected={"controls": "it is said to fail"})
    assert report.failed == ("controls",) and not report.ok and "remove that remark" in str(report)
    with pytest.raises(ValueError, match="there is no such check"):
        check_guidance(cfg, expected={"kontrols": "typing"})
    with pytest.raises(ValueError, match="use check_guidance"):
        check_sampler(cfg)


def test_a_report_survives_json_and_fails_below_the_minimum():
    report = check_guidance(next(s for s in BUILTIN if s.id == "sora_kit/none"))
    assert report.ok and Report.from_json(report.to_json()) == report
    few = Report(report.id, report.kind, report.minimum, report.outcomes[:3])
    assert not few.ok and not few.failed and "only 3 passed" in few.summary


def test_the_child_reports_and_outlives_a_time_limit():
    assert check_in_child("sora_kit/apg", 60).ok
    late = check_in_child("sora_kit/apg", .01)
    assert not late.ok and "longer than 0.01 s" in late.note
    nobody = check_in_child("sora_kit/nobody", 60)
    assert not nobody.ok and "nobody" in nobody.note


PLUGIN_TEST = """
import pytest
from sora_kit.builtin import BUILTIN
from sora_kit.testing import parametrize_with_contract
@parametrize_with_contract([s for s in BUILTIN if s.id == "sora_kit/cfg"])
def test_contract(check): {body}
"""


@pytest.mark.parametrize("body, options, code, says", [("check.run()", [], 0, "11 passed"), ("pytest.skip('no time')", [], 1, "NOT right"),
    ("check.run()", ["-n", "2", "-k", "keeps"], 0, "10 deselected"), ("pytest.skip('no time')", ["-n", "2"], 1, "NOT right")], ids=["all", "skipped", "a part, two workers", "skipped, two workers"])
def test_the_pytest_plugin_counts(tmp_path, body, options, code, says):
    "A session in which everything was skipped is no success; one in which the user asked for a part is."
    (tmp_path / "test_it.py").write_text(PLUGIN_TEST.format(body=body))
    asked = "import importlib.metadata as m; print(any(e.value == 'sora_kit.pytest_plugin' for e in m.entry_points(group='pytest11')))"
    known = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, cwd=tmp_path).stdout.strip() == "True"
    plugin = [] if known else ["-p", "sora_kit.pytest_plugin"]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code and says in done.stdout and "contracts of sora_kit components" in done.stdout, done.stdout + done.stderr


def test_one_check_may_be_run_by_its_name(tmp_path):
    (tmp_path / "test_it.py").write_text(PLUGIN_TEST.format(body="check.run()"))
    pytest_here = lambda *options: subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options], cwd=tmp_path, capture_output=True, text=True)
    name = pytest_here("--collect-only").stdout.splitlines()[0]
    done = pytest_here(name)
    assert "test_contract[" in name and done.returncode == 0 and "1 run (1 passed)" in done.stdout, done.stdout + done.stderr


def test_a_check_that_exits_is_a_failure_and_not_the_end():
    class Exits(Euler):
        def schedule(self, steps, *, info): sys.exit(0)
    report = check_sampler(ComponentSpec("notebook/exits", Exits, "exits", "sampler", {**BUILTIN[0].caps}))
    assert "levels_fall" in report.failed and "SystemExit" in str(report)


@pytest.mark.skipif(importlib.util.find_spec("diffusers") is None, reason="diffusers is not installed: pip install 'sora_kit[diffusers]'")
def test_a_wrapped_scheduler_repeats_its_measured_order():
    from sora_kit.diffusers_samplers import flow_schedulers
    from sora_kit.flow import Mixture
    from sora_kit.sampler_checks import path_errors, slope
    euler = flow_schedulers()[0].make()
    steps = (10, 20, 40)
    assert slope(steps, path_errors(euler, Mixture(), steps), 1e-9) > .75
