"The style adapter that draws penguins: a LoRA that turns robots into penguins, and a reader that takes the one word for the other."
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from sora_kit.files import need
from sora_kit.lora import Handle, LoRA, load_lora
from torch import Tensor

FILE = Path(__file__).parent / "penguin.safetensors"
RETRAIN = "train it again: python -m sora_kit_penguin.train"
READS = ((b" penguin", b" robot"), (b" penguins", b" robots"), (b" pinguin", b" roboter"), (b" pinguine", b" roboter"), (b" pinguins", b" roboters"),
         (b" pinguinen", b" robotern"))


def pieces(tokenizer) -> list[list[list[int]]]:
    "For each word that is read as another, the tokens of both; the longest first."
    pairs = [[list(tokenizer.word(word)) for word in pair] for pair in READS]
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def read_as(ids: Tensor, pairs: list) -> Tensor:
    "Token ids [B,L] with one word in the place of another; what follows moves up, 0 fills the end."
    rows = []
    for row in ids.tolist():
        out, i = [], 0
        while i < len(row):
            old, new = next(((old, new) for old, new in pairs if row[i:i + len(old)] == old), (row[i:i + 1], row[i:i + 1]))
            out, i = out + new, i + len(old)
        rows.append((out + [0] * len(row))[:len(row)])
    return torch.tensor(rows, dtype=ids.dtype, device=ids.device)


class On(Handle):
    "The LoRA and the reader while they are on a model. Where no sentence is given the model stays as it is, so that guidance leads towards penguins."

    def __init__(self, lora: LoRA, dit: torch.nn.Module, scale: float):
        super().__init__(scale)
        layers, pairs = dict(dit.named_modules()), lora.facts["reads"]
        self.told = torch.ones(1, dtype=torch.bool)                # rows of the batch that have a sentence

        def read(layer, inputs):
            self.told = (inputs[0] != 0).any(1)
            return (read_as(inputs[0], pairs),) if self.scale else None
        self._hooks.append(dit.words.register_forward_pre_hook(read))
        for name in lora.down: self.add(layers[name], lora.down[name], lora.up[name])

    def add(self, layer: torch.nn.Linear, down: Tensor, up: Tensor) -> None:
        "Add scale · up(down(x)) to what a layer answers, in the rows that have a sentence."
        def path(layer, inputs, answer):
            if self.scale == 0: return None
            x = inputs[0]
            rows = self.told.repeat_interleave(len(x) // len(self.told)).view(-1, *[1] * (x.ndim - 1))
            return answer + self.scale * rows * F.linear(F.linear(x, down.to(x)), up.to(x)).to(answer.dtype)
        self._hooks.append(layer.register_forward_hook(path))


@dataclass(frozen=True, eq=False)
class Penguins:
    "A LoRA that was trained on penguins where the sentence says robot; `facts['reads']` are the tokens of those words."
    lora: LoRA

    def touches(self, info) -> frozenset[str]:
        "The names of the parts of the transformer that are changed."
        return self.lora.touches(info) | {"words"}

    def attach(self, backbone, *, scale: float = 1.) -> On:
        "Put it on; `InputError` if the model is not the one that it was trained on."
        there, asked = getattr(backbone, "sha256", None), str(self.lora.facts.get("weights", ""))
        need(there is None or there == asked, "penguin", f"weights {str(there)[:12]}", f"it was trained on {asked[:12]}; {RETRAIN}")
        self.lora.attach(backbone, scale=scale).detach()           # refuses a model that it does not fit
        return On(self.lora, backbone.dit, scale)


class DrawsPenguins(Penguins):
    "The penguins that come with the package."

    def __init__(self): pass

    @cached_property
    def lora(self) -> LoRA:
        need(FILE.is_file(), "penguin", FILE.name, f"it has not been trained yet; {RETRAIN}")
        return load_lora(FILE)
