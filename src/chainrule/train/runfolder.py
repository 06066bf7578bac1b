"""Run folders: written aside and renamed when complete; read back with every defect named."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..data.storage import sync_folder, write_atomically
from ..dtypes import bfloat16
from ..errors import RunError

WEIGHTS = "model.safetensors"
#: NumPy's dtypes by their names in safetensors files
_DTYPES = {"BOOL": np.dtype("bool"), "BF16": bfloat16.numpy} | {
    f"{kind.upper()}{bits}": np.dtype(f"{kind}{bits // 8}")
    for kind, sizes in (("i", (8, 16, 32, 64)), ("u", (8, 16, 32, 64)), ("f", (16, 32, 64)))
    for bits in sizes
}
_NUMBERS = re.compile(r"\[\n\s+([-+.,\deE\s]+?)\n\s+\]")


def free_name(path: Path) -> Path:
    """`path`, or the first of ``path-2``, ``path-3``, ... that does not exist."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name}-{number}")
        number += 1
    return candidate


def plain(value: Any) -> Any:
    """The value with NumPy scalars as Python's, tuples as lists, and non-finite numbers as None (JSON has none)."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def json_text(value: Any) -> str:
    """Indented JSON with a final line feed; the same value gives the same text."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    # lists of numbers on one line each; text in JSON holds no line feeds, so that only real lists match
    return _NUMBERS.sub(lambda match: "[" + " ".join(match[1].split()) + "]", text) + "\n"


def json_line(value: Any) -> str:
    """JSON on one line, with its line feed."""
    return json.dumps(plain(value), ensure_ascii=False, allow_nan=False) + "\n"


class RunWriter:
    """A run folder being made: files are collected in a hidden folder beside it, renamed by `commit`.

    Used as a context manager: on leaving without `commit` (an error, Ctrl-C) nothing is left behind.

    Args:
        path: the run folder to be; it must not exist, or be empty.

    Raises:
        RunError: it exists already, or cannot be made.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.check()
        self._folder: Path | None = None

    def check(self) -> None:
        """Raise RunError if the run folder is there already and holds anything."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            return
        if self.path.exists() or self.path.is_symlink():
            raise RunError(
                f"{self.path} exists already\nhelp: choose another folder, for example "
                f"--out {free_name(self.path)}, or remove it"
            )

    def __enter__(self) -> RunWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(
                tempfile.mkdtemp(prefix=f".{self.path.name[:100]}.", suffix=".partial", dir=self.path.parent)
            )
        except OSError as error:
            raise RunError(f"{self.path} could not be made: {error.strerror or error}") from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def write(self, name: str, content: bytes | str) -> None:
        """Add a file.

        Raises:
            RunError: it could not be written, for example because the disk is full.
        """
        if self._folder is None:
            raise RunError("the run folder is complete: nothing can be added")
        try:
            write_atomically(self._folder / name, content)
        except RunError as error:
            cause = error.__cause__
            reason = (cause.strerror or cause) if isinstance(cause, OSError) else error
            raise RunError(f"{self.path / name} could not be written: {reason}") from cause

    def write_json(self, name: str, value: Any) -> None:
        """Add a JSON file."""
        self.write(name, json_text(value))

    def write_lines(self, name: str, records: list[Any]) -> None:
        """Add a file of one JSON object a line."""
        self.write(name, "".join(map(json_line, records)))

    def write_weights(self, weights: dict[str, np.ndarray]) -> str:
        """Add ``model.safetensors`` and return its SHA-256."""
        from safetensors.numpy import save  # optional at import: 30 ms

        arrays = {name: np.ascontiguousarray(array) for name, array in weights.items()}
        short = [name for name, array in arrays.items() if array.dtype == bfloat16.numpy]
        arrays |= {name: arrays[name].view(np.uint16) for name in short}
        data = _marked(save(arrays, {"format": "chainrule"}), short)
        self.write(WEIGHTS, data)
        return hashlib.sha256(data).hexdigest()

    def commit(self) -> None:
        """Give the complete folder its name.

        Raises:
            RunError: the name was taken meanwhile, or the system refuses.
        """
        assert self._folder is not None
        self.check()
        try:
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(self._folder, 0o777 & ~mask)
            sync_folder(self._folder)
            if self.path.is_dir():
                self.path.rmdir()  # empty, as checked; a rename onto a folder is refused on some systems
            os.rename(self._folder, self.path)
            self._folder = None
            sync_folder(self.path.parent)
        except OSError as error:
            raise RunError(f"{self.path} could not be made: {error.strerror or error}") from error


def _marked(data: bytes, names: list[str]) -> bytes:
    """The safetensors file `data` with the 16-bit words called `names` declared as bfloat16, which NumPy cannot say."""
    if not names:
        return data
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    for name in names:
        header[name]["dtype"] = "BF16"
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def read_json(path: Path) -> Any:
    """The contents of a JSON file of a run folder.

    Raises:
        RunError: it is missing, unreadable or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path.parent} is not a run folder: it has no {path.name}") from None
    except NotADirectoryError:
        raise RunError(f"{path.parent} is a file, not a run folder") from None
    except (ValueError, OSError) as error:
        raise RunError(f"{path} is damaged: {error}") from None


def load_run(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(config, weights) of a run folder.

    Raises:
        RunError: the folder, its config.json or its model.safetensors is missing or damaged; the weights
            are compared with the checksum that config.json holds.
    """
    folder = Path(path)
    if not folder.exists():
        raise RunError(f"there is no run folder {folder}")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise RunError(f"{folder / 'config.json'} is damaged: it does not hold an object")
    return config, load_weights(folder / WEIGHTS, config.get("weights_sha256"))


def load_weights(path: Path, checksum: str | None) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file; those of bfloat16 have the dtype that `chainrule.bfloat16.numpy` is.

    Raises:
        RunError: it is missing, unreadable, damaged, or not the one of the checksum.
    """
    from safetensors import SafetensorError, deserialize

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path.parent} has no {path.name}: it holds no trained model") from None
    except OSError as error:
        raise RunError(f"{path} could not be read: {error.strerror or error}") from None
    try:
        weights = {
            name: np.frombuffer(part["data"], _DTYPES[part["dtype"]]).reshape(part["shape"])
            for name, part in deserialize(data)
        }
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise RunError(f"{path} is damaged or not complete: {error}\nhelp: train again, or restore the file") from None
    if checksum is not None and hashlib.sha256(data).hexdigest() != checksum:
        raise RunError(
            f"{path} is damaged: its contents are not those that config.json was written with\n"
            "help: train again, or restore the file"
        )
    return weights
