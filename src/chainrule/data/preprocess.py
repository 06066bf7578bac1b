"""Preprocessing of table columns into network inputs, fitted on training rows only and kept as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError
from .bins import cut_points
from .table import Column, Table, distinct, help_nearest

#: most one-hot inputs of a column; less frequent categories count as missing
MOST_CATEGORIES = 64
#: a category needs this many training rows (or 1 % of a small file) for an input of its own
RARE = 10
#: knots of a quantile transform
KNOTS = 129
#: a numeric column with a longer tail than this (absolute third standardised moment) is ranked
HEAVY_TAIL = 1.0
#: with this many training rows, numeric columns get piecewise-linear inputs too
ROWS_FOR_BINS = 1000
#: values farther from the mean than this many standard deviations are moved there: float32 has to hold them
FARTHEST = 1e6
#: most intervals of a numeric column, and the rows that each needs
BINS, ROWS_PER_BIN = 16, 20


@dataclass
class NumericEncoder:
    """A numeric column: the median for missing values (and an indicator input), then a standard scale.

    With ``knots`` (quantiles of the training rows, for columns with a heavy tail) a value is first
    mapped to its rank and then to the normal quantile of it, by linear interpolation; else it is
    ``(x - mean) / scale``. With ``edges`` (in units of the scaled value z) there is also an input for each
    interval, ``clip((z - low) / (high - low), 0, 1)``.
    """

    name: str
    median: float
    mean: float
    scale: float
    knots: list[float] = field(default_factory=list)
    edges: list[float] = field(default_factory=list)
    indicator: bool = False
    kind = "numeric"

    @property
    def features(self) -> list[str]:
        """Names of the inputs that this column becomes."""
        steps = [f"{self.name} step {number}" for number in range(1, len(self.edges))]
        return [self.name, *steps] + ([f"{self.name} is missing"] if self.indicator else [])

    def transform(self, column: Column, warnings: list[str]) -> np.ndarray:
        """(rows, features) float64."""
        values = column.numbers
        missing = np.isnan(values)
        strange = missing & ~column.missing
        if strange.any():
            example = column.texts[int(np.flatnonzero(strange)[0])]
            warnings.append(
                f"{self.name!r}: {int(strange.sum())} values are not numbers (such as {example!r}); treated as missing"
            )
        scaled = self.scaled(np.where(missing, self.median, values))[:, None]
        blocks = [scaled]
        if self.edges:
            low, high = np.array(self.edges[:-1]), np.array(self.edges[1:])
            blocks.append(np.clip((scaled - low) / (high - low), 0, 1))
        if self.indicator:
            blocks.append(missing[:, None])
        return np.concatenate(blocks, 1)

    def scaled(self, values: np.ndarray) -> np.ndarray:
        """(rows,) float64 values without NaN, on the standard scale."""
        if self.knots:
            return self._ranked(values)
        with np.errstate(over="ignore"):
            return np.clip((values - self.mean) / self.scale, -FARTHEST, FARTHEST)

    def _ranked(self, values: np.ndarray) -> np.ndarray:
        knots = np.asarray(self.knots)
        scores = normal_scores(len(knots))
        # equal knots (a value that many rows share): the mean of the ranks from the left and from the right
        right = np.interp(values, knots, scores)
        left = -np.interp(-values, -knots[::-1], -scores[::-1])
        return (left + right) / 2

    def to_json(self) -> dict[str, Any]:
        """A JSON object, see `encoder_from_json`."""
        return {"kind": self.kind, **self.__dict__}


@dataclass
class CategoricalEncoder:
    """A categorical column: one input a category, and one for missing, rare and unseen ones."""

    name: str
    categories: list[str]
    other: bool
    rare: list[str] = field(default_factory=list)
    kind = "categorical"

    @property
    def features(self) -> list[str]:
        """Names of the inputs that this column becomes."""
        names = [f"{self.name} = {category}" for category in self.categories]
        return names + ([f"{self.name} is missing or rare"] if self.other else [])

    def transform(self, column: Column, warnings: list[str]) -> np.ndarray:
        """(rows, features) float64 of 0 and 1; without an input for "other", missing values are all 0."""
        index = {category: i for i, category in enumerate(self.categories)}
        width = len(self.categories)
        known = {**dict.fromkeys(self.rare, width), **index}
        missing = column.missing
        unseen: dict[str, int] = {}
        where = np.full(len(column.texts), width)
        for row, text in enumerate(column.texts):
            if not missing[row]:
                found = known.get(text)
                if found is None:
                    unseen[text] = unseen.get(text, 0) + 1
                else:
                    where[row] = found
        if unseen:
            shown = ", ".join(repr(text) for text in sorted(unseen)[:3]) + (", ..." if len(unseen) > 3 else "")
            warnings.append(
                f"{self.name!r}: {sum(unseen.values())} values were not seen in training ({shown}); treated as missing"
            )
        hot = np.zeros((len(where), width + 1))
        hot[np.arange(len(where)), where] = 1
        return hot if self.other else hot[:, :width]

    def to_json(self) -> dict[str, Any]:
        """A JSON object, see `encoder_from_json`."""
        return {"kind": self.kind, **self.__dict__}


@dataclass
class MissingEncoder:
    """A text column with too many different values: only whether there is a value."""

    name: str
    kind = "missing"

    @property
    def features(self) -> list[str]:
        """Name of the one input."""
        return [f"{self.name} is missing"]

    def transform(self, column: Column, warnings: list[str]) -> np.ndarray:
        """(rows, 1) float64 of 0 and 1."""
        return column.missing[:, None].astype(np.float64)

    def to_json(self) -> dict[str, Any]:
        """A JSON object, see `encoder_from_json`."""
        return {"kind": self.kind, **self.__dict__}


Encoder = NumericEncoder | CategoricalEncoder | MissingEncoder
_KINDS = {encoder.kind: encoder for encoder in (NumericEncoder, CategoricalEncoder, MissingEncoder)}


def normal_scores(count: int) -> np.ndarray:
    """(count,) standard normal quantiles of the ranks (i + 1/2) / count, the ends at about 2.7 for 129 knots.

    Reference: Abramowitz and Stegun, 26.2.23 (absolute error below 4.5e-4, plenty for a scale).
    """
    p = (np.arange(count) + 0.5) / count
    tail = np.minimum(p, 1 - p)
    t = np.sqrt(-2 * np.log(tail))
    x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    scores = np.where(p < 0.5, -x, x)
    scores[count // 2] = 0.0 if count % 2 else scores[count // 2]
    return scores


def _is_row_number(values: np.ndarray, column: Column) -> bool:
    """Whole numbers that rise by nearly one a row: an identifier, not a measurement."""
    if len(values) < 20 or np.isnan(values).any() or np.any(values != np.floor(values)):
        return False
    return bool(np.all(np.diff(values) > 0) and values[-1] - values[0] < 2 * len(values))


def _fit_edges(encoder: NumericEncoder, values: np.ndarray, targets: np.ndarray) -> list[float]:
    """Ends of the intervals on the encoder's scale, or none if one interval does."""
    scaled = encoder.scaled(np.where(np.isnan(values), encoder.median, values))
    cuts = cut_points(scaled, targets, BINS, ROWS_PER_BIN)
    return [float(scaled.min()), *map(float, cuts), float(scaled.max())] if len(cuts) else []


def _fit_numeric(
    column: Column, values: np.ndarray, targets: np.ndarray | None, notes: list[str]
) -> NumericEncoder | None:
    """The encoder of a numeric column (values with NaN for missing), or None if it says nothing."""
    present = values[~np.isnan(values)]
    indicator = len(present) < len(values)
    size = float(np.abs(present).max()) or 1.0
    unit = present / size
    spread = float(unit.std())
    if spread == 0 and not indicator:
        notes.append(f"{column.name!r} is left out: it has one value only")
        return None
    encoder = NumericEncoder(
        column.name, float(np.median(present)), float(unit.mean()) * size, (spread * size) or 1.0, [], [], indicator
    )
    if spread > 0:
        skewness = abs(float((((unit - unit.mean()) / spread) ** 3).mean()))
        if skewness > HEAVY_TAIL and len(distinct(present)) > 10:
            encoder.knots = [float(knot) for knot in np.quantile(present, np.linspace(0, 1, KNOTS))]
        if targets is not None and len(values) >= ROWS_FOR_BINS:
            encoder.edges = _fit_edges(encoder, values, targets)
    return encoder


def _fit_categorical(column: Column, notes: list[str]) -> CategoricalEncoder | MissingEncoder | None:
    """The encoder of a text column, or None if it says nothing."""
    missing = column.missing
    counts: dict[str, int] = {}
    for row, text in enumerate(column.texts):
        if not missing[row]:
            counts[text] = counts.get(text, 0) + 1
    num_present = sum(counts.values())
    least = min(RARE, max(2, len(column.texts) // 100))
    frequent = sorted((text for text in counts if counts[text] >= least), key=lambda t: (-counts[t], t))
    kept = sorted(frequent[:MOST_CATEGORIES])
    covered = sum(counts[text] for text in kept)
    if len(counts) == 1 and not missing.any():
        notes.append(f"{column.name!r} is left out: it has one value only")
        return None
    if covered < num_present / 2:
        if missing.any():
            notes.append(
                f"{column.name!r} has {len(counts)} different texts, too many to learn from: only whether it is "
                "missing is used"
            )
            return MissingEncoder(column.name)
        notes.append(f"{column.name!r} is left out: {len(counts)} different texts in {num_present} rows")
        return None
    rare = sorted(set(counts) - set(kept))
    if rare:
        notes.append(f"{column.name!r}: {len(rare)} of {len(counts)} categories are rare and count as missing")
    return CategoricalEncoder(column.name, kept, bool(rare) or bool(missing.any()), rare)


def _fit_column(column: Column, keep: bool, targets: np.ndarray | None, notes: list[str]) -> Encoder | None:
    """The encoder of one column's training rows."""
    present = ~column.missing
    num_present = int(present.sum())
    if num_present == 0:
        notes.append(f"{column.name!r} is left out: it has no value in the training rows")
        return None
    values = column.numbers
    num_numbers = int((~np.isnan(values)).sum())
    if num_numbers == num_present:
        if not keep and _is_row_number(values, column):
            notes.append(f"{column.name!r} is left out: it numbers the rows (keep={column.name} overrides)")
            return None
        return _fit_numeric(column, values, targets, notes)
    if num_numbers >= 0.9 * num_present and len(distinct(values)) > 20:
        strange = num_present - num_numbers
        notes.append(f"{column.name!r} holds numbers, except in {strange} training rows; those count as missing")
        return _fit_numeric(column, values, targets, notes)
    return _fit_categorical(column, notes)


@dataclass
class Preprocessor:
    """The map from a table's columns to the network's inputs.

    Attributes: ``encoders``, one a used column; ``notes`` on columns left out or changed.
    """

    encoders: list[Encoder]
    notes: list[str] = field(default_factory=list)

    @classmethod
    def fit(
        cls, table: Table, rows: np.ndarray, targets: np.ndarray | None = None, keep: tuple[str, ...] = ()
    ) -> Preprocessor:
        """Choose and fit an encoder for each column.

        Args:
            table: all input columns (without the target).
            rows: the training rows; no other row has any influence, but a column without a single value in
                the whole table is refused.
            targets: (training rows, outputs) float64 that the intervals of numeric columns are chosen for
                (one-hot for classes); None for no intervals.
            keep: columns that are used though they look like row numbers.

        Raises:
            DataError: a column of missing values only, an infinity, or no usable column.
        """
        notes: list[str] = []
        encoders = []
        for column in table.columns.values():
            if column.missing.all():
                raise DataError(
                    f"column {column.name!r} holds missing values only\n"
                    f"help: remove it from the file, or leave it out with drop={column.name}"
                )
            encoder = _fit_column(column.take(rows), column.name in keep, targets, notes)
            if encoder is not None:
                encoders.append(encoder)
        if not encoders:
            raise DataError("no column is left to predict from: " + "; ".join(notes or ["the target is the only one"]))
        return cls(encoders, notes)

    @property
    def features(self) -> list[str]:
        """Names of the network's inputs."""
        return [name for encoder in self.encoders for name in encoder.features]

    def transform(self, table: Table) -> tuple[np.ndarray, list[str]]:
        """(rows, features) float32 inputs, and warnings about values that training has not seen.

        Raises:
            DataError: a column is not in the table (nearest names shown), or an infinity.
        """
        warnings: list[str] = []
        blocks = []
        for encoder in self.encoders:
            if encoder.name not in table.columns:
                raise DataError(
                    f"{table.source} has no column {encoder.name!r}, which the model was trained with\n"
                    + help_nearest(encoder.name, table.names)
                )
            blocks.append(encoder.transform(table.columns[encoder.name], warnings).astype(np.float32))
        return np.ascontiguousarray(np.concatenate(blocks, 1)), warnings

    def to_json(self) -> list[dict[str, Any]]:
        """A JSON array from which `from_json` makes an equal preprocessor."""
        return [encoder.to_json() for encoder in self.encoders]

    @classmethod
    def from_json(cls, data: list[dict[str, Any]]) -> Preprocessor:
        """The preprocessor that `to_json` described.

        Raises:
            KeyError, TypeError: the description is damaged (the caller says where it stood).
        """
        encoders = []
        for item in data:
            fields = dict(item)
            encoders.append(_KINDS[fields.pop("kind")](**fields))
        return cls(encoders)
