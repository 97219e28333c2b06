"""Weights and sessions: what damaged, missing or foreign files do."""
import json
import shutil
from dataclasses import replace

import pytest
import torch
from tiny_model import CODEC, DIT, write_tiny

from sora_kit.dit import DiT
from sora_kit.files import InputError, MachineError
from sora_kit.pipeline import Run, Session


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return write_tiny(tmp_path_factory.mktemp("tiny"))


def copied(folder, tmp_path):
    "A copy of the weights to spoil, its shards and its index."
    copy = tmp_path / "weights"
    shutil.copytree(folder, copy)
    return copy, sorted(copy.glob("*.safetensors")), copy / "tiny.index.json"


def refused(folder):
    with pytest.raises(MachineError) as caught: Session(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    return str(caught.value)


def test_shards_that_are_cut_altered_or_gone(folder, tmp_path):
    copy, shards, _ = copied(folder, tmp_path)
    assert len(shards) > 1
    for shard in shards:
        data = shard.read_bytes()
        for bad in (data[:-1], data[:7], b"", data + b"\0", data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]):
            shard.write_bytes(bad)
            assert "weights" in refused(copy)
        shard.unlink()
        refused(copy)
        shard.write_bytes(data)
    Session(copy)


def test_an_index_that_is_cut_or_altered(folder, tmp_path):
    copy, _, index = copied(folder, tmp_path)
    text = index.read_text()
    for cut in range(0, len(text) - 1, len(text) // 13):
        index.write_text(text[:cut])
        refused(copy)
    config = json.loads(json.loads(text)["metadata"]["config"])
    for change in ({"frames": 18}, {"frames": 10**9}, {"frames": 0}, {"frames": "17"}, {"fps": 0}, {"fps": "nan"}, {"fps": None}, {"tokenizer": "0"}, {"dit": {}}, {"dit": None}, {"codec": {"channels": 5}},
                   {"dit": config["dit"] | {"depth": 10**9}}, {"dit": config["dit"] | {"depth": 2}}, {"dit": config["dit"] | {"width": 0}}, {"dit": config["dit"] | {"heads": 0}},
                   {"dit": config["dit"] | {"fold": 0}}, {"dit": config["dit"] | {"vocabulary": 100}}, {"dit": config["dit"] | {"extra": 1}}, {"dit": config["dit"] | {"width": 64}},
                   {"dit": config["dit"] | {"patch": 3}}, {"codec": config["codec"] | {"encoder": [10**6]}}, {"codec": config["codec"] | {"decoder": []}}, {"codec": config["codec"] | {"encoder": 8}}):
        changed = json.loads(text)
        changed["metadata"]["config"] = json.dumps(config | change)
        index.write_text(json.dumps(changed))
        refused(copy)
    for gone in ("frames", "fps", "dit", "codec", "tokenizer"):
        changed["metadata"]["config"] = json.dumps({k: v for k, v in config.items() if k != gone})
        index.write_text(json.dumps(changed))
        refused(copy)


def test_a_tokenizer_that_is_gone_or_another(folder, tmp_path):
    copy, _, _ = copied(folder, tmp_path)
    path = copy / "tokenizer.json"
    text = path.read_text()
    for bad in ("", text[:100], '{"format": "sora_kit.tokenizer/1", "merges": []}'):
        path.write_text(bad)
        refused(copy)
    path.unlink()
    refused(copy)


def test_tensors_that_do_not_fit(tmp_path, monkeypatch):
    import tiny_model
    monkeypatch.setattr(tiny_model, "DIT", replace(DIT, width=40))
    assert "shape" in refused(write_tiny(tmp_path / "a", dit={**DIT.__dict__}))
    monkeypatch.setattr(tiny_model, "DIT", DIT)
    monkeypatch.setattr(tiny_model, "CODEC", replace(CODEC, decoder=(8, 8, 8, 16)))
    assert "shape" in refused(write_tiny(tmp_path / "b", codec=CODEC.__dict__))


def test_the_weights_say_how_their_noise_levels_are_shifted(folder, tmp_path):
    shifted = Session(write_tiny(tmp_path / "shifted", shift=2.))
    assert (Session(folder).backbone.shift, shifted.backbone.shift) == (1., 2.)
    for session, middle in ((Session(folder), 1 / 2), (shifted, 2 / 3)):
        assert Run(session, "a dog on the beach", steps=2).levels.tolist() == pytest.approx([1, middle, 0])
    for bad in (0, -1, 100, "2", True, None): assert "shift" in refused(write_tiny(tmp_path / str(bad), shift=bad))


def test_a_model_with_tracker_and_refiner(tmp_path, monkeypatch):
    import tiny_model
    monkeypatch.setattr(tiny_model, "DIT", replace(DIT, tracker=8, tracker_says=2, refiner=8, rank=4))
    session = Session(write_tiny(tmp_path / "both"))
    clip, dit = Run(session, "a dog on the beach", steps=2).result(), session.backbone.dit
    assert len(clip.frames) == 17 and dit.tracker.halves.out_channels == 4 and len(dit.modulation) == 2 and dit.refiner.enter.out_channels == 8
    torch.nn.init.constant_(dit.refiner.leave.bias, .1)
    assert not torch.equal(Run(session, "a dog on the beach", steps=2).result().frames, clip.frames)


def test_a_refiner_needs_a_tracker(tmp_path):
    with pytest.raises(ValueError, match="tracker"): DiT(replace(DIT, refiner=8))


def test_which_model_of_a_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"): Session(tmp_path / "nothing")
    with pytest.raises(MachineError, match="no model"): Session(tmp_path)
    write_tiny(tmp_path, name="one")
    assert Session(tmp_path).backbone.name == "one"
    write_tiny(tmp_path, name="two")
    with pytest.raises(InputError, match="one, two"): Session(tmp_path)
    assert Session(tmp_path, model="two").backbone.name == "two"
    with pytest.raises(InputError, match="one, two"): Session(tmp_path, model="three")


def test_settings_of_the_session(folder):
    for wrong in ({"device": "nowhere"}, {"device": "cuda:9000"}, {"threads": 0}):
        with pytest.raises(InputError): Session(folder, **wrong)
