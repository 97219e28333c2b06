"""The studio without a browser: its messages, its thread, the code that it shows, the notebook that it opens."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from tiny_model import taken, write_leaper, write_tiny

from sora_kit.files import InputError
from sora_kit.hooks import ComponentSpec, Param
from sora_kit.lab import lab_command, open_studio, starter, write_starter
from sora_kit.run import Run
from sora_kit.session import Session
from sora_kit.studio import Studio, one_line
from sora_kit.takes import Job, code_of, form_of, menus, read_settings
from sora_kit.trace import Trace

BAD = "a dog <img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def session(folder):
    return Session(folder)


class Desk:
    "A studio and everything that it said."

    def __init__(self, session, **settings):
        self.heard = []
        self.studio = Studio(session, tell=lambda message, buffers: self.heard.append((message, buffers)), **settings)
        self.studio.wait()

    def do(self, action, **rest):
        self.studio.hear({"do": action, **rest})

    def make(self, **settings):
        self.do("generate", settings={"prompt": "a dog runs on the beach", "seed": 0, "steps": 3} | settings)
        self.studio.wait()

    def said(self, kind):
        return [message for message, _ in self.heard if message["say"] == kind]


@pytest.fixture
def desk(session):
    return Desk(session)


def test_a_film_is_made_and_everything_is_said_on_the_way(desk):
    assert desk.said("ready")[0]["kinds"][0]["key"] == "sampler"
    desk.make(prompt=BAD)
    assert [m["step"] for m in desk.said("progress") if "step" in m] == [1, 2, 3] and not desk.said("problem")
    (message, (film, thumb)) = next((m, b) for m, b in desk.heard if m["say"] == "take")
    assert message["fresh"] and message["take"]["settings"]["prompt"] == BAD and film[4:8] == b"ftyp" and thumb[:2] == b"\xff\xd8"
    assert "<img" not in message["take"]["vtt"] and not desk.studio.busy
    json.dumps([m for m, _ in desk.heard], allow_nan=False)


def test_a_preview_waits_for_the_browser(desk):
    desk.make(steps=5)
    assert len(desk.said("preview")) == 1, "nobody said that the first was seen"
    assert all(len(buffers[0]) < 30_000 for m, buffers in desk.heard if m["say"] == "preview")
    desk.heard.clear()
    tell = desk.studio._tell
    desk.studio._tell = lambda m, b: (tell(m, b), desk.do("seen") if m["say"] == "preview" else None)
    desk.make(steps=5)
    assert len(desk.said("preview")) == 4, "one after each step but the last"


def test_the_kernel_is_free_while_a_film_is_made(desk, monkeypatch):
    gate, forward = threading.Event(), desk.studio.session.backbone.dit.forward
    monkeypatch.setattr(desk.studio.session.backbone.dit, "forward", lambda *a: (gate.wait(20), forward(*a))[1])
    began = time.perf_counter()
    desk.do("generate", settings={"prompt": "a dog", "seed": 0, "steps": 2})
    desk.do("read", prompt="a red cat", n=7)
    assert time.perf_counter() - began < 5 and desk.studio.busy and desk.said("understood")[-1]["n"] == 7
    desk.do("generate", settings={"prompt": "a cat", "seed": 0, "steps": 2})
    assert "cancel it first" in desk.said("problem")[-1]["text"]
    gate.set()
    desk.studio.wait()
    assert len(desk.studio.takes) == 1


def test_cancel_takes_effect_within_one_question(desk, monkeypatch):
    calls, forward = [], desk.studio.session.backbone.dit.forward

    def stop_at_second(*a):
        calls.append(1)
        if len(calls) == 2:
            desk.do("cancel")
        return forward(*a)

    monkeypatch.setattr(desk.studio.session.backbone.dit, "forward", stop_at_second)
    desk.make(steps=10)
    assert len(calls) == 2 and desk.said("stopped") and not desk.studio.takes and not desk.studio.busy
    desk.do("cancel")
    desk.make(steps=1)
    assert len(desk.studio.takes) == 1, "after a cancelled run the next one works"


def test_pause_and_go_on_give_the_same_film(desk):
    tell, paused = desk.studio._tell, []

    def pause_once(message, buffers):
        tell(message, buffers)
        if message["say"] == "progress" and message.get("step") == 1 and not paused:
            paused.append(1)
            desk.do("pause")
        elif message.get("paused"):
            desk.do("pause")

    desk.studio._tell = pause_once
    desk.make()
    assert [m for m in desk.said("progress") if m.get("paused")]
    desk.make()
    a, b = (take.clip.frames for take in desk.studio.takes)
    assert torch.equal(a, b)


@pytest.mark.parametrize("settings", [{"prompt": ""}, {"prompt": "🎆"}, {"steps": 0}, {"steps": 2.5}, {"seed": -1}, {"seed": None}, {"sampler": "eulr"}, {"guidance": "cfg:scale=999"}, {"sampler": ["euler"]}, {"first": "x"}])
def test_a_mistake_is_one_line(desk, settings):
    desk.make(**settings)
    (problem,) = desk.said("problem")
    assert "\n" not in problem["text"] and len(problem["text"]) < 600 and "should not happen" not in problem["text"] and not desk.studio.busy


@pytest.mark.parametrize("message", [{}, {"do": "dance"}, {"do": "read"}, {"do": "generate"}, {"do": "generate", "settings": 5}, {"do": "steps", "take": [1]}, {"do": "__init__"}, []])
def test_odd_messages_do_no_harm(desk, message):
    desk.studio.hear(message)
    desk.make(steps=1)
    assert len(desk.studio.takes) == 1


def test_an_error_in_the_thread_is_one_line_and_the_studio_goes_on(desk, monkeypatch):
    forward = desk.studio.session.backbone.dit.forward
    monkeypatch.setattr(desk.studio.session.backbone.dit, "forward", lambda *a: (_ for _ in ()).throw(RuntimeError("out\nof luck")))
    desk.make()
    assert desk.said("problem")[-1]["text"] == "RuntimeError: out of luck (this should not happen)" and not desk.studio.busy
    monkeypatch.setattr(desk.studio.session.backbone.dit, "forward", forward)
    desk.make(steps=1)
    assert len(desk.studio.takes) == 1 and one_line(MemoryError()).startswith("There is not enough memory")


def test_old_takes_go_and_a_new_page_sees_the_others(session):
    desk = Desk(session, most=5)
    for seed in range(7):
        desk.make(seed=seed, steps=1)
    assert [t.number for t in desk.studio.takes] == [3, 4, 5, 6, 7] and [m["takes"] for m in desk.said("forgotten")] == [[1], [2]]
    assert [t.job is not None for t in desk.studio.takes] == [False, True, True, True, True]
    desk.heard.clear()
    desk.do("hello")
    assert [m["take"]["number"] for m in desk.said("take")] == [3, 4, 5, 6, 7] and not any(m["fresh"] for m in desk.said("take"))
    desk.do("steps", take=3)
    assert "Only the last" in desk.said("problem")[-1]["text"]
    desk.do("steps", take=7)
    desk.studio.wait()
    assert "open beneath" in desk.said("told")[-1]["text"]


def test_the_code_makes_the_same_film(folder, session):
    desk = Desk(session, weights=str(folder))
    desk.make(prompt="a \"dog\" 'runs'\n<b>", seed=5, steps=2, sampler="ancestral:eta=0.5", guidance="apg:scale=5")
    take = desk.studio.takes[0]
    scope = {}
    exec(take.code.replace('clip.save("take-1.mp4")', ""), scope)
    assert torch.equal(scope["clip"].frames, take.clip.frames) and torch.equal(scope["clip"].audio.samples, take.clip.audio.samples)
    assert len(code_of(read_settings({"prompt": "a dog", "seed": 0, "steps": 20})).split("\n")) == 5


def test_the_length_of_a_film(folder, session):
    desk = Desk(session, weights=str(folder))
    desk.make(prompt="a dog runs", seed=5, steps=2, seconds=3)
    take = desk.studio.takes[0]
    assert take.clip.seconds == pytest.approx(3, abs=.1) and "seconds=3" in take.code
    assert form_of(Run(session, "a dog", steps=2, seconds=3), menus(session.registry))["seconds"] == 3 and "seconds" not in form_of(Run(session, "a dog", steps=2), menus(session.registry))
    with pytest.raises(InputError, match="seconds"): read_settings({"seconds": "long"})


def test_a_model_that_can_leap_offers_it_and_a_draft_asks_four_times(session, tmp_path):
    samplers = lambda desk: {c["name"]: c["leaps"] for c in desk.said("ready")[0]["kinds"][0]["components"]}
    desk = Desk(Session(write_leaper(tmp_path)))
    assert samplers(desk)["flow-map"] and not samplers(desk)["euler"] and "flow-map" not in samplers(Desk(session))
    desk.make(sampler="flow-map", guidance="none", steps=4)
    assert len(desk.studio.takes[0].job.run) == 4 and "sampler='flow-map'" in desk.studio.takes[0].code
    desk.make(sampler="flow-map", guidance="cfg:scale=3.5", steps=4)
    assert "baked in" in desk.said("problem")[-1]["text"] and len(desk.studio.takes) == 1


def test_a_plugin_appears_in_the_menu_with_its_controls(folder):
    session = Session(folder)
    params = Param("strength", float, 0.5, 0, 1, help="<b>how much</b>"), Param("look", str, "soft", choices=("soft", "hard")), Param("on", bool, True)
    session.registry.add(ComponentSpec("other/wobble", "sora_kit.samplers:Euler", "shakes", "sampler", {}, params))
    session.registry.add(ComponentSpec("third/euler", "sora_kit.samplers:Euler", "theirs", "sampler"))
    names = {c["name"]: c["params"] for c in menus(session.registry)[0]["components"]}
    assert [p["type"] for p in names["wobble"]] == ["float", "str", "bool"] and "sora_kit/euler" in names and "third/euler" in names and "flow-map" not in names
    desk = Desk(session)
    desk.make(sampler="third/euler", steps=1)
    assert desk.studio.takes[0].clip.recipe.components[0].id == "third/euler"


def test_a_live_panel_talks_through_widget_messages(session, monkeypatch):
    import sora_kit.studio

    monkeypatch.setattr(sora_kit.studio, "in_kernel", lambda: True)
    studio, sent = Studio(session), []
    studio.wait()
    bundle = studio._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in bundle
    studio._panel.send = lambda message, buffers=None: sent.append(message["say"])
    studio._panel._handle_custom_msg({"do": "hello"}, [])
    assert sent == ["ready"]


def test_a_take_that_keeps_no_steps_says_so_and_leaves_the_panel_free(desk):
    for seed in range(5): desk.make(seed=seed, steps=1)
    desk.do("fork", take=1, step=1, settings={"prompt": "a dog runs", "seed": 1, "steps": 1})
    assert "last four takes" in desk.said("problem")[-1]["text"] and not desk.said("problem")[-1]["busy"]


def test_going_on_from_a_step_changes_only_what_was_changed_in_the_form(session):
    job = Job(taken(Run(session, "a dog runs", steps=3, audio=["joint", "foley"]), 2), Trace(Run(session, "a dog runs", steps=3)), [(0, {"prompt": "a dog runs", "seed": 0, "steps": 3, "audio": "joint"})])
    same = job.forked(1, {"prompt": "a dog runs", "seed": 0, "steps": 3, "audio": "joint"})
    other = job.forked(1, {"prompt": "a cat runs", "seed": 0, "steps": 3, "audio": "joint"})
    assert [part.id for part, _ in same.run.audio] == [part.id for part, _ in other.run.audio] == ["sora_kit/joint", "sora_kit/foley"] and other.run.script.prompt == "a cat runs"


# Opening it


def test_the_starter_notebook_is_valid_and_never_overwritten(tmp_path):
    import nbformat

    path = write_starter(tmp_path / "new" / "folder", weights="/a'b")
    nbformat.validate(nbformat.read(path, 4))
    compile("".join(starter("/a'b")["cells"][1]["source"]), "cell", "exec")
    path.write_text("mine")
    assert write_starter(path.parent).read_text() == "mine"
    other = write_starter(path.parent, weights="/b")                                  # other weights: a notebook of their own
    assert other != path and "'/b'" in other.read_text() and write_starter(path.parent, weights="/b") == other and path.read_text() == "mine"


def test_what_cannot_be_opened_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder"):
        open_studio(tmp_path / "file")
    for wrong in ({"gateway": "gpu:8899"}, {"port": 0}, {"port": 70000}):
        with pytest.raises(InputError):
            lab_command(tmp_path / "studio.ipynb", **wrong)
    command = lab_command(tmp_path / "studio.ipynb", browser=False, port=9999, gateway="http://127.0.0.1:1")
    assert "--no-browser" in command and "--port=9999" in command and "--GatewayClient.url=http://127.0.0.1:1" in command


# Steering


def test_a_fork_goes_on_from_a_step_and_its_code_makes_the_same_film(folder, session):
    desk = Desk(session, weights=str(folder))
    desk.make(steps=4)
    desk.do("fork", take=1, step=2, settings={"prompt": "a cat", "seed": 0, "steps": 4, "guidance": "cfg:scale=2"})
    desk.studio.wait()
    first, second = desk.studio.takes
    assert first.clip.recipe != second.clip.recipe and not desk.said("problem") and second.facts()["steps"] == (2, 3)
    scope = {}
    exec(second.code.replace('clip.save("take-2.mp4")', ""), scope)
    assert torch.equal(scope["clip"].frames, second.clip.frames)
    assert [row.number for row in second.job.trace.rows] == [0, 1, 2, 3]
    desk.do("fork", take=2, step=3, settings={"prompt": "a cat", "seed": 0, "steps": 4, "guidance": "cfg:scale=2"})
    desk.studio.wait()
    assert torch.equal(desk.studio.takes[2].clip.frames, second.clip.frames), "a fork without changes gives the same bits"


def paused_at_one(session, act):
    "A studio whose first run is paused after a step; `act(desk)` is done then."
    desk, done = Desk(session), []
    tell = desk.studio._tell

    def follow(message, buffers):
        tell(message, buffers)
        if message.get("paused") and not done:
            done.append(act(desk))
        elif message.get("step") == 1 and message["say"] == "progress" and not done:
            desk.do("pause")

    desk.studio._tell = follow
    desk.do("generate", settings={"prompt": "a dog", "seed": 0, "steps": 3})
    return desk


def until(true, seconds=60):
    end = time.time() + seconds
    while not true() and time.time() < end:
        time.sleep(0.02)
    assert true()


def test_a_paused_run_goes_on_with_another_sentence(session):
    desk = paused_at_one(session, lambda desk: desk.do("fork", take=0, step=1, settings={"prompt": "a cat", "seed": 0, "steps": 3}))
    until(lambda: desk.studio.takes and not desk.studio.busy)
    assert [t.settings["prompt"] for t in desk.studio.takes] == ["a cat"] and not desk.said("stopped") and not desk.said("problem")


def test_a_run_is_saved_in_one_studio_and_goes_on_in_another(session):
    import base64

    desk = paused_at_one(session, lambda desk: desk.do("keep"))
    until(lambda: desk.said("kept"))
    (message, (data,)) = next((m, b) for m, b in desk.heard if m["say"] == "kept")
    desk.do("pause")
    desk.studio.wait()
    other = Desk(session)
    other.do("open", name=message["name"], file=base64.b64encode(data).decode())
    until(lambda: any(m.get("paused") for m in other.said("progress")))
    assert other.said("opened")[0]["settings"]["prompt"] == "a dog" and other.studio.run.at == 1
    other.do("pause")
    until(lambda: other.studio.takes)
    assert torch.equal(other.studio.takes[0].clip.frames, desk.studio.takes[0].clip.frames) and "Run.open" in other.studio.takes[0].code
    for wrong in ("§", "", base64.b64encode(data[:99]).decode()):
        other.do("open", name="x", file=wrong)
        assert "should not happen" not in other.said("problem")[-1]["text"]


def test_looking_at_a_step_shows_its_pictures(desk):
    desk.make()
    desk.heard.clear()
    desk.do("look", take=1, step=2)
    until(lambda: desk.said("preview"))
    assert desk.said("preview")[0]["step"] == 2
    desk.do("fork", take=1, step=99, settings={"prompt": "a dog", "seed": 0, "steps": 3})
    assert "can be forked at" in desk.said("problem")[-1]["text"] and not desk.studio.busy


def test_a_studio_that_is_told_to_stop_takes_its_server_with_it():
    server = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    code = f"import sys; from sora_kit.lab import run_until_closed; sys.exit(abs(run_until_closed([sys.executable, '-c', {server!r}])))"
    studio = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(studio.stdout.readline())
    studio.send_signal(signal.SIGTERM)
    assert studio.wait(timeout=30) == signal.SIGTERM
    with pytest.raises(ProcessLookupError): os.kill(child, 0)
