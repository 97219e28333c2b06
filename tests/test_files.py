"""Files are whole or not there, and damaged weights end in one line."""

import errno
import json
import os
import random
import signal
import time

import pytest
import torch

from sora_kit import files
from sora_kit.files import (
    DTYPES,
    InputError,
    MachineError,
    load_sharded,
    load_tensors,
    parse_json,
    read_bytes,
    save_sharded,
    save_tensors,
    shown,
    writable,
    write_atomic,
)


def one_line(problem) -> str:
    text = str(problem.value)
    assert text and "\n" not in text and len(text) < 400
    return text


class FullDisk:
    "A file on a disk that is full after `room` bytes."

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def fileno(self):
        return self.file.fileno()

    def flush(self):
        self.file.flush()

    def write(self, data):
        if len(data) > self.room:
            self.file.write(data[: self.room])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        self.file.write(data)


@pytest.mark.parametrize("room", [0, 3, 7, 11])
def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch, room):
    path = write_atomic(tmp_path / "a.bin", b"old")
    monkeypatch.setattr(files, "open", lambda p, mode: FullDisk(open(p, mode), room), raising=False)
    with pytest.raises(MachineError) as problem:
        write_atomic(path, [b"1234", b"5678", b"90ab"])
    assert "No space left" in one_line(problem)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
def test_failure_at_each_step_keeps_the_old_file(tmp_path, monkeypatch, step, failure):
    def fails(*_):
        raise failure

    path = write_atomic(tmp_path / "a.bin", b"old")
    monkeypatch.setattr(files.os, step, fails)
    with pytest.raises(MachineError if isinstance(failure, OSError) else KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX")
def test_real_write_error(tmp_path):
    "A file size limit makes the system itself refuse the write."
    path = write_atomic(tmp_path / "a.bin", b"old")
    child = os.fork()
    if child == 0:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomic(path, b"x" * 5000)
            os._exit(1)
        except MachineError:
            os._exit(0)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.skipif(os.name != "posix", reason="signals and forks of POSIX")
def test_killed_writers_leave_a_whole_file(tmp_path):
    path, sizes, chance = tmp_path / "a.bin", (10, 100_000), random.Random(0)
    write_atomic(path, b"\0" * sizes[0])
    for _ in range(20):
        child = os.fork()
        if child == 0:
            for i in range(10_000):
                write_atomic(path, [bytes([i % 256]) * (sizes[i % 2] // 10)] * 10)
            os._exit(0)
        time.sleep(chance.uniform(0.002, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        data = path.read_bytes()
        assert len(data) in sizes and len(set(data)) == 1


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for bad in ("", "  ", "a\0b", tmp_path, tmp_path / "no" / "a.mp4", tmp_path / "file" / "a.mp4", tmp_path / ("x" * 300), os.devnull):
        with pytest.raises(InputError) as problem:
            write_atomic(bad, b"x")
        one_line(problem)
    assert os.listdir(tmp_path) == ["file"]
    assert writable(tmp_path / "new.mp4").name == "new.mp4"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_read_only_directory(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError):
        write_atomic(tmp_path / "a", b"x")


@pytest.mark.skipif(os.name != "posix", reason="links and modes of POSIX")
def test_links_are_followed_and_modes_are_usual(tmp_path):
    real = tmp_path / "real"
    (tmp_path / "link").symlink_to(real)
    write_atomic(tmp_path / "link", b"x")
    assert real.read_bytes() == b"x" and (tmp_path / "link").is_symlink()
    (tmp_path / "usual").write_bytes(b"")
    assert real.stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")
def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "film.mp4")
    for bad in (tmp_path / "film.mp4", tmp_path, tmp_path / "none", "a\0b", ""):
        with pytest.raises(InputError):
            read_bytes(bad, 100)
    (tmp_path / "big").write_bytes(b"x" * 101)
    with pytest.raises(InputError, match="101"):
        read_bytes(tmp_path / "big", 100)


def test_shown_is_printable():
    for nasty in ("\x1b[2J", "\u202egpj.exe", "a\nb", "\ud800", "\r", "x" * 10_000, torch.zeros(9, 9)):
        text = shown(nasty)
        assert text.isprintable() and len(text) <= 60


def test_json_from_strangers():
    for bad in (
        "",
        "nul",
        "[]",
        '{"a": NaN}',
        '{"a": -Infinity}',
        "[" * 90_000,
        '{"a":' * 9_000,
        "1" * 5000,
        b"\xff\xfe",
        '{"a": "' + "x" * 100_001,
    ):
        with pytest.raises(InputError) as problem:
            parse_json(bad)
        one_line(problem)


def sample_tensors():
    draw = torch.Generator().manual_seed(0)
    return {f"block.{name}": (torch.randn(3, 5, generator=draw) * 9).to(dtype) for name, dtype in DTYPES.items()} | {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 7),
        "transposed": torch.randn(4, 6, generator=draw).T,
    }


def same(a, b):
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and torch.equal(a[k], b[k]) for k in a)


def test_the_safetensors_library_and_ours_read_each_other(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    ours, theirs, tensors = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors", sample_tensors()
    save_tensors(ours, tensors, {"world": "core"})
    assert same(library.load_file(ours), tensors)
    with library.safe_open(ours, "pt") as file:
        assert file.metadata() == {"world": "core"}
    library.save_file({k: v.contiguous() for k, v in tensors.items()}, theirs, {"a": "b"})
    assert same(load_tensors(theirs), tensors)


def test_hash_is_checked(tmp_path):
    digest = save_tensors(tmp_path / "a", sample_tensors())
    assert same(load_tensors(tmp_path / "a", digest), sample_tensors())
    with pytest.raises(MachineError, match="SHA-256") as problem:
        load_tensors(tmp_path / "a", "0" * 64)
    one_line(problem)


def test_lying_headers(tmp_path):
    def file(header, data=b"\0" * 8, length=None):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        (tmp_path / "bad").write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)

    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    file({"a": entry})
    assert load_tensors(tmp_path / "bad")["a"].tolist() == [0, 0]
    for header in (
        {"a": {**entry, "dtype": "C64"}},
        {"a": {**entry, "dtype": ["F32"]}},
        {"a": {**entry, "shape": [3]}},
        {"a": {**entry, "shape": [-2]}},
        {"a": {**entry, "shape": [2.0]}},
        {"a": {**entry, "shape": [2**40, 2**40]}},
        {"a": {**entry, "shape": [1] * 99}},
        {"a": {**entry, "data_offsets": [8, 0]}},
        {"a": {**entry, "data_offsets": [8, 16]}},
        {"a": {**entry, "data_offsets": [0]}},
        {"a": entry, "b": entry},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": 3},
        {"a": None},
        {},
        [],
        b"{",
        b"[" * 999,
    ):
        file(header)
        with pytest.raises(MachineError) as problem:
            load_tensors(tmp_path / "bad")
        one_line(problem)
    for length in (0, 1, 10**6, 2**63, 2**64 - 1):
        file({"a": entry}, length=length)
        with pytest.raises(MachineError):
            load_tensors(tmp_path / "bad")


def test_mutated_weights_never_crash(tmp_path):
    path, chance = tmp_path / "w", random.Random(1)
    save_tensors(path, sample_tensors())
    data = path.read_bytes()
    start = time.process_time()
    for _ in range(500):
        broken = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(min(len(broken), 900))
            if chance.random() < 0.5:
                broken[at] = chance.randrange(256)
            else:
                del broken[at : at + chance.randint(1, 40)]
        path.write_bytes(broken)
        try:
            load_tensors(path)
        except MachineError as problem:
            assert "\n" not in str(problem)
    assert time.process_time() - start < 30


def test_shards_are_small_and_complete(tmp_path):
    tensors = {f"w{i}": torch.randn(100, 100, generator=torch.Generator().manual_seed(i)) for i in range(9)}
    digest = save_sharded(tmp_path, "m", tensors, {"steps": "3"}, limit=250_000)
    sizes = [p.stat().st_size for p in tmp_path.glob("*.safetensors")]
    assert len(sizes) == 3 and max(sizes) <= 250_000 and same(load_sharded(tmp_path, "m", digest), tensors)
    with pytest.raises(InputError):
        save_sharded(tmp_path, "m", tensors, limit=120_000)
    with pytest.raises(MachineError):
        load_sharded(tmp_path, "m", "0" * 64)


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_a_crash_between_shards_keeps_the_old_model(tmp_path, monkeypatch, fails_at):
    old, new = ({f"w{i}": torch.full((100, 100), float(value + i)) for i in range(6)} for value in (0, 100))
    save_sharded(tmp_path, "m", old, limit=250_000)
    calls = []

    def limited(path, data):
        calls.append(path)
        if len(calls) == fails_at:
            raise MachineError("disk full")
        return write_atomic(path, data)

    monkeypatch.setattr(files, "write_atomic", limited)
    try:
        save_sharded(tmp_path, "m", new, limit=250_000)
        written = new
    except MachineError:
        written = old
    assert same(load_sharded(tmp_path, "m"), written)
    monkeypatch.undo()
    save_sharded(tmp_path, "m", new, limit=250_000)
    assert same(load_sharded(tmp_path, "m"), new) and len(list(tmp_path.glob("*.safetensors"))) == 2


def test_damaged_models_are_one_line(tmp_path):
    save_sharded(tmp_path, "m", {f"w{i}": torch.randn(100, 100) for i in range(6)}, limit=250_000)
    shard, index = sorted(tmp_path.glob("*.safetensors"))[0], tmp_path / "m.index.json"
    whole, listing = shard.read_bytes(), index.read_text()

    def refused():
        with pytest.raises((MachineError, InputError)) as problem:
            load_sharded(tmp_path, "m")
        one_line(problem)

    for damage in (whole[:-1], whole[:100], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        shard.write_bytes(damage)
        refused()
    shard.unlink()
    refused()
    shard.write_bytes(whole)
    for damage in (
        "",
        "{}",
        listing[:-20],
        listing.replace(shard.name, "../" + shard.name),
        listing.replace("sha256", "md5"),
        '{"metadata": {}, "shards": 3}',
    ):
        index.write_text(damage)
        refused()
    index.unlink()
    refused()
