"""Writing files so that a reader sees the former file or the whole new one, never a part."""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import RunError


def sync_folder(folder: Path) -> None:
    """Ask the system to store the folder's entries, where it can (a rename is lost without it)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse; the data of the file itself is stored already
    finally:
        os.close(handle)


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write a file aside, store it, then rename it to `path`.

    Args:
        path: the file; its folder has to exist.
        content: bytes, or text that is written as UTF-8.

    Raises:
        RunError: it could not be written (disk full, no permission, no folder). A former file at
            `path` is untouched then, and nothing else is left behind.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    if path.is_dir():
        raise RunError(f"{path} is a folder, so no file of that name can be written")
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".partial", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp makes private files; results are ordinary ones
        os.replace(temporary, path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise RunError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The text of a CSV file with a header line, lines ended by a line feed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file atomically; see `write_atomically` for the errors."""
    write_atomically(path, csv_text(header, rows))
