"""The package's metadata lives in settings.ini; this file hands it to setuptools."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read(Path(__file__).with_name("settings.ini"))
cfg = config["DEFAULT"]
studio, diffusers, speech, languages, plugins, dev = (cfg[f"{k}_requirements"].split() for k in ("studio", "diffusers", "speech", "languages", "plugins", "dev"))
lessons = [(f"share/sora_kit/{folder.as_posix()}", [str(p) for p in folder.iterdir() if p.is_file()]) for folder in sorted(Path("lessons").glob("*/"))]

setup(
    name=cfg["lib_name"], version=cfg["version"], description=cfg["description"], author=cfg["author"],
    keywords=cfg["keywords"], license="Apache-2.0", python_requires=f">={cfg['min_python']}",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    package_dir={"": "."},      # else an editable install is hidden by a folder named sora_kit, as in the folder above a clone
    packages=find_packages(include=["sora_kit*"]), package_data={"sora_kit": ["weights/*", "weights/adapters/*", "static/*", "templates/**/*", "prompts.txt"]},
    data_files=lessons,
    install_requires=cfg["requirements"].split(),
    extras_require={"studio": studio, "diffusers": diffusers, "speech": speech, "languages": languages, "plugins": plugins,
                    "dev": [*studio, *diffusers, *speech, *languages, *plugins, *dev]},
    entry_points={"console_scripts": ["sora-kit=sora_kit.cli:main"], "nbdev": ["sora_kit=sora_kit._modidx:d"], "pytest11": ["sora_kit=sora_kit.pytest_plugin"]},
)
