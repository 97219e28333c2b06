#!/usr/bin/env python3
"""After new weights: train the penguin's LoRA on them, judge it, and run all example notebooks. `python plugins/refresh.py [--minutes M] [--notebooks-only] [WORD …]`."""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent


def shelf(folder: Path) -> Path:
    "The packages as pip would install them, as links: found by their entry points, nothing is built or copied."
    for project in sorted(HERE.glob("*/pyproject.toml")):
        about = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        (name, module), = about["entry-points"]["sora_kit"].items()
        (folder / module).symlink_to(project.parent / module)
        info = folder / f"{module}-{about['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[sora_kit]\n{name} = {module}\n", encoding="utf-8")
    return folder


def run_notebook(path: Path) -> None:
    "Run a notebook and keep its outputs, without what changes from run to run."
    import nbformat
    from nbclient import NotebookClient
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": tempfile.gettempdir()}}).execute()
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    for k, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{k}", {}
        for output in cell.get("outputs", ()): output.pop("execution_count", None) if output.output_type != "execute_result" else output.update(execution_count=None)
        if "execution_count" in cell: cell.execution_count = None
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{path.relative_to(HERE)}: {path.stat().st_size:,} bytes", flush=True)


def fill_readme() -> None:
    "Write what the penguin's judge said into the README."
    sys.path.insert(0, str(HERE.parent))
    from sora_kit.lora import load_lora
    home = HERE / "sora-kit-penguin"
    facts = load_lora(home / "sora_kit_penguin" / "penguin.safetensors").facts
    judged, percent = facts["judged"], "{:.0%}".format
    rows = [f"| generated {name} | {percent(values['0'])} | {percent(values['1'])} |" for name, values in judged.items() if name != "ceiling"]
    ceiling = judged["ceiling"]
    text = "\n".join([f"| recognised as penguins ({facts['steps']} steps, {facts['seconds']} s; weights {facts['weights'][:12]}) | without | with the LoRA |", "|---|---|---|", *rows, "",
                      f"The judge's ceiling on rendered pictures: {percent(ceiling['penguins'])} of penguins recognised, {percent(ceiling['false'])} of others taken for one, "
                      f"{percent(ceiling['all'])} of all fourteen kinds right."])
    path = home / "README.md"
    old = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(<!-- judged -->\n).*?(<!-- /judged -->)", lambda m: m[1] + text + "\n" + m[2], old, flags=re.S), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", metavar="WORD", help="run only the notebooks with one of these words in their path")
    parser.add_argument("--minutes", type=float, default=6., help="of training the penguin")
    parser.add_argument("--notebooks-only", action="store_true")
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = os.pathsep.join([str(HERE.parent), str(shelf(Path(folder))), *filter(None, [os.environ.get("PYTHONPATH")])])
        os.environ |= {"PYTHONPATH": path, "SORA_KIT_CONFIG": folder}
        if not o.notebooks_only: subprocess.run([sys.executable, "-u", "-m", "sora_kit_penguin.train", "--minutes", str(o.minutes)], check=True)
        fill_readme()
        for notebook in sorted(HERE.glob("*/examples/*.ipynb")):
            if not o.only or any(word in str(notebook.relative_to(HERE)) for word in o.only): run_notebook(notebook)


if __name__ == "__main__":
    main()
