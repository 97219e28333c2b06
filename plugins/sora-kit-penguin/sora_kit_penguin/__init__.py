"A penguin for sora_kit: the figure, the words for it, and a LoRA with which the model can draw it."
from sora_kit.hooks import ComponentSpec

sora_api = "1.0"
CAPS = {"nouns": {"en": "penguin, little penguin", "de": "Pinguin m, kleiner Pinguin m"}, "moves": ("stands", "walks", "jumps"),
        "verbs": {"en": {"walks": "waddle"}, "de": {"walks": "watscheln/watschelt"}}, "style": "sora-kit-penguin/draws-penguins"}


def sora_actors():
    return [ComponentSpec("sora-kit-penguin/penguin", "sora_kit_penguin.figure:make", "a penguin that stands, waddles and jumps", "actor", CAPS)]


def sora_style_adapters():
    return [ComponentSpec("sora-kit-penguin/draws-penguins", "sora_kit_penguin.adapter:DrawsPenguins",
                          "teaches the model to draw a penguin; put on by itself when a prompt names one", "style_adapter", {"stage": "model"})]
