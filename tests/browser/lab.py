"""A real JupyterLab and a real Chromium for the tests, both with folders of their own, and both gone afterwards."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def surroundings(folder: Path, **more) -> dict:
    "An environment in which Jupyter reads and writes nothing outside `folder`."
    places = {f"JUPYTER_{name}_DIR": str(folder / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    for place in places.values():
        Path(place).mkdir(parents=True, exist_ok=True)
    quiet = folder / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True, exist_ok=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    themes = {"theme": "JupyterLab Dark" if more.pop("dark", False) else "JupyterLab Light"}
    (quiet / "themes.jupyterlab-settings").write_text(json.dumps(themes))
    known = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
    path = os.pathsep.join([str(ROOT), *filter(None, [known.get("PYTHONPATH")])])
    return known | places | {"PYTHONPATH": path, "IPYTHONDIR": str(folder / "ipython"), "HOME": str(folder), "OMP_NUM_THREADS": "1"} | more


@contextlib.contextmanager
def process(command: list[str], env: dict, cwd: Path, ready: str, seconds: float = 90):
    "Run a server until the block ends; `ready` is an address that answers once it is up."
    log = open(cwd.parent / f"{cwd.name}-{command[2]}.log", "w+b")
    worker = subprocess.Popen(command, env=env, cwd=cwd, stdout=log, stderr=subprocess.STDOUT)
    try:
        end = time.time() + seconds
        while True:
            try:
                urllib.request.urlopen(ready, timeout=5).read()
                break
            except urllib.error.HTTPError:
                break  # it answers, if only to ask for a token
            except OSError:
                if worker.poll() is not None or time.time() > end:
                    log.seek(0)
                    raise RuntimeError(log.read().decode(errors="replace")[-3000:]) from None
                time.sleep(0.2)
        yield worker
    finally:
        worker.terminate()
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()
        log.close()


@contextlib.contextmanager
def jupyter_lab(folder: Path, *options: str, dark: bool = False, **env):
    "The address of a running JupyterLab whose notebooks are in `folder`."
    port, token = free_port(), secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}",
               f"--IdentityProvider.token={token}", "--LabApp.extension_manager=readonly", *options]
    with process(command, surroundings(folder.parent / "home", dark=dark, **env), folder, f"http://127.0.0.1:{port}/api"):
        yield f"http://127.0.0.1:{port}/lab/tree/{{}}?token={token}"


@contextlib.contextmanager
def chromium(**settings):
    "A page of a new browser; what goes wrong in it is collected in `page.problems`."
    from playwright.sync_api import sync_playwright
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, "accept_downloads": True} | settings).new_page()
        page.problems = []
        page.on("pageerror", lambda problem: page.problems.append(str(problem)))
        page.on("dialog", lambda dialog: (page.problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        try:
            yield page
        finally:
            browser.close()


def open_notebook(page, address: str):
    "Open a notebook in JupyterLab and run its code cell, as a person does; notebooks of an earlier visit stay closed."
    page.goto(address.replace("?", "?reset&", 1))
    page.wait_for_selector('.jp-StatusBar-Widget :text("| Idle")', timeout=90_000)
    page.locator(".jp-Notebook .jp-CodeCell .cm-content:visible").first.click()
    page.keyboard.press("Shift+Enter")


def serious(page, within: str = "document") -> list[str]:
    "What axe-core finds, serious and critical only; `within` is a CSS selector."
    page.evaluate((HERE / "axe.min.js").read_text(encoding="utf-8") + ";0")
    found = page.evaluate("where => axe.run(where === 'document' ? document : where, { resultTypes: ['violations'] })", within)["violations"]
    return [f"{v['impact']} {v['id']}: {n['html'][:160]}" for v in found if v["impact"] in ("serious", "critical") for n in v["nodes"]]
