"""Run folders: whole or absent, and every damage named."""

import errno
import json
import os

import numpy as np
import pytest

from chainrule.errors import RunError
from chainrule.train import RunWriter, load_run
from chainrule.train.runfolder import free_name, json_text

WEIGHTS = {"b": np.arange(3, dtype=np.float32), "a": np.ones((2, 2), np.float32)}


def make(path, weights=WEIGHTS):
    with RunWriter(path) as writer:
        checksum = writer.write_weights(weights)
        writer.write_json("config.json", {"weights_sha256": checksum})
        writer.commit()
    return path


def test_write_and_read(tmp_path):
    config, weights = load_run(make(tmp_path / "runs" / "one"))
    assert sorted(weights) == ["a", "b"]
    assert np.array_equal(weights["b"], WEIGHTS["b"])
    assert config["weights_sha256"]
    assert os.listdir(tmp_path / "runs") == ["one"]


def test_same_weights_same_bytes(tmp_path):
    first = (make(tmp_path / "one") / "model.safetensors").read_bytes()
    again = (make(tmp_path / "two", dict(reversed(WEIGHTS.items()))) / "model.safetensors").read_bytes()
    assert first == again


def test_existing_folder_is_refused_with_the_cure(tmp_path):
    path = make(tmp_path / "one")
    with pytest.raises(RunError, match=r"exists already\nhelp: .*--out .*one-2"):
        RunWriter(path)
    assert free_name(path).name == "one-2"
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="exists already"):
        RunWriter(tmp_path / "file")


def test_nothing_is_left_behind_by_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunWriter(tmp_path / "one") as writer:
        writer.write("log.jsonl", "x")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = r"one/config\.json could not be written: No space left"
    with pytest.raises(RunError, match=message), RunWriter(tmp_path / "one") as writer:
        writer.write_json("config.json", {})
    assert os.listdir(tmp_path) == []


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not be made"):
        make(tmp_path / "file" / "run")


@pytest.mark.parametrize("size", [0, 4, 8, 20, 60, -1])
def test_truncated_weights(tmp_path, size):
    path = make(tmp_path / "one") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RunError, match=r"model.safetensors is damaged"):
        load_run(tmp_path / "one")


@pytest.mark.parametrize("position", [0, 7, 9, 30, -1])
def test_corrupt_weights(tmp_path, position):
    path = make(tmp_path / "one") / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[position] ^= 0x55
    path.write_bytes(bytes(data))
    with pytest.raises(RunError, match=r"model.safetensors is damaged"):
        load_run(tmp_path / "one")


def test_missing_parts(tmp_path):
    with pytest.raises(RunError, match="there is no run folder"):
        load_run(tmp_path / "none")
    with pytest.raises(RunError, match="is not a run folder"):
        load_run(tmp_path)
    path = make(tmp_path / "one")
    (path / "model.safetensors").unlink()
    with pytest.raises(RunError, match="holds no trained model"):
        load_run(path)
    (path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        load_run(path)
    with pytest.raises(RunError, match="not a run folder"):
        load_run(path / "config.json")


def test_json_has_no_nan():
    text = json_text({"a": float("nan"), "b": np.float32(1.5), "c": (np.int64(2), float("inf"))})
    assert json.loads(text) == {"a": None, "b": 1.5, "c": [2, None]}


def test_lists_of_numbers_stand_on_one_line():
    value = {"a": [1.5, -2e-7, 3], "b": [[1], [2, 3]], "c": ["[  1,  2 ]"], "d": []}
    text = json_text(value)
    assert json.loads(text) == value
    assert '"a": [1.5, -2e-07, 3],' in text and "[2, 3]" in text
