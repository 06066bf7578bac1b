"""Rows of the primitives on bit patterns: neighbours and signs of floating-point numbers."""

from __future__ import annotations

import numpy as np

from chainrule.errors import DTypeError, ShapeError

from .table import SPECIAL, case, distinct, floats, integers, row, wrong

PAIRS = tuple(np.meshgrid(SPECIAL, SPECIAL))

row(
    "nextafter",
    np.nextafter,
    [
        case(floats(3, 4), floats(3, 4, seed=1), smooth=True),
        case(floats(5, 7, dtype="float32"), floats(5, 7, dtype="float32", seed=1)),
        case(*PAIRS, tag="special"),
        case(*(p.astype("float32") for p in PAIRS), tag="special"),
        case(floats(), floats(seed=1), tag="rank 0"),
        case(floats(0, 3), floats(0, 3), tag="empty"),
    ],
    [
        wrong(floats(3), floats(4), message="extents 3 and 4", error=ShapeError),
        wrong(integers(3), integers(3), message="floating", error=DTypeError),
        wrong(floats(3, dtype="float16"), floats(3, dtype="float16"), message="float32 or float64", error=DTypeError),
    ],
)

row(
    "copysign",
    np.copysign,
    [
        case(distinct(3, 4), distinct(3, 4, seed=1), smooth=True),
        case(floats(5, 7, dtype="float32"), floats(5, 7, dtype="float32", seed=1)),
        case(*PAIRS, tag="special"),
        case(*(p.astype("float32") for p in PAIRS), tag="special"),
        case(floats(), floats(seed=1), tag="rank 0"),
        case(floats(0, 3), floats(0, 3), tag="empty"),
    ],
    [
        wrong(floats(3), floats(3, dtype="float32"), message="different dtypes", error=DTypeError),
        wrong(integers(3), integers(3), message="floating", error=DTypeError),
    ],
)

row(
    "signbit",
    lambda x: np.signbit(x) if x.dtype.kind == "f" else x < 0,
    [
        case(floats(3, 4)),
        case(floats(5, dtype="float32")),
        case(SPECIAL, tag="special"),
        case(-SPECIAL.astype("float32"), tag="special"),
        case(integers(4, 5)),
        case(integers(6, low=0, dtype="uint8")),
        case(floats(), tag="rank 0"),
        case(floats(0, 3), tag="empty"),
    ],
    [wrong(np.array([True]), message="operands", error=DTypeError)],
)
