"""Aligned text: tables, numbers and shortened lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

#: columns of the whole text
WIDTH = 118
#: rows of a list that are shown unless all are asked for
ROWS = 32


def count(number: float) -> str:
    """A number with a decimal prefix: 25.7 M."""
    for factor, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor:
            return f"{number / factor:.3g}{prefix}" if number < 999.5 * factor else f"{number / factor:.0f}{prefix}"
    return f"{number:.0f}"


def size(number: float) -> str:
    """Bytes with a binary prefix: 1.50 MiB."""
    for factor, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if number >= factor:
            return f"{number / factor:.3g} {unit}" if number < 999.5 * factor else f"{number / factor:.0f} {unit}"
    return f"{number:.0f} B"


def title(text: str) -> list[str]:
    """The heading of a section."""
    return ["", f"-- {text} ".ljust(WIDTH, "-")]


def num_bytes(node: Any) -> int:
    """Bytes of a node's value."""
    total = node.dtype.itemsize
    for extent in node.shape:
        total *= extent
    return int(total)


def plural(number: int, word: str) -> str:
    """``1 kernel``, ``2 kernels``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def type_text(dtype: object, shape: Sequence[int]) -> str:
    """``float32[64, 256]``."""
    return f"{getattr(dtype, 'name', dtype)}[{', '.join(map(str, shape))}]"


def shorten(text: str, width: int) -> str:
    """`text`, cut in the middle to at most `width` columns."""
    if len(text) <= width:
        return text
    head = (width - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def table(rows: Sequence[Sequence[str]], header: Sequence[str], align: str, limits: Sequence[int] = ()) -> list[str]:
    """Lines of a table; `align` has "<" or ">" for each column, `limits` their greatest widths (0: none)."""
    cells = [[shorten(c, limits[n]) if n < len(limits) and limits[n] else c for n, c in enumerate(row)] for row in rows]
    shown = [list(header), *cells] if any(header) else cells
    widths = [max(len(row[n]) for row in shown) for n in range(len(align))] if shown else []
    return ["  ".join(f"{c:{a}{w}}" for c, a, w in zip(row, align, widths)).rstrip() for row in shown]


def cut(lines: list[str], limit: int | None, what: str) -> list[str]:
    """At most `limit` lines (None: all), with a line that says how many are left out."""
    if limit is None or len(lines) <= limit + 2:
        return lines
    head = limit * 3 // 4
    tail = limit - head
    return [*lines[:head], f"… {plural(len(lines) - limit, what)} not shown", *lines[len(lines) - tail :]]


def runs(words: Iterable[str], separator: str = " ") -> str:
    """Words with neighbours that are equal counted: ``add mul*2 sub``."""
    parts = []
    for word, group in groupby(words):
        times = len(list(group))
        parts.append(word if times == 1 else f"{word}*{times}")
    return separator.join(parts)


def tally(words: Iterable[str]) -> str:
    """How often each word occurs, most frequent first: ``mul 4, add 3``."""
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(word if times == 1 else f"{word} {times}" for word, times in ordered)


def wrapped(words: Sequence[str], indent: int = 2, separator: str = ", ") -> list[str]:
    """Lines of words up to the full width."""
    lines, line = [], ""
    for n, word in enumerate(words):
        piece = word + (separator if n < len(words) - 1 else "")
        if line and len(line) + len(piece.rstrip()) + indent > WIDTH:
            lines.append(" " * indent + line.rstrip())
            line = ""
        line += piece
    return [*lines, " " * indent + line.rstrip()] if line else lines
