"""The disk cache of machine code: entries with a checksum, written aside and renamed, in a folder of the user's own.

An entry's name covers what the code depends on: the kernels, the target machine, LLVM and the compiler's own source.
Whatever is wrong with an entry or the folder, the code is simply compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path

from .. import config
from ..backends.cpu import toolchain

#: bytes written since the folder was last looked through
_unseen = 0


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Hash of the target, the versions and the source of everything that generates code."""
    digest = hashlib.sha256()
    digest.update(repr((toolchain.host(), toolchain.version())).encode())
    package = Path(__file__).resolve().parent.parent
    for folder in ("compiler", "backends", "ops"):
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def folder() -> Path | None:
    """The cache folder, private to the user, or None if there can be none."""
    path = config.cache_folder()
    if path is None:
        return None
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            return None
        if os.name == "posix" and status.st_mode & 0o022:
            path.chmod(status.st_mode & 0o755)  # nobody else may leave code here
    except OSError:
        return None
    return path


def _path(entry: str) -> Path | None:
    place = folder()
    if place is None:
        return None
    name = hashlib.sha256((fingerprint() + entry).encode()).hexdigest()[:48]
    return place / f"{name}.o"


def read(entry: str) -> bytes | None:
    """The code stored under `entry`, or None."""
    path = _path(entry)
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if len(data) < 32 or hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    return data[32:]


def write(entry: str, code: bytes) -> None:
    """Store `code` under `entry`, if the folder can be written."""
    path = _path(entry)
    if path is None:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return
        _written(path, len(code))
    except OSError:
        return


def _written(path: Path, size: int) -> None:
    """Trim the folder after some of the writes: looking through it takes longer than writing an entry.

    That is when a 64th of the bound has been written since the last look, and one in 64 times (names are hashes) for
    the sake of many short processes that write little each.
    """
    global _unseen
    _unseen += size
    if _unseen * 64 >= config.cache_bytes() or int(path.stem[:8], 16) % 64 == 0:
        _unseen = 0
        _trim(path.parent)


def _trim(place: Path) -> None:
    """Drop the oldest entries when the folder has grown beyond its bound."""
    entries = []
    with os.scandir(place) as listing:
        for item in listing:
            if not item.name.endswith(".o"):
                continue
            with contextlib.suppress(OSError):
                status = item.stat()
                entries.append((status.st_mtime, status.st_size, item.path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= config.cache_bytes():
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
            total -= size
