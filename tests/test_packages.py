"""The packages in plugins/: found, listed without PyTorch, true to their contracts, and what is swapped changes the result."""
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from tiny_model import write_tiny

import sora_kit
from sora_kit.files import InputError
from sora_kit.hooks import ComponentSpec
from sora_kit.lora import new_lora, save_lora
from sora_kit.pipeline import Run, Session
from sora_kit.plugins import Plugins, plugin_manager
from sora_kit.render import render
from sora_kit.replay import replay
from sora_kit.scenes import Actor, Scene

ROOT = Path(sora_kit.__file__).parent.parent
PACKAGES = sorted(p.parent for p in (ROOT / "plugins").glob("*/pyproject.toml"))
BRINGS = {"sora-kit-abm3": ["sampler abm3"], "sora-kit-classroom-words": ["safety_filter classroom-words"], "sora-kit-woodblock": ["audio_module woodblock"],
          "sora-kit-risograph": ["style_adapter risograph"], "sora-kit-penguin": ["style_adapter draws-penguins", "actor penguin"]}


def publish(package: Path, shelf: Path) -> str:
    "A package as pip leaves it, without building a wheel; returns its module."
    about = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (name, module), = about["entry-points"]["sora_kit"].items()
    shutil.copytree(package / module, shelf / module, ignore=shutil.ignore_patterns("__pycache__"))
    info = shelf / f"{module}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[sora_kit]\n{name} = {module}\n", encoding="utf-8")
    return module


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    "All five on Python's path for the length of this file."
    folder, before, patch = tmp_path_factory.mktemp("shelf"), set(sys.modules), pytest.MonkeyPatch()
    for package in PACKAGES: publish(package, folder)
    patch.syspath_prepend(str(folder))
    patch.setenv("SORA_KIT_CONFIG", str(folder / "settings"))
    patch.delenv("SORA_KIT_PLUGINS", raising=False)
    yield folder
    patch.undo()
    for name in set(sys.modules) - before:
        if name.startswith("sora_kit_"): del sys.modules[name]


@pytest.fixture(scope="module")
def session(shelf, tmp_path_factory):
    return Session(write_tiny(tmp_path_factory.mktemp("tiny")), plugin_manager([str(shelf)], names={}))


def child(shelf, *command, **more):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(shelf)]), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL, **more)


def film(session, prompt="a dog runs on the beach", **settings):
    clip = Run(session, prompt, 1, steps=3, seconds=1, **settings).result()
    return clip.frames, clip.audio.samples


# Found and listed

def test_the_five_are_there():
    assert [p.name for p in PACKAGES] == sorted(BRINGS)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_a_package_has_all_that_it_needs(package):
    about = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert about["name"] == package.name and about["dependencies"] == ["sora_kit>=0.1"] and about["license"]
    (module,) = about["entry-points"]["sora_kit"].values()
    notebooks = list((package / "examples").glob("*.ipynb"))
    assert (package / "README.md").is_file() and list((package / "tests").glob("test_*.py")) and len(notebooks) == 1
    for notebook in notebooks:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        code = [c for c in cells if c["cell_type"] == "code"]
        assert notebook.stat().st_size < 300_000 and any(c["outputs"] for c in code), "outputs are kept, and small"
        assert not any(o["output_type"] == "error" for c in code for o in c["outputs"])
    for source in (package / module).glob("*.py"):
        private = re.findall(r"from sora_kit[\w.]* import .*\b_\w+|sora_kit\._\w+", source.read_text(encoding="utf-8"))
        assert not private, f"{source.name} uses what is not public: {private}"


def test_they_are_listed_without_pytorch(shelf):
    code = "import json, sys\nfrom sora_kit.plugins import plugin_manager\n" \
           "print(json.dumps([{p.distribution: [p.state, *[f'{s.kind} {s.name}' for s in p.specs]] for p in plugin_manager() if p.installed}, 'torch' in sys.modules]))"
    done = child(shelf, "-c", code)
    assert done.returncode == 0, done.stderr
    found, heavy = json.loads(done.stdout.splitlines()[-1])
    assert not heavy and {name: found.get(name) for name in BRINGS} == {name: ["on", *brings] for name, brings in BRINGS.items()}


def test_their_own_tests_pass(shelf):
    done = child(shelf, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, PACKAGES), "-k", "test_contract or test_figure or test_adapter", cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert all(name in done.stdout for name in ("abm3/abm3", "classroom-words/", "woodblock/", "risograph/", "penguin/penguin", "penguin/draws-penguins"))


@pytest.mark.skipif(int(version("setuptools").split(".")[0]) < 77, reason="building needs setuptools 77")
def test_pip_installs_a_package_and_its_data(tmp_path):
    source = Path(shutil.copytree(ROOT / "plugins" / "sora-kit-classroom-words", tmp_path / "source"))
    done = child("", "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target", str(tmp_path / "target"), str(source))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target" / "sora_kit_classroom_words" / "words.txt").is_file()
    assert "classroom-words" in [s.name for p in plugin_manager([str(tmp_path / "target")], names={}) for s in p.specs]


# Swapping changes the result

def test_another_sampler_makes_another_film(session):
    assert not torch.equal(film(session)[0], film(session, sampler="abm3")[0])
    assert torch.equal(film(session, sampler="abm3")[0], film(session, sampler="sora-kit-abm3/abm3")[0])


def test_a_style_changes_the_frames_and_not_the_sound(session):
    (plain, sound), (printed, same) = film(session), film(session, styles=["risograph:inks=teal+orange"])
    assert not torch.equal(plain, printed) and torch.equal(sound, same)
    assert torch.equal(film(session, styles=["risograph:scale=0"])[0], plain)


def test_an_audio_module_changes_the_sound_and_not_the_frames(session):
    (plain, sound), (same, wood) = film(session), film(session, audio=["woodblock:pulse=240"])
    assert torch.equal(plain, same) and not torch.equal(sound, wood) and wood.abs().max() > .01


def test_a_filter_stops_a_prompt_and_says_why(session):
    Run(session, "Mickey Mouse on the beach")
    with pytest.raises(InputError, match="'Mickey Mouse' is on this class's list"): Run(session, "Mickey Mouse on the beach", filters=["classroom-words"])
    assert "second look" in Run(session, "TikTok", filters=["classroom-words:action=review"]).report()


# The penguin: read, drawn and dreamt

PENGUIN = "a blue penguin waddles on the beach"


@pytest.fixture
def taught(session, monkeypatch, tmp_path):
    "An untrained LoRA for the tiny model in the place of the one that is shipped."
    from sora_kit_penguin import adapter
    lora = new_lora(session.backbone.dit, 2, torch.Generator().manual_seed(0))
    for up in lora.up.values(): up.normal_(0, .5, generator=torch.Generator().manual_seed(1))
    lora.facts.update(weights=session.backbone.sha256, reads=adapter.pieces(session.backbone.tokenizer))
    save_lora(tmp_path / "penguin.safetensors", lora)
    monkeypatch.setattr(adapter, "FILE", tmp_path / "penguin.safetensors")
    return lora


def test_the_word_is_known_only_with_the_pack(session, tmp_path):
    bare = Session(write_tiny(tmp_path), Plugins(names={}))
    known, stranger = Run(session, PENGUIN).script, Run(bare, PENGUIN).script
    assert [(a.kind, a.colour, a.motion) for a in known.actors] == [("penguin", "blue", "walks")] and not known.unknown
    assert stranger.actors == () and "penguin" in dict(stranger.unknown)


def test_the_renderer_draws_it_with_the_sessions_figures(session):
    scene = Scene("beach", "day", "clear", (Actor("penguin", "blue", "walks", speed=.3),))
    drawn = render([scene], 48, frames=3, figures=session.figures)
    assert (drawn.owner == 0).flatten(1).any() and set(session.figures) > {"penguin", "dog"}
    with pytest.raises(ValueError, match="no actor 'penguin'"): render([scene], 48, frames=3)


def test_naming_it_brings_its_lora_and_another_prompt_is_rid_of_it(session, taught):
    run = Run(session, PENGUIN, 1, steps=3, seconds=1)
    line, = [part for part in run.recipe.components if part.kind == "style_adapter"]
    assert line.id == "sora-kit-penguin/draws-penguins" and line.params == {"scale": 1.} and run.settings["styles"] == []
    assert run.fork(prompt="a dog runs on the beach").styles == [] and len(run.fork(seed=2).styles) == 1
    plain = film(session, PENGUIN, styles=["draws-penguins:scale=0"])[0]
    assert not torch.equal(run.result().frames, plain), "asked for by name at scale 0 it is not put on a second time"
    assert not session.backbone.dit.words._forward_pre_hooks


def test_its_film_is_made_again_from_the_recipe(session, taught):
    run = Run(session, PENGUIN, 1, steps=2, seconds=1)
    assert replay(run.result().recipe, session).verdict == "identical"


def test_a_lora_for_other_weights_is_refused_in_one_line(session, taught, monkeypatch, tmp_path):
    taught.facts["weights"] = "0" * 64
    save_lora(tmp_path / "penguin.safetensors", taught)
    with pytest.raises(InputError, match="it was trained on 000000000000; train it again: python -m sora_kit_penguin.train") as told:
        Run(session, PENGUIN, steps=2).result()
    assert "\n" not in str(told.value)


def test_an_actor_with_bad_words_is_left_out_and_named(session, caplog, tmp_path):
    other = Session(write_tiny(tmp_path), Plugins(names={}))
    other.registry.add(ComponentSpec("bad/owl", "nowhere:at_all", "no words", "actor", {"nouns": 5}))
    other.registry.add(ComponentSpec("bad/dog", "nowhere:at_all", "a name that is taken", "actor", {"nouns": {"en": "dog"}}))
    assert Run(other, "a dog runs").script.actors[0].kind == "dog" and set(other.figures) == set(session.figures) - {"penguin"}
    assert "bad/owl" in caplog.text and "bad/dog" in caplog.text


def test_a_folder_of_the_same_name_does_not_hide_the_library(tmp_path):
    "As in the folder above a clone, where people work."
    (tmp_path / "sora_kit" / "plugins").mkdir(parents=True)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", "import sora_kit; print(sora_kit.__version__, sora_kit.generate)"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and sora_kit.__version__ in done.stdout, done.stderr
