"""A model of random numbers, small enough to make a film in a tenth of a second: what the pipeline's tests run on."""
import json
from dataclasses import asdict
from pathlib import Path

import torch

from sora_kit.audio import Vocoder
from sora_kit.codec import Codec, CodecConfig
from sora_kit.dit import DiT, DiTConfig
from sora_kit.files import save_sharded
from sora_kit.leap import leap_file, new_leap
from sora_kit.lora import LoRA, save_lora
from sora_kit.session import Session
from sora_kit.text import load_tokenizer, save_tokenizer

DIT = DiTConfig(width=32, depth=1, heads=2, hidden=32, audio_hidden=16, channels=4, local=8, sync=2, oracle_block=0)
CODEC = CodecConfig(channels=4, encoder=(8, 8, 8), decoder=(8, 8, 8, 8))


def alive(module: torch.nn.Module, seed: int) -> dict:
    "The tensors of a module, with the layers that begin at zero woken up."
    g = torch.Generator().manual_seed(seed)
    return {k: v if v.abs().max() > 0 else .3 * torch.randn(v.shape, generator=g) for k, v in module.state_dict().items()}


def write_tiny(folder: Path, vocoder: bool = True, name: str = "tiny", dtype=torch.float32, **facts) -> Path:
    "Write weights in the format of the package; facts change the configuration in them."
    torch.manual_seed(0)
    parts = {"dit": alive(DiT(DIT), 1), "codec": Codec(CODEC).state_dict()}
    if vocoder: parts["vocoder"] = Vocoder(width=16, depth=1, hidden=16).state_dict()
    tensors = {f"{part}.{k}": v.to(dtype).contiguous() for part, state in parts.items() for k, v in state.items() if not k.startswith("oracle.")}
    tokenizer = load_tokenizer()
    config = {"frames": 17, "fps": 8., "size": 64, "dit": asdict(DIT), "codec": asdict(CODEC), "tokenizer": tokenizer.hash, "step": 0, "seconds": 0.} | facts
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    save_sharded(folder, name, tensors, {"config": json.dumps(config)}, limit=300_000)
    return folder


def write_leaper(folder: Path, seed: int = 0) -> Path:
    "The same, with an adapter for leaps of random numbers."
    model, g = Session(write_tiny(folder)).backbone, torch.Generator().manual_seed(seed)
    idle = new_leap(model.dit, 2, g)
    up = {k: .1 * torch.randn(v.shape, generator=g) for k, v in idle.up.items()}
    save_lora(leap_file(folder, model.name), LoRA(idle.down, up, {"weights": model.sha256, "shift": 2., "guidance": 3.5}))
    return folder


def taken(run, steps):
    "The run, so many steps later."
    for _ in range(steps): next(run)
    return run
