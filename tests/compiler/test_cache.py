"""The disk cache: machine code is found by the next process, and whatever is wrong with it is compiled again."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler import cache
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

WORK = """
import json, sys
from chainrule.backends.cpu import toolchain
calls = []
before = toolchain.compile_ir
toolchain.compile_ir = lambda *a, **k: calls.append(1) or before(*a, **k)
import numpy as np, chainrule as cr
scale = float(sys.argv[1]) if len(sys.argv) > 1 else 0.3
names = {"alpha", "beta", "gamma", "delta"}  # sets, whose order depends on the hash seed
x = cr.asarray(np.linspace(-1, 2, 200, dtype=np.float32).reshape(20, 10))
w = {name: cr.asarray(np.full((10, 10), 0.1 + 0.01 * n, np.float32)) for n, name in enumerate(sorted(names))}
def f(x):
    for matrix in w.values():
        x = cr.tanh(x @ matrix) * scale
    return x.sum(axis=0), (x * scale).max()
a, b = cr.compile(f)(x)
c = (x * scale + 1).sum()
values = "".join(t.numpy().tobytes().hex() for t in (a, b, c))
print(json.dumps([len(calls), values]))
"""


def process(folder: Path | str, *arguments: str, **environment: str) -> tuple[int, str]:
    """How many modules another process compiled with this cache folder, and the bytes of its results."""
    result = subprocess.run(
        [sys.executable, "-c", WORK, *arguments],
        env={**os.environ, "CHAINRULE_CACHE": str(folder), "CHAINRULE_NUM_THREADS": "1", **environment},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    count, values = json.loads(result.stdout)
    return count, values


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> tuple[Path, int, str]:
    """A cache folder that one process has filled, the number of modules it compiled and its results."""
    folder = tmp_path_factory.mktemp("cache") / "new" / "chainrule"
    count, values = process(folder, PYTHONHASHSEED="0")
    assert count > 0
    return folder, count, values


@pytest.fixture
def copied(filled, tmp_path) -> tuple[Path, int, str]:
    """A copy of that folder, to be damaged."""
    folder = tmp_path / "copy"
    shutil.copytree(filled[0], folder)
    return folder, filled[1], filled[2]


def test_the_second_process_compiles_nothing(filled):
    folder, count, values = filled
    before = entries(folder)
    assert len(before) == count
    assert process(folder, PYTHONHASHSEED="0") == (0, values)
    assert entries(folder) == before


def test_neither_the_hash_seed_nor_a_lifted_number_matters(filled):
    folder, _, values = filled
    before = entries(folder)
    assert process(folder, PYTHONHASHSEED="1") == (0, values)
    count, other = process(folder, "0.45")
    assert count == 0 and other != values
    assert entries(folder) == before


def test_a_fresh_folder_gets_the_same_entries_whatever_the_hash_seed(filled, tmp_path):
    folder, count, values = filled
    assert process(tmp_path / "other", PYTHONHASHSEED="1") == (count, values)
    assert entries(tmp_path / "other") == entries(folder)
    for name in entries(folder):
        assert (tmp_path / "other" / name).read_bytes() == (folder / name).read_bytes()


def test_the_folder_is_private(filled):
    folder = filled[0]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE((folder / name).stat().st_mode) & 0o077 == 0 for name in entries(folder))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "garbage", "foreign", "checked garbage", "exchanged"])
def test_a_bad_entry_is_compiled_again(copied, damage):
    folder, count, values = copied
    paths = [folder / name for name in entries(folder)]
    contents = [path.read_bytes() for path in paths]
    for number, path in enumerate(paths):
        data = contents[number]
        if damage == "flip":
            data = data[:100] + bytes([data[100] ^ 1]) + data[101:]
        elif damage == "truncate":
            data = data[: len(data) // 2]
        elif damage == "empty":
            data = b""
        elif damage == "garbage":
            data = np.random.default_rng(0).bytes(len(data))
        elif damage in ("foreign", "checked garbage"):  # with a checksum that fits
            code = b"not an object file" * 9
            if damage == "foreign":
                code = toolchain.compile_ir("define void @other() { ret void }")
            data = cache.hashlib.sha256(code).digest() + code
        else:
            data = contents[number - 1]
        path.write_bytes(data)
    assert process(folder) == (count, values)
    assert process(folder) == (0, values)  # and the entries are good again


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    count, values = process(folder)
    assert count > 0 and process(folder / "below") == (count, values) and not entries(folder)


def test_no_folder_at_all(filled, tmp_path):
    _, count, values = filled
    assert process("") == (count, values)
    file = tmp_path / "file"
    file.write_text("in the way")
    assert process(file) == (count, values)
    assert process(file / "below") == (count, values)
    assert file.read_text() == "in the way"


def test_a_folder_of_another_user_is_not_used(tmp_path):
    if not hasattr(os, "getuid"):
        pytest.skip("there are no user numbers here")
    cache.folder.cache_clear()
    try:
        with mock.patch.dict(os.environ, CHAINRULE_CACHE=str(tmp_path)):
            assert cache.folder() == tmp_path
            cache.folder.cache_clear()
            with mock.patch.object(os, "getuid", lambda: tmp_path.stat().st_uid + 1):
                assert cache.folder() is None
    finally:
        cache.folder.cache_clear()


def test_a_folder_that_others_may_write_is_closed(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    process(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755 and entries(folder)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    return tmp_path


def test_the_size_is_capped(folder, monkeypatch):
    monkeypatch.setenv("CHAINRULE_CACHE_BYTES", "5000")
    for number in range(30):
        cache.write(f"entry {number}", bytes([number]) * 1000)
        newest = max(folder.glob("*.o"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 5000
    assert cache.read("entry 29") == bytes([29]) * 1000 and cache.read("entry 0") is None
    monkeypatch.setenv("CHAINRULE_CACHE_BYTES", "0")
    cache.write("entry 30", b"x" * 100)
    assert not list(folder.iterdir())


def test_an_interrupted_write_leaves_the_former_entry(folder):
    cache.write("entry", b"former")
    with mock.patch.object(os, "replace", side_effect=OSError("no space left")):
        cache.write("entry", b"later")
    assert cache.read("entry") == b"former" and len(entries(folder)) == 1


def test_the_key_covers_the_target_the_source_and_the_kernel(tmp_path, monkeypatch):
    first = cache.fingerprint()
    try:
        for target in (toolchain.describe(toolchain.host().triple, "haswell", ""), None):
            cache.fingerprint.cache_clear()
            with pytest.MonkeyPatch.context() as patch:
                if target is not None:
                    patch.setattr(toolchain, "host", lambda target=target: target)
                else:
                    patch.setattr(toolchain, "version", lambda: "llvmlite 0")
                assert cache.fingerprint() != first
        cache.fingerprint.cache_clear()
        package = Path(cache.__file__).resolve().parent.parent
        copy = tmp_path / "chainrule"
        for part in ("compiler", "backends", "ops"):
            shutil.copytree(package / part, copy / part)
        with mock.patch.object(cache, "__file__", str(copy / "compiler" / "cache.py")):
            assert cache.fingerprint() == first
            cache.fingerprint.cache_clear()
            with open(copy / "ops" / "elementary" / "power.py", "a") as file:
                file.write("\n")
            assert cache.fingerprint() != first
    finally:
        cache.fingerprint.cache_clear()
    assert cache.fingerprint() == first


def keys(number: float, shape=(6, 5), name="exp", value=0.5, dtype=np.float32, baked=True) -> list[str]:
    x = constant(np.full(shape, value, dtype))
    y = emit("mul", emit(name, x), emit("full", attributes=(number, shape, x.dtype)))
    order = topological([y])
    return make_plan(order, [y], CpuTiles(toolchain.host()), 1, None, baked).keys


def test_the_key_of_a_kernel():
    first = keys(0.3)
    assert first == keys(0.4) == keys(-0.0) == keys(float("nan")) == keys(0.3, value=9.0)  # lifted numbers, values
    assert first == keys(0.3, shape=(7, 5)) == keys(0.3, shape=(30,))  # the leading axis is free
    assert keys(2.0) != keys(0.5) != first != keys(2.0)  # structural numbers
    assert first != keys(0.3, name="log") and first != keys(0.3, dtype=np.float64) and first != keys(0.3, baked=False)
    assert keys(0.3, baked=False) == keys(0.3, shape=(3, 50), baked=False)
