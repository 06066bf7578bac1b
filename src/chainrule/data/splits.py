"""Splitting rows into training, validation and test parts by a seed."""

from __future__ import annotations

import numpy as np

from ..errors import ConfigError, DataError
from .table import distinct

#: separates the split's random numbers from all others made of the same seed
_STREAM = 0x5B117


def _counts(total: int, fractions: tuple[float, float]) -> tuple[int, int]:
    """Rows for validation and test out of `total`, rounded, at least one left for training."""
    validation, test = (round(total * fraction) for fraction in fractions)
    while validation + test >= total and validation + test > 0:
        if validation >= test:
            validation -= 1
        else:
            test -= 1
    return validation, test


def split_rows(
    num_rows: int,
    seed: int,
    validation: float = 0.15,
    test: float = 0.15,
    labels: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of the training, validation and test parts, each rising.

    Args:
        num_rows: rows in all.
        seed: the same seed gives the same parts.
        validation, test: shares of the rows, each in [0, 1), together below 1.
        labels: (num_rows,) class of each row; the parts then have each class in the same share
            (stratified), and every class has a row for training.

    Raises:
        ConfigError: shares out of range.
        DataError: too few rows for the parts asked for.
    """
    for name, value in (("validation_fraction", validation), ("test_fraction", test)):
        if not 0 <= value < 1:
            raise ConfigError(f"{name} must be at least 0 and below 1, not {value:g}")
    if validation + test >= 1:
        raise ConfigError(f"validation_fraction {validation:g} and test_fraction {test:g} leave no rows for training")
    generator = np.random.Generator(np.random.Philox(key=[seed, _STREAM]))
    order = generator.permutation(num_rows)
    num_validation, num_test = _counts(num_rows, (validation, test))
    if (validation and not num_validation) or (test and not num_test):
        raise DataError(
            f"{num_rows} rows are too few to split into training, validation ({validation:g}) and test ({test:g})"
        )
    if labels is not None:
        order = _interleave(order, labels[order])
    held = num_validation + num_test
    parts = [order[held:], order[:num_validation], order[num_validation:held]]
    if labels is not None:
        parts = _rescue(parts, labels)
    training, validating, testing = (np.sort(part) for part in parts)
    return training, validating, testing


def _interleave(order: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Reorder a permutation so that any interval of it has the classes in nearly their overall shares.

    Row j (of n) of a class gets the position (j + 1/2) / n; sorting by position mixes the classes evenly.
    """
    position = np.empty(len(order))
    for label in distinct(labels):
        where = np.flatnonzero(labels == label)
        position[where] = (np.arange(len(where)) + 0.5) / len(where)
    return order[np.argsort(position, kind="stable")]


def _rescue(parts: list[np.ndarray], labels: np.ndarray) -> list[np.ndarray]:
    """Move a row of each class that training lacks out of the other parts into training."""
    training, others = list(parts[0]), [list(part) for part in parts[1:]]
    trained = set(labels[parts[0]].tolist())
    for label in (label for label in distinct(labels).tolist() if label not in trained):
        for other in others:
            rows = [row for row in other if labels[row] == label]
            if rows and len(other) > 1:
                other.remove(rows[0])
                training.append(rows[0])
                break
    return [np.array(part, dtype=np.int64) for part in (training, *others)]
