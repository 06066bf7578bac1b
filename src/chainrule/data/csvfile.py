"""Reading CSV files: delimiter, header and encoding are found out; every defect is one clear message."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

from ..errors import DataError
from .table import Column, Table, is_missing, parse_number

_DELIMITERS = ",;\t|"
_FIELD_LIMIT = 1 << 20  # characters; an unclosed quote would otherwise swallow a file of any size


def _decode(data: bytes, path: Path) -> tuple[str, list[str]]:
    if b"\x00" in data[:65536]:
        raise DataError(f"{path} is not a text file (it holds zero bytes); a CSV file is needed")
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return data.decode("latin-1"), ["the file is not UTF-8; it was read as Latin-1"]


def find_delimiter(text: str) -> str:
    """The delimiter among ``, ; tab |`` that splits the first lines into most fields, evenly; else a comma."""
    lines = [line for line in text[:20000].splitlines()[:20] if line.strip()]
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
        if not counts or counts[0] < 2:
            continue
        score = counts[0] * sum(count == counts[0] for count in counts) / len(counts)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _looks_like_header(fields: list[str], target: str | None) -> bool:
    if target is not None and target in fields:
        return True
    return all(not is_missing(text) and parse_number(text) is None for text in fields if text != "") and any(fields)


def read_csv(path: str | Path, *, target: str | None = None, header: bool | None = None) -> Table:
    """Read a CSV file into a `Table` of text columns.

    The first line is a header if none of its fields is a number or a mark for a missing value, or if one of
    them is `target`; columns without a header are called ``column1``, ``column2``, ...

    Args:
        path: the file: UTF-8 (or Latin-1), delimited by comma, semicolon, tab or bar; blank lines are skipped.
        target: a column that the caller will ask for.
        header: True or False where the file's first line would be misjudged.

    Raises:
        DataError: missing or unreadable or empty file, a row with too many or too few fields (line number),
            two columns of one name, an unclosed quote.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; a CSV file is needed") from None
    except OSError as error:
        raise DataError(f"{path} could not be read: {error.strerror or error}") from None
    text, notes = _decode(data, path)
    if not text.strip():
        raise DataError(f"{path} is empty")
    delimiter = find_delimiter(text)
    rows: list[list[str]] = []
    lines: list[int] = []
    csv.field_size_limit(_FIELD_LIMIT)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    start = 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {start}: {error} (is a quotation mark not closed?)") from None
        if row is None:
            break
        if len(row) > 1 or (row and row[0].strip()):  # else a blank line; delimiters alone are missing values
            rows.append([field.strip() for field in row])
            lines.append(start)
        start = reader.line_num + 1
    if header is None:
        header = _looks_like_header(rows[0], target)
    width = len(rows[0])
    for row, line in zip(rows, lines):
        if len(row) != width:
            many = "too many" if len(row) > width else "too few"
            first = "the header" if header else "the first line"
            raise DataError(
                f"{path}, line {line}: {many} fields, {len(row)} where {first} has {width}\n"
                "help: a field that holds the delimiter itself has to stand in quotation marks"
            )
    if header:
        names = [name or f"column{index}" for index, name in enumerate(rows[0], 1)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(
                f"{path}: two columns are called {twice[0]!r}\nhelp: rename one of them, or give --no-header if "
                "the first line is data"
            )
        rows, lines = rows[1:], lines[1:]
        if not rows:
            raise DataError(f"{path} has a header line but no rows")
    else:
        names = [f"column{index}" for index in range(1, width + 1)]
    columns = {name: Column(name, list(texts), lines) for name, texts in zip(names, zip(*rows))}
    return Table(columns, str(path), header, hashlib.sha256(data).hexdigest(), notes)
