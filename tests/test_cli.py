"""The command line: every mistake is one clear line with the right exit code, and nothing half-written stays behind."""
import builtins
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import typer
from tiny_model import write_tiny

import sora_kit
from sora_kit import codec, commands, evaluation, files, session
from sora_kit.cli import main
from sora_kit.core import Audio, Clip

PROMPT = "a dog runs on the beach"
ROOT = Path(sora_kit.__file__).parent.parent


@pytest.fixture(scope="module")
def weights(tmp_path_factory): return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def cli(weights, tmp_path, monkeypatch, capsys):
    "Run `generate` in an empty folder: (exit code, standard output, error lines)."
    monkeypatch.chdir(tmp_path)

    def run(prompt=PROMPT, *options, output="clip.mp4", steps="1"):
        code = main(["generate", prompt, "-o", output, "--steps", steps, "--weights", str(weights), *options])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()
    return run


def refused(result, code, *words):
    "Nothing on the output, one line of error, that code."
    assert result[0] == code and result[1] == "" and len(result[2]) == 1, result
    line = result[2][0]
    assert line.startswith("sora-kit: ") and len(line) < 600 and "Traceback" not in line and line.isprintable()
    for word in words: assert word in line, line


def empty(folder): return [p.name for p in Path(folder).iterdir()] == []


# What works

def test_a_film_is_written_and_explained(cli, tmp_path):
    code, out, err = cli(PROMPT, "--seed", "3", "--seconds", "1")
    assert (code, err) == (0, []) and str(tmp_path / "clip.mp4") in out and "Understood: who: dog (runs); where: beach." in out
    clip = Clip.load("clip.mp4")
    assert clip.frames.shape == (8, 128, 128, 3) and clip.audio.samples.shape == (1, 16000)
    assert clip.recipe.prompt == PROMPT and clip.recipe.seed == 3 and clip.captions == ((0., 1., PROMPT),) and [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_json_for_programs(cli, tmp_path):
    code, out, err = cli("ein Drache am Strand", "--json", "--lang", "de", "--sampler", "heun", "--guidance", "apg:scale=4")
    about = json.loads(out)
    assert (code, err) == (0, []) and about["path"] == str(tmp_path / "clip.mp4") and about["frames"] == 17 and about["samples"] == 34000
    assert about["understood"]["where"] == "beach" and about["recipe"]["lang"] == "de" and any("Drache" in line or "drache" in line for line in about["report"])
    assert Clip.load("clip.mp4").recipe.components[0].id == "sora_kit/heun"


def test_sound_alone_the_mark_and_privacy(cli):
    assert cli(PROMPT, output="sound.WAV")[0] == 0 and Audio.load("sound.WAV").samples.shape == (1, 34000)
    cli(PROMPT, output="marked.mp4"), cli(PROMPT, "--no-mark", output="plain.mp4")
    corners = [Clip.load(name).frames[:, -12:, -50:].float() for name in ("marked.mp4", "plain.mp4")]
    assert (corners[0] - corners[1]).abs().mean() > 10
    code, out, _ = cli("a purple dragon-fly xyzzy", "--private", output="private.mp4")
    data, clip = Path("private.mp4").read_bytes(), Clip.load("private.mp4")
    assert code == 0 and b"xyzzy" not in data and clip.recipe.prompt == "" and clip.recipe.prompt_sha256 and not clip.captions


def test_an_old_film_is_replaced_as_a_whole(cli):
    Path("clip.mp4").write_text("old")
    assert cli("x" * 10_000)[0] == 2 and Path("clip.mp4").read_text() == "old"
    assert cli()[0] == 0 and len(Clip.load("clip.mp4").frames) == 17


def test_help_version_and_info(weights, capsys):
    for arguments in (["--help"], ["generate", "--help"], []):
        assert main(arguments) == 0 and "Usage" in capsys.readouterr().out
    assert main(["--version"]) == 0 and capsys.readouterr().out.startswith("sora-kit ")
    assert main(["info", "--weights", str(weights)]) == 0
    text = capsys.readouterr().out
    assert "tiny, SHA-256" in text and "dpmpp-2m" in text and "apg" in text
    assert main(["info", "--json", "--weights", str(weights)]) == 0 and json.loads(capsys.readouterr().out)["model"] == "tiny"


def test_help_needs_no_torch():
    code = "import sys; from sora_kit.cli import main; c = main(sys.argv[1:]); sys.exit(c or 'torch' in sys.modules)"
    for arguments in (["--help"], ["--version"], ["generate", "--help"]):
        assert subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, timeout=120).returncode == 0


def test_train(tmp_path, monkeypatch, capsys):
    from sora_kit import train
    monkeypatch.chdir(tmp_path)
    calls = []
    monkeypatch.setattr(train, "train", lambda recipe, folder: (calls.append((recipe.name, str(folder))), Path(folder).mkdir(parents=True)))
    monkeypatch.setattr(train, "export_weights", lambda recipe, folder, out: "0" * 64)
    assert main(["train", "toybox-64"]) == 0 and main(["train", "smoke", "--folder", "here"]) == 0
    assert calls == [("toybox-64", "runs/toybox-64"), ("smoke", "here")] and (tmp_path / "here/weights/tokenizer.json").exists()
    capsys.readouterr()
    assert main(["train", "toybox-63"]) == 2 and "toybox-64, toybox-64-further, toybox-128" in capsys.readouterr().err


# Groups of commands that live elsewhere

def test_groups_of_commands_are_loaded_when_asked_for(monkeypatch, capsys):
    group = typer.Typer(help="Films about films.")

    @group.command("list")
    def films():
        "Say which there are."
        return lambda: "none yet"

    @group.command()
    def other(): "Another command."

    module = types.ModuleType("sora_kit.fake_commands")
    module.films_app, module.__spec__ = group, ModuleSpec("sora_kit.fake_commands", None)
    monkeypatch.setattr(commands, "SECTIONS", {"films": "fake_commands", "ghosts": "no_such_module"})
    monkeypatch.setitem(sys.modules, "sora_kit.fake_commands", module)
    assert main(["films", "list"]) == 0 and capsys.readouterr().out == "none yet\n"
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "films" in text and "Films about films." in text and "ghosts" not in text
    assert main(["ghosts"]) == 2 and len(capsys.readouterr().err.splitlines()) == 1


# Measuring

@pytest.fixture
def measure(weights, tmp_path, monkeypatch, capsys):
    "Run `eval` on two prompts in an empty folder: (exit code, standard output, error lines)."
    monkeypatch.chdir(tmp_path)
    Path("two.txt").write_text("# two\na red ball bounces on the beach at night\na dog chases a cat\n")

    def run(*options):
        code = main(["eval", "--prompts", "two.txt", "--steps", "1", "--weights", str(weights), "--json", "found.json", *options])
        out, err = capsys.readouterr()
        return code, out, err.splitlines()
    return run


def test_the_table_and_its_file(measure, tmp_path):
    code, out, err = measure()
    facts = json.loads(Path("found.json").read_text())
    assert code == 0 and len(err) == 2 and "two actors, both" in out and "actor: ball" in out and "found.json" in out
    assert facts["n"] == 2 and facts["model"] == "tiny" and facts["command"] == "sora-kit eval --prompts two.txt --steps 1 --weights FOLDER"
    assert measure("--no-ceiling")[0] == 0 and json.loads(Path("found.json").read_text())["command"] == "sora-kit eval --prompts two.txt --steps 1 --no-ceiling --weights FOLDER"
    assert {"actor", "camera", "onsets F1", "free fall R²"} <= {r["name"] for r in facts["rows"]} and set(facts["mistakes"]) == {"actor", "place", "time", "motion", "weather", "camera", "mood"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["found.json", "two.txt"]


def test_a_killed_measurement_goes_on(measure, tmp_path, monkeypatch):
    with monkeypatch.context() as m:
        interrupt_at(m, evaluation, "see", 4)
        code, out, err = measure()
        assert code == 1 and out == "" and err[-1] == "sora-kit: stopped by Ctrl-C" and not Path("found.json").exists()
    made = Path("found.json.made.progress").read_text()
    assert len(made.splitlines()) == 3 and len(Path("found.json.ceiling.progress").read_text().splitlines()) == 2
    refused(measure("--steps", "2"), 2, "another evaluation")
    calls = []
    real = evaluation.see
    monkeypatch.setattr(evaluation, "see", lambda *a: (calls.append(1), real(*a))[1])
    assert measure()[0] == 0 and len(calls) == 1 and len(list(tmp_path.iterdir())) == 2


def test_measurements_that_cannot_be(measure, tmp_path):
    for options, word in ((("--prompts", "none.txt"), "no such file"), (("--prompts", "two.txt", "--json", "x.txt"), "json"), (("--json", "no/x.json"), "no"),
                          (("--training", "."), "encoded"), (("--batch", "0"), "batch"), (("--lang", "fr", "--prompts", ""), "'en' and 'de'"), (("--n", "0", "--prompts", ""), "n: got 0")):
        refused(measure(*options), 2, word)
    Path("two.txt").write_text("a dragon\n")
    refused(measure(), 2, "line 1 of two.txt", "a dragon")
    assert [p.name for p in tmp_path.iterdir()] == ["two.txt"]


# Input that cannot be done: 2

@pytest.mark.parametrize("prompt, word", [("", "empty"), (" \n ", "empty"), ("x" * 10_000, "10,000"), ("🎆🎇", "no letters"), ("\x00\x1b\x07", "prompt"), ("<>/", "no letters")])
def test_prompts_that_say_nothing(cli, tmp_path, prompt, word):
    refused(cli(prompt), 2, word)
    assert empty(tmp_path)


@pytest.mark.parametrize("prompt", ["a dog 🐶", "a \x1b[31mdog\x07\r\n runs", "<script>alert(1)</script> a dog", "собака", "un chien sur la plage", 'a dog says "woof"'])
def test_odd_prompts_make_films_and_print_no_control_characters(cli, prompt):
    code, out, err = cli(prompt)
    assert (code, err) == (0, []) and all(c.isprintable() or c == "\n" for c in out) and len(Clip.load("clip.mp4").frames) == 17


@pytest.mark.parametrize("options, words", [(("--steps", "0"), ["steps"]), (("--steps", "-1"), ["steps"]), (("--steps", "many"), ["--steps"]), (("--lang", "fr"), ["en", "de"]),
                                            (("--sampler", "dpm++2m"), ["dpmpp-2m", "heun"]), (("--sampler", "flow-map"), ["leap"]), (("--guidance", "strong"), ["cfg", "apg"]),
                                            (("--guidance", "-2"), ["guidance"]), (("--seconds", "0"), ["seconds"]), (("--seconds", "21"), ["20"]), (("--seconds", "nan"), ["seconds"]),
                                            (("--seed", "-1"), ["seed"]), (("--seed", str(2**63)), ["seed"]), (("--weights", "nowhere"), ["no such folder"]), (("--loud",), ["--loud"]),
                                            (("--filter", "prompt-filtr"), ["prompt-filter"])])
def test_settings_that_cannot_be(cli, tmp_path, options, words):
    refused(cli(PROMPT, *options), 2, *words)
    assert empty(tmp_path)


def test_a_filter_may_be_given_and_says_why(cli, tmp_path):
    refused(cli("a naked child on the beach", "--filter", "prompt-filter"), 2, "is not made", "naked")
    assert empty(tmp_path)
    code, out, err = cli(PROMPT, "--filter", "prompt-filter")
    assert (code, err) == (0, []) and (tmp_path / "clip.mp4").exists()


def test_commands_that_cannot_be_read(capsys):
    for arguments in (["generate"], ["generate", PROMPT], ["paint"], ["--loud"], ["train"], ["generate", "-5", "-o", "x.mp4"]):
        assert main(arguments) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("output", ["clip.avi", "clip", "nowhere/clip.mp4", "", "folder.mp4", "\0.mp4", "x" * 300 + ".mp4", "/dev/full.mp4/x.mp4"])
def test_paths_that_cannot_be_written(cli, tmp_path, monkeypatch, output):
    (tmp_path / "folder.mp4").mkdir()
    monkeypatch.setattr(session, "load_backbone", lambda *a: pytest.fail("the path was asked for too late"))
    refused(cli(PROMPT, output=output), 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.mp4"]


def test_a_folder_without_permission(cli, tmp_path, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: False if Path(path) == tmp_path.resolve() and mode == os.W_OK else real(path, mode))
    refused(cli(), 2, "cannot be written")


# The machine: 1

@pytest.mark.parametrize("where", ["open", "fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_full_or_failing_disk(cli, tmp_path, monkeypatch, where, code):
    def fail(*a, **k): raise OSError(code, os.strerror(code))
    real = builtins.open
    if where == "open": monkeypatch.setattr(builtins, "open", lambda path, mode="r", *a, **k: fail() if mode == "xb" else real(path, mode, *a, **k))
    else: monkeypatch.setattr(files.os, where, fail)
    refused(cli(), 1, os.strerror(code))
    assert empty(tmp_path)


def test_damaged_weights(cli, weights, tmp_path):
    copy = tmp_path.parent / f"{tmp_path.name}-copy"
    shutil.copytree(weights, copy)
    shard = sorted(copy.glob("*.safetensors"))[0]
    data = shard.read_bytes()
    for bad in (data[:-100], data[:5000] + b"\xff" + data[5001:]):
        shard.write_bytes(bad)
        refused(cli(PROMPT, "--weights", str(copy)), 1, "weights", shard.name)
    (copy / "tiny.index.json").unlink()
    refused(cli(PROMPT, "--weights", str(copy)), 1, "no model")
    assert empty(tmp_path)


@pytest.mark.parametrize("problem", [MemoryError(), RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator:\n can't allocate memory"), OSError(errno.EIO, "input/output error"), KeyError("x")])
def test_whatever_happens_is_one_line(cli, tmp_path, monkeypatch, problem):
    def fail(*a, **k): raise problem
    monkeypatch.setattr(session.Backbone, "predict", fail)
    refused(cli(), 1)
    assert empty(tmp_path)


# Ctrl-C: 1

def interrupt_at(monkeypatch, owner, name, k):
    "Ctrl-C when `owner.name` is called for the k-th time."
    real, calls = getattr(owner, name), []
    def wrapped(*a, **kw):
        calls.append(1)
        if len(calls) == k: raise KeyboardInterrupt
        return real(*a, **kw)
    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.parametrize("owner, name, k", [(session, "load_backbone", 1), *[(session.Backbone, "predict", k) for k in (1, 2, 3, 4)], (codec.Codec, "unfold", 1), (codec.Codec, "unfold", 9),
                                            (session.Backbone, "sound", 1), (Clip, "mp4", 1), (files.os, "fsync", 1), (files.os, "replace", 1)], ids=lambda v: getattr(v, "__name__", str(v)))
def test_ctrl_c_at_any_step(cli, tmp_path, monkeypatch, owner, name, k):
    interrupt_at(monkeypatch, owner, name, k)
    refused(cli(PROMPT, "--seconds", "3", steps="2"), 1, "stopped by Ctrl-C")
    assert empty(tmp_path)


MOMENTS = {                                            # where a real process says "here" and goes on slowly
    "step": "session.Backbone, 'predict'", "encoding": "core.Clip, 'mp4'", "writing": "files.os, 'fsync'", "renaming": "files.os, 'replace'"}


@pytest.mark.parametrize("moment, times", [("step", 1), ("step", 2), ("encoding", 1), ("writing", 1), ("renaming", 1)])
def test_a_real_interrupt(weights, tmp_path, moment, times):
    "SIGINT to a real process in the middle of the steps, or while it writes its file: one line, code 1, nothing half-written."
    code = f"""
import sys, time
from sora_kit import core, files, session
from sora_kit.cli import main
owner, name = {MOMENTS[moment]}
real = getattr(owner, name)
def slow(*a, **k): print("here", flush=True); time.sleep(.2 if name == "predict" else 60); return real(*a, **k)
setattr(owner, name, slow)
print("ready", flush=True)
sys.exit(main(["generate", {PROMPT!r}, "-o", "clip.mp4", "--steps", "{900 if moment == 'step' else 1}", "--weights", {str(weights)!r}]))
"""
    Path(tmp_path / "clip.mp4").write_text("old")
    child = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))      # a background shell starts its children deaf to Ctrl-C
    for _ in range(1 + times): child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 1 and err == "sora-kit: stopped by Ctrl-C\n"
    assert [p.name for p in tmp_path.iterdir()] == ["clip.mp4"] and (tmp_path / "clip.mp4").read_text() == "old"


def test_nobody_reads_the_output(weights, tmp_path):
    code = "import sys; from sora_kit.cli import main; sys.exit(main(sys.argv[1:]))"
    for sink, wanted in ((subprocess.PIPE, 1), ("/dev/full", 1)):
        if sink != subprocess.PIPE and not Path(sink).exists(): continue
        out = sink if sink == subprocess.PIPE else open(sink, "w")
        child = subprocess.Popen([sys.executable, "-c", code, "info", "--weights", str(weights)], cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True)
        if sink == subprocess.PIPE: child.stdout.close()
        assert child.wait(120) == wanted and "Traceback" not in (err := child.stderr.read()) and len(err.splitlines()) <= 1
