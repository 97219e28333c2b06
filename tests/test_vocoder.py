"The shipped vocoder is worth its bytes, and its command keeps everything else in the weights."
import pytest
import torch
from tiny_model import write_tiny

from sora_kit import vocoder
from sora_kit.audio import mel_to_waveform
from sora_kit.files import SHIPPED, InputError, load_index, load_sharded, under
from sora_kit.session import load_backbone
from sora_kit.vocoder import compared, main, world_sounds


def test_the_shipped_vocoder_is_nearer_and_quicker_than_griffin_lim():
    net, griffin_lim = compared({"vocoder": load_backbone(SHIPPED).vocoder, "Griffin-Lim": mel_to_waveform}, world_sounds(7, 16))
    assert net.distance < griffin_lim.distance and net.onsets > .9 and net.seconds < griffin_lim.seconds / 3


def test_the_command_teaches_and_compares(tmp_path, capsys, monkeypatch):
    folder, few = write_tiny(tmp_path), world_sounds(0, 4)
    monkeypatch.setattr(vocoder, "world_sounds", lambda seed, n: few)          # 64 to compare with take a while
    old, digest = load_sharded(folder, "tiny"), load_index(folder, "tiny")[1]
    asked = ["--weights", str(folder), "--name", "tiny", "--sounds", "4", "--minutes", ".002"]
    main([*asked, "--compare", "--anew"])                                    # what is compared is what is there
    assert load_index(folder, "tiny")[1] == digest and digest[:12] in capsys.readouterr().out
    main(asked)
    new = load_sharded(folder, "tiny")
    assert "tools/refresh" in capsys.readouterr().out and load_index(folder, "tiny")[1] != digest
    assert all(torch.equal(new[k], v) for k, v in old.items() if not k.startswith("vocoder."))
    assert under(new, "vocoder.")["head.weight"].shape == old["vocoder.head.weight"].shape and new["vocoder.head.weight"].dtype == torch.bfloat16
    main([*asked, "--anew"])
    assert load_sharded(folder, "tiny")["vocoder.embed.weight"].shape != old["vocoder.embed.weight"].shape
    assert load_backbone(folder, "tiny").vocoder is not None


def test_bad_requests_are_one_line(tmp_path):
    folder = write_tiny(tmp_path, vocoder=False)
    for more, why in ((["--compare"], "hold none"), (["--minutes", "0"], "above 0")):
        with pytest.raises(InputError, match=why): main(["--weights", str(folder), "--name", "tiny", *more])
