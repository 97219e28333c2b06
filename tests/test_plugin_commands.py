"""`sora-kit plugins new | install | check | uninstall`: what is made is right, what is installed changes nothing else, what is removed leaves no trace."""
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from glob import glob
from importlib.metadata import version
from pathlib import Path

import pytest
from tiny_model import write_tiny

import sora_kit
from sora_kit.files import InputError, MachineError
from sora_kit.installed import config_folder, read_switches, write_switches
from sora_kit.plugin_check import parts_of
from sora_kit.plugin_commands import plugins_app
from sora_kit.plugin_install import checked_target, plan, runs_build_code, uninstall
from sora_kit.plugin_template import PLUGIN_KINDS, TEMPLATE, new_plugin, plugin_names

pytest.importorskip("copier", reason="copier is not installed: pip install 'sora_kit[plugins]'")
ROOT = Path(sora_kit.__file__).parent.parent
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "OMP_NUM_THREADS": "1"}     # 0: pip reads the name and not the sense
builds = pytest.mark.skipif(int(version("setuptools").split(".")[0]) < 77, reason="building needs setuptools 77")


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    "Settings of its own for each test, no allow-list, and a pip that asks nobody."
    for name, value in (OFFLINE | {"SORA_KIT_CONFIG": str(tmp_path / "settings")}).items(): monkeypatch.setenv(name, value)
    monkeypatch.delenv("SORA_KIT_PLUGINS", raising=False)


def wheel(folder: Path, name: str, *needs: str, number="1.0", table="[sora_kit]\n{0} = {0}\n") -> str:
    "A wheel with an empty plugin and the metadata that are asked for."
    module = name.replace("-", "_")
    path, info = folder / f"{module}-{number}-py3-none-any.whl", f"{module}-{number}.dist-info"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(f"{module}.py", "def sora_samplers(): return []\n")
        z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n" + "".join(f"Requires-Dist: {n}\n" for n in needs))
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/entry_points.txt", table.format(module))
        z.writestr(f"{info}/RECORD", "")
    return str(path)


def say(*words): return plugins_app(list(words), standalone_mode=False)()      # a command reads its words, and gives the work back as a function


# Made

@pytest.mark.parametrize("name, kind, says", [("Sora Kit Wobble", "sampler", "sora-kit-wobble"), ("../wobble", "sampler", "small letters"), ("wobble/x", "sampler", "small letters"),
                                              ("", "sampler", "small letters"), ("x" * 51, "sampler", "at most 50"), ("sora-kit-", "sampler", "small letters"),
                                              ("sora-kit-euler", "guidance", "sora_kit/euler"), ("random", "filter", "already a module"), ("numpy", "style", "already a module"),
                                              ("sora-kit", "style", "already a module"), ("import", "audio", "word of Python"), ("sora-kit-3", "audio", "a letter must follow"),
                                              ("sora-kit-dog", "actor", "in the cast"), ("wobble\n", "sampler", "small letters"), ("wobble", "samplers", "sampler, guidance")])
def test_a_name_that_would_hurt_later_is_refused_in_one_line(name, kind, says, tmp_path):
    with pytest.raises(InputError, match=says) as told: say("new", name, "--kind", kind, "--out", str(tmp_path))
    assert "\n" not in str(told.value).replace("\\n", "") and not list(tmp_path.iterdir())


def test_nothing_is_overwritten_and_nothing_half_made_is_left(tmp_path, monkeypatch):
    new_plugin("sora-kit-wobble", "filter", tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="nothing is ever overwritten"): new_plugin("sora-kit-wobble", "sampler", tmp_path)
    with pytest.raises(InputError, match="no such folder"): new_plugin("sora-kit-other", "sampler", tmp_path / "nowhere")
    monkeypatch.setattr("sora_kit.plugin_template.fill", lambda names, kind, folder: (folder.mkdir(), 1 / 0))
    with pytest.raises(ZeroDivisionError): new_plugin("sora-kit-other", "sampler", tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before and len(list(tmp_path.iterdir())) == 1


def test_without_copier_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "copier", None)
    with pytest.raises(InputError, match=r"pip install 'sora_kit\[plugins\]'"): new_plugin("sora-kit-wobble", "sampler", tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "One package of each kind, as the template makes it."
    home = tmp_path_factory.mktemp("made")
    return {kind: new_plugin(f"probe-{kind}", kind, home) for kind in PLUGIN_KINDS}


def test_the_package_carries_its_template():
    "What is not matched by the pattern in setup.py would be missing in a wheel."
    files = {str(p.relative_to(ROOT / "sora_kit")) for p in Path(str(TEMPLATE)).rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert files <= set(glob("templates/**/*", root_dir=ROOT / "sora_kit", recursive=True)) and '"templates/**/*"' in (ROOT / "setup.py").read_text()


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_what_is_made_is_whole(kind, made):
    folder, names = made[kind], plugin_names(f"probes-{kind}", kind)
    for path in folder.rglob("*"):
        if path.suffix == ".py": compile(path.read_text(encoding="utf-8"), path.name, "exec")
        if path.is_file(): assert not any(mark in path.read_text(encoding="utf-8") for mark in ("{{", "{%", "kinds/")), f"{path.name} is filled in"
    notebook = json.loads((folder / "example.ipynb").read_text(encoding="utf-8"))
    titles = ["".join(c["source"]).splitlines()[0] for c in notebook["cells"] if c["cell_type"] == "markdown"]
    assert titles[0].startswith("# ") and names.alias.replace("probes", "probe") in titles[0]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code": compile("".join(cell["source"]), "cell", "exec")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert all(f"\n## {part}\n" in readme for part in ("Run", "Change", "Check", "Build", "Publish", "Remove"))


def own_tests(folders, *more) -> str:
    "What pytest says of the packages' own tests, which run every check of their kinds."
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *map(str, folders)])}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *more, *(str(f / "tests") for f in folders)],
                          env=env, capture_output=True, text=True, timeout=250, cwd=folders[0].parent)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return done.stdout


def test_every_kind_passes_its_own_check_as_made(made):
    "In the ordinary suite without the lesson's run, which takes long; the notebook of the template checks all eight once more."
    said = own_tests(list(made.values()), "-k", "not teaches_what_it_claims")
    assert all(f"probe-{kind}/probe-{kind}" in said for kind in PLUGIN_KINDS if kind != "observer") and "NOT right" not in said


@pytest.mark.slow
def test_a_lesson_teaches_what_it_claims_as_made(made):
    own_tests([made["lesson"]])


@builds
def test_wheel_and_source_distribution_hold_what_they_must(made, tmp_path):
    "As `python -m build` asks setuptools, without its network."
    for kind in ("sampler", "lesson"):
        code = f"from setuptools import build_meta as b; b.build_wheel({str(tmp_path)!r}); b.build_sdist({str(tmp_path)!r})"
        done = subprocess.run([sys.executable, "-c", code], cwd=made[kind], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-1000:]
        (built,), (source,) = tmp_path.glob(f"probe_{kind}-*.whl"), tmp_path.glob(f"probe_{kind}-*.tar.gz")
        inside = zipfile.ZipFile(built).namelist()
        assert f"probe_{kind}/__init__.py" in inside and any(name.endswith("entry_points.txt") for name in inside)
        assert kind == "sampler" or "probe_lesson/probe-lesson/lesson.ipynb" in inside
        with tarfile.open(source) as archive: held = archive.getnames()
        assert all(any(name.endswith(part) for name in held) for part in ("README.md", "example.ipynb", f"test_probe_{kind}.py"))


# Refused

@pytest.mark.parametrize("needs, words", [("numpy<2", "numpy .* stays as it is"), ("torch<2", "torch .* stays as it is"), ("sora_kit>=99", "sora-kit .* stays as it is"), ("pluggy<1", "sora_kit needs pluggy"),
                                          ("a-package-that-nobody-has", "pip cannot install.*nobody-has")])
def test_a_plugin_that_would_change_what_is_here_is_refused(needs, words, tmp_path):
    with pytest.raises(InputError, match=words) as told: plan(checked_target(wheel(tmp_path, "sora-kit-greedy", needs), False))
    assert "\n" not in str(told.value) and "sora-kit-greedy" in str(told.value).replace("_", "-")


def test_what_a_need_of_a_need_would_change_is_refused_too(tmp_path, monkeypatch):
    wheel(tmp_path, "helper", "numpy<2")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(InputError, match="helper 1.0 needs numpy<2, and numpy .* stays as it is"): plan(wheel(tmp_path, "sora-kit-greedy", "helper"))


@pytest.mark.parametrize("name", ["torch", "sora_kit", "diffusers"])
def test_a_new_torch_is_refused_by_name(name, tmp_path):
    if name == "diffusers": pytest.importorskip("diffusers")
    with pytest.raises(InputError, match="stays as it is|must stay as it is"): plan(wheel(tmp_path, name, number="99.0"))


@pytest.mark.parametrize("target", ["", "-r x", "--upgrade", "no/such.whl", "./nowhere", "two\nlines"])
def test_what_is_no_target_is_refused_before_pip_is_asked(target):
    with pytest.raises(InputError, match="^target: got"): checked_target(target, False)


def test_only_a_folder_with_a_project_can_be_editable(tmp_path):
    with pytest.raises(InputError, match="no pyproject.toml"): checked_target(str(tmp_path), False)
    with pytest.raises(InputError, match="only a folder"): checked_target(wheel(tmp_path, "x"), True)


def test_the_plan_is_shown_and_nothing_happens_without_a_yes(tmp_path, monkeypatch, capsys):
    wheel(tmp_path, "helper", number="2.3")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    target = wheel(tmp_path, "sora-kit-modest", "helper>=2", "numpy>=1.20", "sora_kit>=0.1")
    monkeypatch.setattr("sora_kit.plugin_install.install", lambda *given: pytest.fail("it was installed"))
    for terminal, answer in ((False, "y\n"), (True, "n\n"), (True, "")):
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"isatty": lambda self: terminal, "readline": lambda self: answer})())
        with pytest.raises(InputError, match="nothing was installed"): say("install", target)
        shown = capsys.readouterr().out
        assert "sora-kit-modest" in shown and "helper" in shown and "2.3" in shown and "numpy" not in shown and "install what you trust" in shown


def test_the_build_code_of_a_folder_runs_only_after_a_yes(tmp_path, monkeypatch, capsys):
    (tmp_path / "setup.py").write_text("raise SystemExit('it ran')")
    monkeypatch.setattr("sora_kit.plugin_install.plan", lambda *given: pytest.fail("pip was asked"))
    for terminal, answer in ((False, "y\n"), (True, "n\n")):
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"isatty": lambda self: terminal, "readline": lambda self: answer})())
        with pytest.raises(InputError, match="nothing was run"): say("install", str(tmp_path))
        assert "build code" in capsys.readouterr().out
    assert runs_build_code("./x") and runs_build_code("git+https://example.org/x") and runs_build_code("x.tar.gz") and not runs_build_code("x") and not runs_build_code("/a/x-1.0-py3-none-any.whl")


# Installed, used and removed, in an environment that is thrown away

@pytest.fixture(scope="module")
def env(tmp_path_factory):
    "An environment of its own that sees the packages of this one; pip can install into it and into nothing else."
    home = tmp_path_factory.mktemp("env")
    venv.create(home, with_pip=False)
    here = {"base": str(home), "platbase": str(home)}
    site, outer = Path(sysconfig.get_path("purelib", vars=here)), [p for p in (str(ROOT), *sys.path) if p and Path(p).is_dir()]
    (site / "outer.pth").write_text(f"import site; list(map(site.addsitedir, {outer!r}))\n")
    return Path(sysconfig.get_path("scripts", vars=here)) / "python", site


def shell(env, cwd, *words, code=0):
    "What a command prints in that environment; by default `sora-kit`."
    words = words if words[0] == "-m" else ("-c", "import sys; from sora_kit.cli import main; sys.exit(main())", *words)
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([env[0], *words], cwd=cwd, env=clean, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def state(env, cwd) -> tuple:
    "Packages, files of the environment, and settings."
    files = sorted(str(p.relative_to(env[1])) for p in env[1].rglob("*") if "__pycache__" not in p.parts)
    return shell(env, cwd, "-m", "pip", "freeze", "--local"), files, config_folder().exists()


@builds
def test_made_installed_listed_chosen_and_removed_without_a_trace(env, tmp_path):
    before, weights = state(env, tmp_path), write_tiny(tmp_path / "tiny")
    assert "plugins install --editable" in say("new", "sora-kit-wobble", "--kind", "sampler", "--out", str(tmp_path))
    said = shell(env, tmp_path, "plugins", "install", "--editable", "./sora-kit-wobble", "--yes")
    assert "pip would install" in said and "installed: sora-kit-wobble/wobble" in said
    assert "sampler wobble" in shell(env, tmp_path, "plugins", "list")
    made = shell(env, tmp_path, "generate", "a dog runs on the beach", "-o", "dog.mp4", "--steps", "2", "--sampler", "wobble", "--weights", str(weights), "--json")
    components = json.loads(made.splitlines()[0])["recipe"]["components"]
    assert ("sora-kit-wobble/wobble", "0.1.0") in [(c["id"], c["version"]) for c in components] and (tmp_path / "dog.mp4").is_file()
    write_switches(["sora-kit-wobble/wobble"])
    assert shell(env, tmp_path, "plugins", "uninstall", "wobble").strip() == "sora-kit-wobble 0.1.0 is removed"
    assert state(env, tmp_path) == before and (tmp_path / "sora-kit-wobble" / "README.md").is_file()


@pytest.fixture
def inside(env, monkeypatch):
    "As if this process ran in that environment."
    monkeypatch.setattr(sys, "executable", str(env[0]))
    monkeypatch.syspath_prepend(str(env[1]))
    return env


def test_what_was_brought_along_is_named(inside, tmp_path, monkeypatch):
    wheel(tmp_path, "helper", number="2.3", table="[other]\n")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert say("install", wheel(tmp_path, "sora-kit-modest", "helper"), "--yes").startswith("installed: sora-kit-modest/sora_kit_modest;")
    assert say("install", "sora-kit-modest", "--yes") == "sora-kit-modest is installed already"
    assert say("uninstall", "sora-kit-modest").endswith("nothing else here needs it: helper; remove it with: pip uninstall helper")
    assert "is no plugin" in say("install", wheel(tmp_path, "helper", number="2.4", table="[other]\n"), "--yes")


def test_what_lies_outside_of_the_environment_is_not_said_to_be_removed(inside, tmp_path, monkeypatch):
    shelf = tmp_path / "shelf"
    zipfile.ZipFile(wheel(tmp_path, "sora-kit-far")).extractall(shelf)
    monkeypatch.syspath_prepend(str(shelf))
    monkeypatch.setenv("PYTHONPATH", str(shelf))
    with pytest.raises(MachineError, match="pip (did not|could not) remove sora-kit-far"): uninstall("sora-kit-far")


# Removed, what is not there or not ours

@pytest.mark.parametrize("name", ["numpy", "sora_kit", "builtin", "nobody", "", "-y"])
def test_what_is_no_plugin_is_never_removed(name):
    with pytest.raises(InputError, match="there is no such plugin"): uninstall(name)


def test_a_switch_of_a_plugin_that_is_gone_is_forgotten_and_others_stay():
    write_switches(["old/wobble", "other/wobble"])
    with pytest.raises(InputError, match="it names old and other"): uninstall("wobble")
    write_switches(["old/wobble", "wobble/x", "other/wobble"])
    assert "wobble was not installed any more" in uninstall("wobble"), "the package of that name counts before an entry point of that name"
    assert read_switches().off == {"old/wobble", "other/wobble"}
    for name in ("old", "other/wobble"): uninstall(name)
    assert not config_folder().exists()


# Checked

PLUGINS = """
from sora_kit.hooks import ComponentSpec
def sora_safety_filters(): return [ComponentSpec("{0}/{0}", "{0}:Words", "stops one word", "safety_filter", {{"stops": ("a grimble runs",)}})]
class Words:
    def check(self, item):
        from sora_kit.hooks import Verdict
        return {1}
"""


def test_check_asks_what_a_name_means_and_ends_with_a_code(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, verdict in (("polite", "Verdict('block', 'not made here') if 'grimble' in item else Verdict('allow')"), ("lax", "Verdict('allow')")):
        (tmp_path / f"{name}.py").write_text(PLUGINS.format(name, verdict))
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sora_kit]\n{name} = {name}\n")
    assert parts_of("polite") == {"components": ["polite/polite"], "observers": []} and parts_of("euler") == {"components": ["sora_kit/euler"]}
    with pytest.raises(ValueError, match="no plugin or component"): parts_of("grumpy")
    assert say("check", "lax") == 1 and "can_say_no: 'a grimble runs' is allowed" in capsys.readouterr().out
