"""Rows of looking up, ordering by keys, running extremes, scattered extremes and exact remainders."""

from __future__ import annotations

import numpy as np

from chainrule.errors import DTypeError, IndexOutOfRangeError

from .table import SPECIAL, case, distinct, floats, integers, row, wrong


def searched(side, table, wanted):
    """`numpy.searchsorted`, row by row."""
    result = np.empty(wanted.shape, np.int64)
    for index in np.ndindex(table.shape[:-1]):
        result[index] = np.searchsorted(table[index], wanted[index], side)
    return result


row(
    "searchsorted",
    searched,
    [
        case(np.sort(floats(7)), floats(5, seed=1), attributes=("left",)),
        case(np.array([1.0, 2.0, 2.0, 3.0]), np.array([2.0, 0.0, 9.0, np.nan]), attributes=("right",), tag="ties"),
        case(np.sort(floats(2, 3, 4)), floats(2, 3, 5, seed=1), attributes=("left",), tag="many tables"),
        case(np.sort(integers(6)), integers(4, seed=1), attributes=("right",)),
        case(np.sort(floats(6, dtype="float32")), floats(0, dtype="float32"), attributes=("left",), tag="empty"),
        case(floats(0), floats(3), attributes=("left",), tag="empty table"),
    ],
    [
        wrong(floats(3), floats(2, 2), attributes=("left",), message="the operands differ before the last axis"),
        wrong(floats(2, 3), floats(3, 3), attributes=("left",), message="the operands differ before the last axis"),
        wrong(floats(3), integers(2), attributes=("left",), message="dtypes", error=DTypeError),
    ],
)
row(
    "lexsort",
    lambda keys: np.lexsort(keys, axis=-1),
    [
        case(integers(3, 8, low=0, high=3)),
        case(integers(2, 4, 5, low=0, high=2)),
        case(np.array([[1.0, np.nan, 1.0], [0.0, 0.0, 0.0]]), tag="special"),
        case(floats(1, 5)),
        case(floats(2, 0), tag="empty"),
    ],
    [
        wrong(floats(3), message="at least one key with one axis is needed"),
        wrong(floats(0, 3), message="at least one key with one axis is needed"),
    ],
)


def running(axis, kind, x):
    """Place by place, the last of equal extremes, a NaN if there is one."""
    moved = np.moveaxis(x, axis, -1)
    result = np.zeros(moved.shape, np.int64)
    for index in np.ndindex(moved.shape[:-1]):
        best = 0
        for i, value in enumerate(moved[index]):
            held = moved[index][best]
            if value != value or (held == held and (value >= held if kind == "max" else value <= held)):
                best = i
            result[(*index, i)] = best
    return np.moveaxis(result, -1, axis)


row(
    "running_place",
    running,
    [
        case(floats(3, 5), attributes=(1, "max")),
        case(floats(3, 5), attributes=(0, "min")),
        case(np.array([1.0, 3.0, 3.0, np.nan, 5.0, np.nan]), attributes=(0, "max"), tag="special"),
        case(integers(2, 3, 4, low=0, high=3), attributes=(1, "max"), tag="ties"),
        case(floats(2, 0), attributes=(0, "max"), tag="empty"),
    ],
    [wrong(floats(3), attributes=(1, "max"), message="axes (1,)")],
)


def first_places(axis, count, largest, x):
    """Everything in a stable order, cut off."""
    moved = np.moveaxis(x, axis, -1)
    result = np.zeros((*moved.shape[:-1], count), np.int64)
    for index in np.ndindex(moved.shape[:-1]):
        missing = [bool(value != value) for value in moved[index]]
        values = [0 if gone else value for gone, value in zip(missing, moved[index].tolist())]
        keys = [(gone, value) for gone, value in zip(missing, values)]
        result[index] = sorted(range(len(keys)), key=keys.__getitem__, reverse=largest)[:count]
    return np.moveaxis(result, -1, axis)


row(
    "first_places",
    first_places,
    [
        case(floats(3, 5), attributes=(1, 2, True)),
        case(floats(40, 3), attributes=(0, 7, False)),
        case(floats(2, 30, 3, dtype="float32"), attributes=(1, 29, True)),
        case(floats(2, 30), attributes=(1, 30, False), tag="all"),
        case(floats(2, 30), attributes=(1, 0, True), tag="none"),
        case(integers(4, 50, low=0, high=4), attributes=(1, 9, True), tag="ties"),
        case(integers(4, 50, low=0, high=4), attributes=(1, 9, False), tag="ties"),
        case(integers(60, low=0, high=2).astype(bool), attributes=(0, 31, True), tag="ties"),
        case(np.tile([np.nan, 1.0, -np.inf, np.inf, 0.0, -0.0], (2, 4)), attributes=(1, 7, True), tag="special"),
        case(np.tile([np.nan, 1.0, -np.inf, np.inf, 0.0, -0.0], (2, 4)), attributes=(1, 22, False), tag="special"),
        case(np.tile([np.nan, np.nan, 0.0], 8), attributes=(0, 3, True), tag="special"),
        case(floats(0, 20), attributes=(1, 3, True), tag="empty"),
        case(floats(20, dtype="float16"), attributes=(0, 3, True)),
    ],
    [
        wrong(floats(3), attributes=(1, 1, True), message="axes (1,)"),
        wrong(floats(3), attributes=(0, 4, True), message="4 elements of the 3 along axis 0"),
        wrong(floats(3) + 1j, attributes=(0, 1, True), message="complex numbers have no order", error=DTypeError),
    ],
)


def extreme(axis, kind, x, indices, updates):
    """One update after another."""
    result = x.copy()
    pick = np.maximum if kind == "max" else np.minimum
    for i, place in np.ndenumerate(indices):
        result[place] = pick(result[place], updates[i])
    return result


row(
    "scatter_extreme",
    extreme,
    [
        case(distinct(5), np.array([0, 2, 0, -1]), distinct(4, seed=1) + 0.05, attributes=(0, "max"), smooth=True),
        case(distinct(4, 3), np.array([1, 1, 3]), distinct(3, 3, seed=1) + 0.05, attributes=(0, "min"), smooth=True),
        case(
            distinct(4, 2), np.array([[1, 1], [0, 3]]), distinct(2, 2, 2, seed=1) + 0.05,
            attributes=(0, "max"), smooth=True, tag="many axes",
        ),
        case(integers(6), np.array([5, 5, 0], "uint8"), integers(3, seed=1), attributes=(0, "max")),
        case(
            np.array([1.0, 2.0]), np.array([0, 0, 1]), np.array([1.0, 1.0, np.nan]), attributes=(0, "max"), tag="NaN"
        ),
        case(floats(3), np.zeros(0, np.int64), floats(0), attributes=(0, "min"), smooth=True, tag="empty"),
    ],
    [
        wrong(floats(3), np.array([3]), floats(1), attributes=(0, "max"), message="index 3 is out of range for axis 0",
              error=IndexOutOfRangeError),
        wrong(floats(3), np.array([1]), floats(2), attributes=(0, "max"), message="should have [1]"),
        wrong(floats(3, 3), np.array([1]), floats(3, 1), attributes=(1, "max"), message="axis 1 is not the first"),
        wrong(floats(3), floats(1), floats(1), attributes=(0, "max"), message="integer indices", error=DTypeError),
    ],
)  # fmt: skip
row(
    "gcd",
    np.gcd,
    [
        case(integers(3, 4), integers(3, 4, seed=1)),
        case(integers(5, dtype="int32"), np.zeros(5, np.int32), tag="zeros"),
        case(integers(0), integers(0), tag="empty"),
    ],
    [
        wrong(floats(3), floats(3), message="needs whole numbers", error=DTypeError),
        wrong(integers(3), integers(2), message="the operands have different shapes"),
    ],
)
row(
    "fmod",
    np.fmod,
    [
        case(floats(3, 4, low=-9.0, high=9.0), floats(3, 4, low=1.3, high=1.9, seed=1), smooth=True),
        case(floats(dtype="float32"), np.array(-0.7, "float32"), tag="rank 0"),
        case(SPECIAL, SPECIAL[::-1], tag="special"),
        case(np.array([1.0, 1e300]), np.array([1e-40, 3.7]), tag="long quotients"),
        case(floats(0), floats(0), tag="empty"),
    ],
    [
        wrong(integers(3), integers(3), message="needs floating numbers", error=DTypeError),
        wrong(floats(3), floats(2), message="the operands have different shapes"),
    ],
)
