"""The rows of loops and choices."""

from __future__ import annotations

import numpy as np

from chainrule.dtypes import bool_, float64
from chainrule.ops import emit
from chainrule.ops.branches import Branches
from chainrule.ops.branches import close as close_branches
from chainrule.ops.control import Loop, close
from chainrule.ops.leaf import placeholder

from .table import case, floats, row, wrong


def region(length: int, reverse: bool) -> Loop:
    """carry <- carry * w + x, stacking sin(carry): operands w, carry, xs."""
    w, carry, x = (placeholder(i, (3,), float64, True) for i in range(3))
    following = emit("add", emit("mul", carry, w), x)
    return close([following, emit("sin", following)], [carry], [x], length, reverse).loop


def repeated(loop: Loop, index: int, w: np.ndarray, carry: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """The same by NumPy."""
    ys = np.empty_like(xs)
    for i in reversed(range(loop.length)) if loop.reverse else range(loop.length):
        carry = carry * w + xs[i]
        ys[i] = np.sin(carry)
    return ys if index else carry


FORWARD, REVERSE = region(5, False), region(4, True)

row(
    "scan",
    repeated,
    [
        case(floats(3), floats(3, seed=1), floats(5, 3, seed=2), attributes=(FORWARD, 0), smooth=True),
        case(floats(3), floats(3, seed=1), floats(5, 3, seed=2), attributes=(FORWARD, 1), smooth=True),
        case(floats(3), floats(3, seed=1), floats(4, 3, seed=2), attributes=(REVERSE, 0), smooth=True, tag="reverse"),
        case(floats(3), floats(3, seed=1), floats(4, 3, seed=2), attributes=(REVERSE, 1), smooth=True, tag="reverse"),
    ],
    [
        wrong(floats(3), floats(3), attributes=(FORWARD, 0), message="3 operands are needed, there are 2"),
        wrong(floats(3), floats(3), floats(4, 3), attributes=(FORWARD, 0), message="operand 2 must be float64[5, 3]"),
        wrong(
            floats(3), floats(3, dtype="float32"), floats(5, 3), attributes=(FORWARD, 0),
            message="operand 1 must be float64[3]",
        ),
    ],
)  # fmt: skip


def shrinking() -> Loop:
    """While max(x) > 1: x <- x * w: operands w, flag, x."""
    w, flag, x = placeholder(0, (3,), float64, True), placeholder(1, (), bool_), placeholder(2, (3,), float64, True)
    following = emit("mul", x, w)
    going = emit("gt", emit("max", following, attributes=((0,),)), emit("full", attributes=(1, (), float64)))
    return close([going, following], [flag, x], [], 0, False).loop


def shrunk(loop: Loop, index: int, w: np.ndarray, flag: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The same by NumPy."""
    while flag:
        x = x * w
        flag = np.asarray(x.max() > 1)
    return x if index else flag


SHRINKING = shrinking()
WEIGHTS = floats(3, low=0.5, high=0.9)

row(
    "while_loop",
    shrunk,
    [
        case(WEIGHTS, np.asarray(True), floats(3, low=2.0, high=9.0, seed=1), attributes=(SHRINKING, 1)),
        case(WEIGHTS, np.asarray(True), floats(3, low=2.0, high=9.0, seed=1), attributes=(SHRINKING, 0), tag="flag"),
        case(WEIGHTS, np.asarray(False), floats(3, low=2.0, high=9.0, seed=1), attributes=(SHRINKING, 1), tag="none"),
    ],
    [
        wrong(WEIGHTS, np.asarray(True), attributes=(SHRINKING, 1), message="3 operands are needed, there are 2"),
        wrong(WEIGHTS, np.asarray(1.0), WEIGHTS, attributes=(SHRINKING, 1), message="operand 1 must be bool[]"),
    ],
)


def choices() -> Branches:
    """(x * w, sum(x)), (sin(x), w) or (w, 2): operands x, w[]."""
    x, w = placeholder(0, (3,), float64, True), placeholder(1, (), float64, True)
    wide = emit("broadcast", w, attributes=((3,), ()))
    two = emit("full", attributes=(2, (), float64))
    regions = [
        [emit("mul", x, wide), emit("sum", x, attributes=((0,),))], [emit("sin", x), w], [wide, two],
    ]  # fmt: skip
    return close_branches(regions, lambda node: True).branches


def chosen(branches: Branches, index: int, number: np.ndarray, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The same by NumPy."""
    whole = [x * w, np.sin(x), np.full(3, w)]
    return [whole, [x.sum(), w, np.float64(2)]][index][int(number)]


CHOICES = choices()

row(
    "branch",
    chosen,
    [
        case(np.int64(number), floats(3), floats(seed=1), attributes=(CHOICES, index), smooth=True, tag=f"{number}")
        for number in range(3)
        for index in range(2)
    ],
    [
        wrong(np.int64(0), floats(3), attributes=(CHOICES, 0), message="3 operands are needed, there are 2"),
        wrong(np.int32(0), floats(3), floats(), attributes=(CHOICES, 0), message="the region must be int64[]"),
        wrong(np.int64(0), floats(4), floats(), attributes=(CHOICES, 0), message="operand 1 must be float64[3]"),
    ],
)
