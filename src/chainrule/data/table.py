"""`Table`: the columns of a CSV file as text, and what they look like as numbers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError

#: fields that mean "no value", compared in lower case
MISSING = frozenset({"", "na", "n/a", "?", "nan", "null", "none", "#n/a"})


def distinct(values: np.ndarray) -> np.ndarray:
    """The different values without NaN, rising (``numpy.unique`` loads ``numpy.ma`` on first use: 40 ms)."""
    ordered = np.sort(values[values == values])
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names most like `name`, upper and lower case being the same."""
    by_fold: dict[str, str] = {}
    for candidate in names:
        by_fold.setdefault(candidate.lower(), candidate)
    folded = name.lower()
    close = difflib.get_close_matches(folded, by_fold, n=count, cutoff=0.5)
    close += [other for other in by_fold if folded and folded in other and other not in close]
    return [by_fold[other] for other in close[:count]]


def help_nearest(name: str, names: Sequence[str], what: str = "columns") -> str:
    """A `help:` line with the nearest names, or with all of them if none is near."""
    close = nearest(name, names)
    if close:
        return "help: did you mean " + " or ".join(repr(other) for other in close) + "?"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"help: the {what} are {shown}"


def is_missing(text: str) -> bool:
    """Whether a field means "no value": empty, NA, N/A, ?, nan, null, none (any case)."""
    return text.lower() in MISSING


def parse_number(text: str) -> float | None:
    """The number that a field spells, or None; infinities are returned as such."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if "_" in text else value  # Python reads 1_000 as a number; data files do not mean one


@dataclass
class Column:
    """A named column of text fields; `numbers` and `missing` are worked out once, when asked for.

    Attributes: ``name``; ``texts``, a list of stripped fields; ``lines``, the line of each in its file.
    """

    name: str
    texts: list[str]
    lines: Sequence[int] = ()
    _numbers: np.ndarray | None = field(default=None, repr=False)
    _missing: np.ndarray | None = field(default=None, repr=False)

    @property
    def missing(self) -> np.ndarray:
        """(rows,) bool: which fields have no value."""
        if self._missing is None:
            known = {text: text.lower() in MISSING for text in set(self.texts)}  # few texts differ, as a rule
            self._missing = np.fromiter((known[text] for text in self.texts), bool, len(self.texts))
        return self._missing

    @property
    def numbers(self) -> np.ndarray:
        """(rows,) float64: the fields as numbers; NaN where missing or not a number.

        Raises:
            DataError: an infinity, naming the line.
        """
        if self._numbers is None:
            known = {text: None if text.lower() in MISSING else parse_number(text) for text in set(self.texts)}
            values = np.array([known[text] for text in self.texts], dtype=np.float64)  # None becomes NaN
            infinite = np.flatnonzero(np.isinf(values))
            if len(infinite):
                row = int(infinite[0])
                line = f" in line {self.lines[row]}" if len(self.lines) else ""
                others = f" ({len(infinite)} such fields in all)" if len(infinite) > 1 else ""
                raise DataError(
                    f"column {self.name!r} holds the infinite value {self.texts[row]!r}{line}{others}\n"
                    "help: correct the file, or leave the field empty if the value is not known"
                )
            self._numbers = values
        return self._numbers

    def take(self, rows: np.ndarray) -> Column:
        """The column with the given rows only, in their order."""
        texts = self.texts
        lines = self.lines
        return Column(
            self.name,
            [texts[r] for r in rows],
            [lines[r] for r in rows] if len(lines) else (),
            None if self._numbers is None else self._numbers[rows],
            None if self._missing is None else self._missing[rows],
        )


@dataclass
class Table:
    """Columns of equal length, in file order.

    Attributes: ``columns`` by name; ``source``, what messages call the table; ``has_header``;
    ``digest``, the SHA-256 of the file it was read from (empty if none); ``notes`` for the user.
    """

    columns: dict[str, Column]
    source: str = "table"
    has_header: bool = True
    digest: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Column names in file order."""
        return list(self.columns)

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())).texts) if self.columns else 0

    def column(self, name: str, what: str = "column") -> Column:
        """The column of that name (or, in a file without a header, of that number from 1, or from -1).

        Raises:
            DataError: there is none; the nearest names are shown.
        """
        found = self.columns.get(name)
        if found is not None:
            return found
        if not self.has_header and name.lstrip("-").isdigit():
            number = int(name)
            if 1 <= abs(number) <= len(self.columns):
                return self.columns[self.names[number - 1 if number > 0 else number]]
        header = "" if self.has_header else " (it has no header line, so its columns are numbered)"
        raise DataError(f"{what} {name!r} is not a column of {self.source}{header}\n{help_nearest(name, self.names)}")

    def take(self, rows: np.ndarray) -> Table:
        """The table with the given rows only, in their order."""
        columns = {name: column.take(rows) for name, column in self.columns.items()}
        return Table(columns, self.source, self.has_header, self.digest, self.notes)

    def without(self, names: Iterable[str]) -> Table:
        """The table without the named columns."""
        dropped = set(names)
        columns = {name: column for name, column in self.columns.items() if name not in dropped}
        return Table(columns, self.source, self.has_header, self.digest, self.notes)
