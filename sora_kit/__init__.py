"""Write a sentence, get a short film with synchronised sound, and open every step in between."""
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("sora_kit")
except PackageNotFoundError:  # an uninstalled checkout, as on a bare training machine
    __version__ = "0+unknown"

_public = {"Clip": "core", "Audio": "core", "Recipe": "core", "Session": "pipeline", "Run": "pipeline", "Step": "pipeline",
           "generate": "pipeline", "Cancelled": "run", "Trace": "trace", "ComponentSpec": "hooks", "Param": "hooks", "PluginError": "hooks", "Verdict": "hooks",
           "plugin_manager": "plugins", "sampler": "decorators", "guidance_rule": "decorators", "style_adapter": "decorators",
           "audio_module": "decorators", "safety_filter": "decorators", "actor": "decorators", "lesson": "decorators"}
__all__ = ["__version__", *_public]


def __getattr__(name):
    "Public names are imported on first use, so that `import sora_kit` stays light (PEP 562)."
    if name not in _public:
        raise AttributeError(f"module 'sora_kit' has no attribute {name!r}")
    return getattr(import_module(f"sora_kit.{_public[name]}"), name)


def __dir__():
    "The lazy names too, for completion."
    return sorted({*globals(), *_public})
