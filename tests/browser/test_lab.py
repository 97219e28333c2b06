"""The studio in a real JupyterLab: type, generate, cancel, compare, open the steps, save; and the same with the kernel behind a gateway."""

import json
import secrets
import sys

import pytest
from lab import chromium, free_port, jupyter_lab, open_notebook, process, serious, surroundings

from sora_kit.core import Clip
from sora_kit.lab import write_starter

BAD = "a red dog <img src=x onerror=alert(1)>"


def ask(page, prompt: str, seed: int, steps: int = 4):
    page.fill(".sk textarea", prompt)
    page.fill(".sk .seed input", str(seed))
    page.locator(".sk input[type=range]").first.fill(str(steps))
    page.click(".sk button:text-is('Generate')")


def reachable(page, presses: int) -> list[str]:
    "What the Tab key reaches from the prompt on: names as a screen reader would say them."
    page.focus(".sk textarea")
    found = []
    for _ in range(presses):
        page.keyboard.press("Tab")
        found.append(page.evaluate("(e => e.ariaLabel || (e.closest('label, fieldset') || e).textContent.trim().slice(0, 60))(document.activeElement)"))
    return found


def finished(page, take: int):
    page.wait_for_selector(f".sk .state:has-text('Take {take}:')", timeout=90_000)


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    write_starter(folder, weights=str(tiny))
    return folder


def test_a_lesson_in_the_studio(folder, tmp_path):
    with jupyter_lab(folder) as address, chromium() as page:
        sent = []
        page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
        open_notebook(page, address.format("studio.ipynb"))
        page.wait_for_selector(".sk .state:has-text('Ready.')", timeout=90_000)
        # type: understood while typing, markup stays text
        page.fill(".sk textarea", BAD)
        page.wait_for_selector(".sk .chips li:has-text('dog')")
        assert page.locator("img[src='x']").count() == 0
        # a mistake is one line
        ask(page, "🎆", 0)
        page.wait_for_selector(".sk .problem:not([hidden])")
        assert "\n" not in page.inner_text(".sk .problem")
        # generate two takes, with the keyboard alone for the second
        ask(page, BAD, 1)
        finished(page, 1)
        page.fill(".sk textarea", "a cat in the snow")
        page.keyboard.press("Control+Enter")
        finished(page, 2)
        assert page.evaluate("document.querySelector('.sk video').readyState >= 1 || new Promise(r => document.querySelector('.sk video').onloadedmetadata = () => r(true))")
        # everything can be reached with the Tab key
        reached = reachable(page, 40)
        for words in ("Generate", "red balloon", "Seed", "New seed", "Steps", "Sampler, guidance", "Save film", "Show me the code", "Open the steps", "Show take 2", "Compare take 2", "Use settings"):
            assert any(words in text for text in reached), (words, reached)
        # on a projector: without the notebook around it
        page.click(".sk button:text-is('Full screen')")
        page.wait_for_function("document.fullscreenElement?.querySelector('.sk .desk')")
        page.click(".sk button:text-is('Leave full screen')")
        page.wait_for_function("!document.fullscreenElement")
        # cancel
        ask(page, "a dog", 3, 60)
        page.click(".sk button:text-is('Cancel')")
        page.wait_for_selector(".sk .state:has-text('Cancelled')", timeout=30_000)
        # compare
        for box in page.locator(".sk .history input[type=checkbox]").all():
            box.check()
        page.locator(".sk .compare video").nth(1).wait_for()
        page.wait_for_selector(".sk .compare table:has-text('prompt')")
        # the code, and saving through the browser
        page.locator(".sk .history .open").first.click()
        page.click(".sk button:text-is('Show me the code')")
        page.wait_for_selector(""".sk pre:has-text("sora_kit.generate('a cat in the snow'")""")
        with page.expect_download() as download:
            page.click(".sk a:text-is('Save film')")
        download.value.save_as(tmp_path / "film.mp4")
        assert Clip.load(tmp_path / "film.mp4").recipe.prompt == "a cat in the snow"
        # the steps: scrubbing asks the kernel nothing
        page.click(".sk button:text-is('Open the steps')")
        page.wait_for_selector(".sk .explorer .grid", timeout=60_000)
        page.wait_for_selector("[data-drawn]")
        page.wait_for_timeout(500)
        before = len(sent)
        slider = page.locator(".sk:has(.explorer) input[type=range]").first
        slider.focus()
        for key in ["Home", *["ArrowRight"] * 3]:
            page.keyboard.press(key)
        page.wait_for_selector("[data-drawn^='x0 3']")
        assert [f for f in sent[before:] if "comm_msg" in str(f)] == []
        # steer: look at a step, and let another film go on from there
        page.fill(".sk textarea", "a bird <img src=x onerror=alert(1)>")
        page.locator(".sk .steer input").fill("2")
        page.wait_for_selector(".sk .seen:has-text('after step 2')", timeout=60_000)
        page.click(".sk button:text-is('Go on from there')")
        finished(page, 3)
        page.click(".sk button:text-is('Show me the code')")
        page.wait_for_selector(".sk pre:has-text('while run.at < 2: next(run)')")
        # pause and save the half-finished run
        ask(page, "a dog", 3, 60)
        page.click(".sk button:text-is('Pause')")
        page.wait_for_selector(".sk .state:has-text('paused')", timeout=60_000)
        with page.expect_download() as download:
            page.click(".sk button:text-is('Save this run')")
        download.value.save_as(tmp_path / "half.run")
        page.click(".sk button:text-is('Cancel')")
        page.wait_for_selector(".sk .state:has-text('Cancelled')", timeout=60_000)
        # and open it again
        page.set_input_files(".sk input[type=file]", tmp_path / "half.run")
        page.wait_for_selector(".sk .state:has-text('paused')", timeout=60_000)
        page.click(".sk button:text-is('Go on')")
        finished(page, 4)
        assert serious(page, ".jp-OutputArea") == []
        assert page.locator("img[src='x']").count() == 0 and not [p for p in page.problems if "dialog" in p or "sk" in p.lower().split()]


def test_the_same_studio_with_its_kernel_behind_a_gateway(folder, tiny):
    pytest.importorskip("kernel_gateway", reason="jupyter_kernel_gateway is not installed")
    far, port, token = folder.parent / "far", free_port(), secrets.token_hex(8)
    far.mkdir()
    env = surroundings(far / "home", FAR_AWAY="yes", KG_LIST_KERNELS="True", KG_AUTH_TOKEN=token)
    env["KG_ENV_PROCESS_WHITELIST"] = ",".join(set(env) - {"KG_AUTH_TOKEN"})  # a gateway's kernels get no variables but those named
    command = [sys.executable, "-m", "kernel_gateway", "--KernelGatewayApp.ip=127.0.0.1", f"--KernelGatewayApp.port={port}"]
    book = json.loads((folder / "studio.ipynb").read_text())
    book["cells"][1]["source"] += ["\n", "import os; print('far away:', os.environ.get('FAR_AWAY'))\n", "studio"]
    (folder / "far.ipynb").write_text(json.dumps(book))
    with process(command, env, far, f"http://127.0.0.1:{port}/api"), chromium() as page:
        with jupyter_lab(folder, f"--GatewayClient.url=http://127.0.0.1:{port}", f"--GatewayClient.auth_token={token}", dark=True) as address:
            open_notebook(page, address.format("far.ipynb"))
            page.wait_for_selector(".sk .state:has-text('Ready.')", timeout=90_000)
            page.wait_for_selector(".jp-OutputArea:visible :text('far away: yes')")
            ask(page, "a red balloon", 2)
            finished(page, 1)
            page.wait_for_selector(".sk .history li")
            assert page.locator(".sk .history li:visible").count() == 1
            assert serious(page, ".jp-OutputArea") == [], "in the dark theme"
