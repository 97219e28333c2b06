"""Tests that need a real browser. Where there is none they are left out, and the run says so at its end."""

import importlib.util
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from lab import CHROMIUM

MISSING = "Chromium" if CHROMIUM is None else "Playwright" if importlib.util.find_spec("playwright") is None else ""


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: needs Chromium and Playwright")


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker("browser")
            if MISSING:
                item.add_marker(pytest.mark.skip(reason=f"{MISSING} is not installed"))


def pytest_terminal_summary(terminalreporter):
    left_out = [r for r in terminalreporter.stats.get("skipped", []) if "is not installed" in str(r.longrepr)]
    if left_out and MISSING:
        terminalreporter.write_line(f"LEFT OUT: {len(left_out)} tests in a real browser, because {MISSING} is not installed", red=True)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    "A folder with weights that make a film in a moment."
    from tiny_model import write_tiny

    return write_tiny(tmp_path_factory.mktemp("tiny"))
