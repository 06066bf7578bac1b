"""The target column: classification or regression, and the way between its own units and the network's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from .table import Column, distinct, is_missing, parse_number

#: whole numbers with more different values than this are a quantity, not classes
MOST_NUMERIC_CLASSES = 20
#: a class needs this many rows on average, or numbers count as a quantity
ROWS_PER_CLASS = 5
#: standardised values are kept within this, so that their squares can be summed
FARTHEST = 1e15


def _number_key(text: str) -> str:
    """One spelling for equal numbers: ``1``, ``1.0`` and ``01`` are one class."""
    value = parse_number(text)
    return text if value is None else repr(value)


@dataclass
class ClassTarget:
    """A categorical target.

    Attributes: ``name``; ``classes`` in the order of the network's outputs; ``frequencies``, the share of each
    in the training part (the trivial baseline).
    """

    name: str
    classes: list[str]
    frequencies: list[float]
    task = "classification"

    @property
    def num_outputs(self) -> int:
        """Logits, one a class."""
        return len(self.classes)

    def encode(self, column: Column) -> tuple[np.ndarray, list[str]]:
        """(rows,) int64 class indices, and notes for the user.

        A label that is no class is compared again as a number, then without a full stop at its end (the test
        file of the Adult data set has one); such a difference is noted.

        Raises:
            DataError: a label that is not among the classes, or is missing, naming its line.
        """
        index = {label: i for i, label in enumerate(self.classes)}
        by_number = {_number_key(label): i for i, label in enumerate(self.classes)}
        encoded = np.empty(len(column.texts), np.int64)
        stops = 0
        for row, text in enumerate(column.texts):
            found = index.get(text)
            if found is None:
                found = by_number.get(_number_key(text))
            if found is None and text.endswith("."):
                found = index.get(text[:-1])
                stops += found is not None
            if found is None:
                line = f", line {column.lines[row]}" if len(column.lines) else ""
                what = "is missing" if is_missing(text) else f"{text!r} is not a class that the model knows"
                shown = ", ".join(map(repr, self.classes[:12])) + (", ..." if len(self.classes) > 12 else "")
                raise DataError(f"column {self.name!r}{line}: the label {what}\nhelp: the classes are {shown}")
            encoded[row] = found
        notes = [f"{stops} labels ended in a full stop, which was ignored"] if stops else []
        return encoded, notes

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `target_from_json` makes an equal target."""
        return {"task": self.task, "name": self.name, "classes": self.classes, "frequencies": self.frequencies}


@dataclass
class NumberTarget:
    """A real-valued target, standardised for the network: ``z = (y - mean) / scale``.

    Attributes: ``name``; ``mean`` and ``scale`` (standard deviation) of the training part.
    """

    name: str
    mean: float
    scale: float
    task = "regression"

    @property
    def num_outputs(self) -> int:
        """Mean and logarithm of the standard deviation."""
        return 2

    def encode(self, column: Column) -> tuple[np.ndarray, list[str]]:
        """(rows,) float32 standardised values, and notes (none).

        Raises:
            DataError: a field that is missing or not a number, naming its line.
        """
        values = column.numbers
        bad = np.flatnonzero(np.isnan(values))
        if len(bad):
            row = int(bad[0])
            line = f", line {column.lines[row]}" if len(column.lines) else ""
            what = "is missing" if column.missing[row] else f"{column.texts[row]!r} is not a number"
            raise DataError(f"column {self.name!r}{line}: the value {what}")
        with np.errstate(over="ignore"):
            return np.clip((values - self.mean) / self.scale, -FARTHEST, FARTHEST).astype(np.float32), []

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `target_from_json` makes an equal target."""
        return {"task": self.task, "name": self.name, "mean": self.mean, "scale": self.scale}


def target_from_json(data: dict[str, Any]) -> ClassTarget | NumberTarget:
    """The target that `to_json` described.

    Raises:
        KeyError, TypeError, ValueError: the description is damaged (the caller says where it stood).
    """
    if data["task"] == "classification":
        classes = [str(label) for label in data["classes"]]
        return ClassTarget(str(data["name"]), classes, [float(value) for value in data["frequencies"]])
    return NumberTarget(str(data["name"]), float(data["mean"]), float(data["scale"]))


def infer_task(column: Column) -> tuple[str, str]:
    """(task, reason): text labels or few repeated whole numbers are classes, other numbers a quantity."""
    present = ~column.missing
    texts = [text for text, there in zip(column.texts, present) if there]
    numbers = column.numbers[present]
    if np.isnan(numbers).any():
        return "classification", "its values are not all numbers"
    values = distinct(numbers)
    if np.any(values != np.floor(values)):
        return "regression", "its values are numbers with fractions"
    if len(values) <= 2:
        return "classification", f"it has {len(values)} different values"
    if len(values) <= MOST_NUMERIC_CLASSES and len(texts) >= ROWS_PER_CLASS * len(values):
        return "classification", f"it has only {len(values)} different whole numbers"
    return "regression", f"it has {len(values)} different numbers"


def infer_target(column: Column, task: str | None = None) -> tuple[str, list[str] | None, str]:
    """What the target column is: (task, classes or None, a sentence that says so).

    Args:
        column: the target, without missing fields.
        task: "classification" or "regression" to override the inference.

    Raises:
        ConfigError: another task. DataError: one class or value only, nearly all labels different, text
            where numbers are needed.
    """
    if task is None:
        task, reason = infer_task(column)
        sentence = f"{task}, because {column.name!r}: {reason} (--task overrides)"
    elif task in ("classification", "regression"):
        sentence = f"{task}, as asked for"
    else:
        raise ConfigError(f"the task is 'classification' or 'regression', not {task!r}")
    if task == "regression":
        values = column.numbers
        bad = np.flatnonzero(np.isnan(values))
        if len(bad):
            row = int(bad[0])
            line = f", line {column.lines[row]}," if len(column.lines) else ""
            raise DataError(
                f"the target {column.name!r}{line} holds {column.texts[row]!r}, which is not a number, so this is no "
                "regression\nhelp: leave --task out, or give --task classification"
            )
        if np.all(values == values[0]):
            raise DataError(f"the target {column.name!r} has the same value, {column.texts[0]}, in every row")
        return task, None, sentence
    spelling: dict[str, str] = {}
    for text in column.texts:
        spelling.setdefault(_number_key(text), text)
    classes = sorted(spelling.values(), key=lambda t: (parse_number(t) is None, parse_number(t) or 0.0, t))
    if len(classes) < 2:
        raise DataError(f"the target {column.name!r} has one class only, {classes[0]!r}: there is nothing to learn")
    if len(classes) > max(2, len(column.texts) // 2):
        raise DataError(
            f"the target {column.name!r} has {len(classes)} different labels in {len(column.texts)} rows: too many to "
            "learn\nhelp: choose another column, or give --task regression if it is a quantity"
        )
    return task, classes, sentence


def fit_target(
    column: Column, task: str, classes: list[str] | None, training: np.ndarray
) -> ClassTarget | NumberTarget:
    """The target with the statistics of the training rows (row numbers)."""
    part = column.take(training)
    if task == "classification":
        target = ClassTarget(column.name, list(classes or ()), [])
        counts = np.bincount(target.encode(part)[0], minlength=len(target.classes))
        target.frequencies = [float(count) for count in counts / counts.sum()]
        return target
    size = float(np.abs(part.numbers).max()) or 1.0  # scaled first: squares of huge values would overflow
    values = part.numbers / size
    spread = float(values.std())
    if not spread > 0:
        raise DataError(f"the target {column.name!r} has one value only among the {len(training)} training rows")
    return NumberTarget(column.name, float(values.mean()) * size, spread * size)
