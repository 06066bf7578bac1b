"""The rows of loops."""

from __future__ import annotations

import numpy as np

from chainrule.dtypes import float64
from chainrule.ops import emit
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
