"""Files appear whole or not at all; the former file survives a failure."""

import errno
import os
import resource
import subprocess
import sys

import pytest

from chainrule.data import write_atomically, write_csv
from chainrule.errors import RunError


def test_write_and_replace(tmp_path):
    path = tmp_path / "out.csv"
    write_csv(path, ["a", "b"], [[1, "x,y"], [2, "z"]])
    assert path.read_text() == 'a,b\n1,"x,y"\n2,z\n'
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_former_file_survives_a_full_disk(tmp_path, monkeypatch, function):
    path = tmp_path / "out.csv"
    path.write_text("former")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, function, full)
    with pytest.raises(RunError, match=r"out\.csv could not be written: No space left on device"):
        write_atomically(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_former_file_survives_a_file_size_limit(tmp_path):
    """The operating system itself refuses the write half-way."""
    path = tmp_path / "out.csv"
    path.write_text("former")
    program = (
        "import resource, signal, sys\n"
        "from chainrule.data import write_atomically\n"
        "from chainrule.errors import RunError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    write_atomically(sys.argv[1], b'x' * 100000)\n"
        "except RunError as error:\n"
        "    print(error)\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert "File too large" in done.stdout
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_folder_is_not_a_file(tmp_path):
    with pytest.raises(RunError, match="is a folder"):
        write_atomically(tmp_path, "x")
    with pytest.raises(RunError, match="No such file"):
        write_atomically(tmp_path / "no" / "where", "x")
