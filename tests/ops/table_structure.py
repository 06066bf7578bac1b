"""Rows of the leaves, movement, reductions, contraction, indexing and random bits."""

from __future__ import annotations

import numpy as np

from chainrule.dtypes import bool_, float32, float64, int32, int64
from chainrule.errors import DTypeError, IndexOutOfRangeError

from .table import SPECIAL, bools, case, distinct, floats, integers, row, wrong

# leaves

row("constant", lambda: None, [])
row("placeholder", lambda index: None, [])
row(
    "full",
    lambda value, shape, dtype: np.full(shape, value, dtype.numpy),
    [
        case(attributes=(1.5, (2, 3), float32)),
        case(attributes=(-0.0, (), float64), tag="rank 0"),
        case(attributes=(7, (0, 2), int64), tag="empty"),
        case(attributes=(True, (3,), bool_)),
    ],
)
row(
    "iota",
    lambda shape, axis, dtype: np.indices(shape)[axis].astype(dtype.numpy),
    [
        case(attributes=((2, 3), 0, int64)),
        case(attributes=((2, 3), 1, float32)),
        case(attributes=((0,), 0, int32), tag="empty"),
    ],
    [wrong(attributes=((2, 3), 2, int64), message="axis 2 is out of range")],
)
for name in ("alias", "stop_gradient"):
    row(
        name,
        lambda x: x,
        [
            case(floats(3, 4), smooth=name == "alias"),
            case(floats(dtype="float32"), tag="rank 0"),
            case(integers(0, 2), tag="empty"),
        ],
    )

row(
    "checkpoint",
    lambda count, kept, x, *others: x,
    [
        case(floats(3, 4), floats(2), attributes=(1, 0), smooth=True),
        case(floats(3, 4), floats(2), floats(2), attributes=(1, 1), tag="kept"),
        case(floats(dtype="float32"), floats(dtype="float32", seed=1), attributes=(2, 0), tag="rank 0"),
        case(integers(0, 2), attributes=(1, 0), tag="empty"),
    ],
)
row(
    "checkpoint_name",
    lambda label, x: x,
    [
        case(floats(3, 4), attributes=("hidden",), smooth=True),
        case(integers(0, 2), attributes=("empty",), tag="empty"),
    ],
)
row(
    "barrier",
    lambda x, then: x,
    [
        case(floats(3, 4), floats(3, 4, seed=1), smooth=True),
        case(floats(3, 4), floats(3, 4, dtype="float32", seed=1), tag="two dtypes"),
        case(SPECIAL, SPECIAL[::-1], tag="special"),
        case(integers(5), floats(5), tag="integers"),
        case(bools(2, 2), floats(2, 2)),
        case(floats(0, 2), floats(0, 2), smooth=True, tag="empty"),
    ],
    [wrong(floats(3), floats(4), message="the operands have different shapes")],
)

# movement

row(
    "reshape",
    lambda shape, x: x.reshape(shape),
    [
        case(floats(3, 4), attributes=((2, 6),), smooth=True),
        case(floats(3, 4, dtype="float32"), attributes=((12,),)),
        case(floats(1, 1), attributes=((),), smooth=True, tag="rank 0"),
        case(floats(), attributes=((1,),), smooth=True, tag="rank 0"),
        case(integers(0, 4), attributes=((2, 0, 3),), tag="empty"),
    ],
    [wrong(floats(3, 4), attributes=((5, 2),), message="12 elements do not fit shape [5, 2]")],
)
row(
    "permute",
    lambda axes, x: x.transpose(axes),
    [
        case(floats(3, 4), attributes=((1, 0),), smooth=True),
        case(floats(2, 3, 4), attributes=((1, 2, 0),), smooth=True),
        case(floats(2, 3, 4, dtype="float32"), attributes=((2, 1, 0),)),
        case(floats(), attributes=((),), smooth=True, tag="rank 0"),
        case(integers(0, 4), attributes=((1, 0),), tag="empty"),
    ],
    [
        wrong(floats(3, 4), attributes=((0, 0),), message="axes (0, 0)"),
        wrong(floats(3), attributes=((),), message="axes"),
    ],
)
row(
    "broadcast",
    lambda shape, axes, x: np.broadcast_to(
        x.reshape([x.shape[axes.index(i)] if i in axes else 1 for i in range(len(shape))]), shape
    ),
    [
        case(floats(3), attributes=((2, 3), (1,)), smooth=True),
        case(floats(3), attributes=((3, 2), (0,)), smooth=True),
        case(floats(3, 1), attributes=((3, 4), (0, 1)), smooth=True),
        case(floats(1, 3, 1), attributes=((2, 3, 4), (0, 1, 2)), smooth=True),
        case(floats(1), attributes=((1, 4), (0,)), smooth=True),
        case(floats(dtype="float32"), attributes=((2, 3), ())),
        case(floats(), attributes=((), ()), smooth=True, tag="rank 0"),
        case(floats(1), attributes=((0, 2), (0,)), smooth=True, tag="empty"),
        case(integers(2), attributes=((2, 2), (0,))),
    ],
    [
        wrong(floats(3), attributes=((2, 4), (1,)), message="extent 3 does not fit extent 4 of axis 1"),
        wrong(floats(3, 2), attributes=((2, 3), (1, 0)), message="increasing"),
        wrong(floats(3), attributes=((3,), ()), message="0 axes"),
    ],
)
row(
    "slice",
    lambda starts, stops, steps, x: x[tuple(map(slice, starts, stops, steps))],
    [
        case(floats(5, 6), attributes=((1, 0), (4, 6), (1, 2)), smooth=True),
        case(floats(7), attributes=((0,), (7,), (3,)), smooth=True),
        case(floats(7, dtype="float32"), attributes=((2,), (6,), (3,))),
        case(floats(5), attributes=((2,), (2,), (1,)), smooth=True, tag="empty"),
        case(floats(), attributes=((), (), ()), smooth=True, tag="rank 0"),
        case(integers(4, 4), attributes=((0, 3), (1, 4), (1, 1))),
    ],
    [
        wrong(floats(5), attributes=((0,), (6,), (1,)), message="slice 0:6:1 does not fit extent 5 of axis 0"),
        wrong(floats(5), attributes=((0,), (5,), (0,)), message="slice"),
        wrong(floats(5, 5), attributes=((0,), (5,), (1,)), message="rank 2"),
    ],
)


def padded(low, high, interior, x, fill):
    """Padding one axis after another."""
    for axis in range(x.ndim):
        spread = np.moveaxis(x, axis, 0)
        parts = [np.full((low[axis], *spread.shape[1:]), fill, x.dtype)]
        for i in range(len(spread)):
            parts.append(spread[i : i + 1])
            if i < len(spread) - 1:
                parts.append(np.full((interior[axis], *spread.shape[1:]), fill, x.dtype))
        parts.append(np.full((high[axis], *spread.shape[1:]), fill, x.dtype))
        x = np.moveaxis(np.concatenate(parts), 0, axis)
    return x


row(
    "pad",
    padded,
    [
        case(floats(2, 3), np.array(0.5), attributes=((1, 0), (2, 1), (0, 0)), smooth=True),
        case(floats(3, 2), np.array(-1.0), attributes=((0, 2), (0, 0), (2, 1)), smooth=True),
        case(floats(4, dtype="float32"), np.array(7, "float32"), attributes=((3,), (0,), (1,))),
        case(floats(0, 2), np.array(1.5), attributes=((1, 0), (1, 1), (3, 0)), smooth=True, tag="empty"),
        case(floats(), np.array(1.5), attributes=((), (), ()), smooth=True, tag="rank 0"),
        case(integers(3), np.array(4), attributes=((1,), (1,), (0,))),
        case(bools(3), np.array(True), attributes=((1,), (1,), (1,))),
    ],
    [
        wrong(floats(3), floats(1), attributes=((1,), (1,), (0,)), message="rank 0"),
        wrong(floats(3), np.array(0.0), attributes=((-1,), (1,), (0,)), message="negative"),
        wrong(floats(3), np.array(0), attributes=((1,), (1,), (0,)), message="dtypes", error=DTypeError),
        wrong(floats(3), np.array(0.0), attributes=((1, 0), (1, 0), (0, 0)), message="rank 1"),
    ],
)
row(
    "flip",
    lambda axes, x: np.flip(x, axes),
    [
        case(floats(3, 4), attributes=((0,),), smooth=True),
        case(floats(3, 4), attributes=((0, 1),), smooth=True),
        case(floats(3, 4, dtype="float32"), attributes=((1,),)),
        case(floats(), attributes=((),), smooth=True, tag="rank 0"),
        case(integers(0, 4), attributes=((0,),), tag="empty"),
    ],
    [wrong(floats(3), attributes=((1,),), message="axes (1,)")],
)
row(
    "concat",
    lambda axis, *arrays: np.concatenate(arrays, axis),
    [
        case(floats(2, 3), floats(1, 3, seed=1), floats(4, 3, seed=2), attributes=(0,), smooth=True),
        case(floats(2, 3), floats(2, 2, seed=1), attributes=(1,), smooth=True),
        case(floats(2, 3, dtype="float32"), attributes=(1,)),
        case(floats(0, 3), floats(2, 3), attributes=(0,), smooth=True, tag="empty"),
        case(integers(3), integers(2), attributes=(0,)),
        case(bools(3), bools(2), attributes=(0,)),
    ],
    [
        wrong(floats(2, 3), floats(2, 2), attributes=(0,), message="operand 1 differs beside axis 0"),
        wrong(floats(2), integers(2), attributes=(0,), message="dtypes", error=DTypeError),
        wrong(floats(), floats(), attributes=(0,), message="axis 0 is out of range"),
    ],
)

# reductions


def reduction(name, function, kinds="iuf", smooth=floats, empty=None, loose=1.0):
    """A row for a reduction by NumPy's `function` in double precision."""

    def reference(axes, x):
        wide = x.astype("float64") if x.dtype.kind == "f" else x
        return np.asarray(function(wide, axis=axes)).astype(x.dtype)

    cases = []
    if "f" in kinds:
        ties = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
        nan = np.array([[1.0, np.nan, 3.0], [np.inf, 2.0, -np.inf]])
        zeros = np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0]])
        cases += [
            case(smooth(3, 4), attributes=((0,),), smooth=True),
            case(smooth(3, 4), attributes=((1,),), smooth=True),
            case(smooth(2, 3, 4), attributes=((0, 2),), smooth=True),
            case(smooth(5), attributes=((0,),), smooth=True),
            case(smooth(2, 2), attributes=((),), smooth=True, tag="no axes"),
            case(smooth(), attributes=((),), smooth=True, tag="rank 0"),
            case(floats(40, 70, dtype="float32"), attributes=((0,),)),
            case(floats(40, 70, dtype="float32"), attributes=((0, 1),)),
            case(ties, attributes=((1,),), tag="ties"),
            case(nan, attributes=((1,),), tag="special"),
            case(zeros, attributes=((1,),), smooth=name in ("sum", "prod"), tag="zeros"),
        ]
        if empty:
            cases += [case(floats(0, 3), attributes=((0,),), smooth=True, tag="empty")]
        cases += [case(floats(0, 3), attributes=((1,),), smooth=True, tag="empty")]
    if "i" in kinds:
        cases += [
            case(integers(3, 4, low=-4, high=5), attributes=((1,),)),
            case(integers(9, dtype="int32"), attributes=((0,),)),
        ]
    if "b" in kinds:
        cases += [
            case(bools(3, 4), attributes=((0,),)),
            case(bools(3, 4, seed=1), attributes=((0, 1),)),
            case(np.zeros((0, 2), bool), attributes=((0,),), tag="empty"),
            case(np.array(True), attributes=((),), tag="rank 0"),
        ]
    good = cases[0].operands[0]
    refused = bools(3) if "b" not in kinds else floats(3)
    bad = [
        wrong(good, attributes=((2,),), message="axes (2,)"),
        wrong(good, attributes=((1, 0),), message="increasing"),
        wrong(refused, attributes=((0,),), message="needs", error=DTypeError),
    ]
    if not empty and "f" in kinds:
        bad.append(wrong(floats(0, 3), attributes=((0,),), message="no elements along axes (0,)"))
    row(name, reference, cases, bad, loose=loose)


reduction("sum", np.sum, empty=True, loose=20.0)
reduction("prod", np.prod, empty=True, loose=20.0)
reduction("max", np.max, smooth=distinct)
reduction("min", np.min, smooth=distinct)
reduction("any", np.any, kinds="b")
reduction("all", np.all, kinds="b")
for name, function in (("argmax", np.argmax), ("argmin", np.argmin)):
    row(
        name,
        lambda axis, x, function=function: np.asarray(function(x, axis)),
        [
            case(floats(3, 4), attributes=(0,)),
            case(floats(3, 4, dtype="float32"), attributes=(1,)),
            case(np.array([[1.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0]]), attributes=(1,), tag="ties"),
            case(np.array([[1.0, np.nan, np.nan], [np.inf, 2.0, -np.inf]]), attributes=(1,), tag="special"),
            case(integers(5, 3), attributes=(0,)),
            case(floats(3, 0), attributes=(0,), tag="empty"),
        ],
        [
            wrong(floats(3), attributes=(1,), message="axes (1,)"),
            wrong(floats(3, 0), attributes=(1,), message="no elements along axis 1"),
            wrong(bools(3), attributes=(0,), message="numbers", error=DTypeError),
        ],
    )

# contraction


def contraction(a_labels, b_labels, out_labels, a, b):
    """numpy.einsum in double precision."""
    wide = "float64" if a.dtype.kind == "f" else a.dtype
    return np.asarray(np.einsum(a.astype(wide), a_labels, b.astype(wide), b_labels, out_labels)).astype(a.dtype)


row(
    "contract",
    contraction,
    [
        case(floats(3, 4), floats(4, 5, seed=1), attributes=((0, 1), (1, 2), (0, 2)), smooth=True, tag="product"),
        case(floats(4, 3), floats(5, 4, seed=1), attributes=((1, 0), (2, 1), (2, 0)), smooth=True, tag="transposed"),
        case(floats(2, 3, 4), floats(2, 4, 5, seed=1), attributes=((3, 0, 1), (3, 1, 2), (3, 0, 2)), smooth=True),
        case(floats(4), floats(4, seed=1), attributes=((0,), (0,), ()), smooth=True, tag="dot"),
        case(floats(3, 4), floats(4, seed=1), attributes=((0, 1), (1,), (0,)), smooth=True, tag="matrix and vector"),
        case(floats(3), floats(4, seed=1), attributes=((0,), (1,), (1, 0)), smooth=True, tag="outer"),
        case(floats(2, 3, 4), floats(3, 4, 5, seed=1), attributes=((0, 1, 2), (1, 2, 3), (0, 3)), smooth=True),
        case(floats(3), floats(3, seed=1), attributes=((0,), (0,), (0,)), smooth=True, tag="batch only"),
        case(floats(), floats(seed=1), attributes=((), (), ()), smooth=True, tag="rank 0"),
        case(floats(3, 0), floats(0, 5), attributes=((0, 1), (1, 2), (0, 2)), smooth=True, tag="empty"),
        case(floats(0, 4), floats(4, 5), attributes=((0, 1), (1, 2), (0, 2)), smooth=True, tag="empty"),
        case(
            floats(33, 65, dtype="float32"), floats(65, 17, dtype="float32", seed=1),
            attributes=((0, 1), (1, 2), (0, 2)),
        ),
        case(integers(3, 4), integers(4, 2), attributes=((0, 1), (1, 2), (0, 2))),
    ],
    [
        wrong(
            floats(3, 4), floats(5, 2), attributes=((0, 1), (1, 2), (0, 2)),
            message="extent 4 of the left operand's axis 1 and extent 5 of the right operand's axis 0 differ",
        ),
        wrong(floats(3, 4), floats(4), attributes=((0, 1), (1, 2), (0, 2)), message="right operand of rank 1"),
        wrong(floats(3, 4), floats(4), attributes=((0, 1), (1,), ()), message="label 0 is in only one"),
        wrong(floats(3, 3), floats(3), attributes=((0, 0), (0,), (0,)), message="repeat"),
        wrong(
            floats(3, dtype="float32"), floats(3), attributes=((0,), (0,), ()), message="dtypes", error=DTypeError
        ),
    ],
    loose=20.0,
)  # fmt: skip

# indexing

INDICES = np.array([[0, 2, -1], [2, 2, -4]])
row(
    "take",
    lambda axis, x, indices: np.take(x, indices, axis),
    [
        case(floats(4, 3), np.array([1, 3, 1, -1]), attributes=(0,), smooth=True),
        case(floats(2, 4, 3), INDICES, attributes=(1,), smooth=True),
        case(floats(4, 3), np.array(2), attributes=(0,), smooth=True, tag="rank 0"),
        case(floats(4, 3, dtype="float32"), INDICES.astype("int32"), attributes=(0,)),
        case(floats(4, 3), np.zeros((0,), "int64"), attributes=(0,), smooth=True, tag="empty"),
        case(integers(4), np.array([0, 3], "uint8"), attributes=(0,)),
        case(bools(4), np.array([0, 3]), attributes=(0,)),
    ],
    [
        wrong(floats(4), np.array([1, 4]), attributes=(0,), message="index 4 is out of range for axis 0 of size 4",
              error=IndexOutOfRangeError),
        wrong(floats(4), np.array([-5]), attributes=(0,), message="index -5", error=IndexOutOfRangeError),
        wrong(floats(4), np.array([1.0]), attributes=(0,), message="integer indices", error=DTypeError),
        wrong(floats(4), np.array([1]), attributes=(1,), message="axes (1,)"),
    ],
)  # fmt: skip
row(
    "take_along",
    lambda axis, x, indices: np.take_along_axis(x, indices.astype("int64"), axis),
    [
        case(floats(4, 3), np.array([[0, 2, -1], [3, 3, 0]]), attributes=(0,), smooth=True),
        case(floats(2, 4), np.array([[0], [-1]]), attributes=(1,), smooth=True),
        case(floats(4, dtype="float32"), np.array([1, 1, 0], "int32"), attributes=(0,)),
        case(floats(4, 3), np.zeros((0, 3), "int64"), attributes=(0,), smooth=True, tag="empty"),
    ],
    [
        wrong(floats(4), np.array([4]), attributes=(0,), message="index 4", error=IndexOutOfRangeError),
        wrong(floats(4, 3), np.array([[1, 1]]), attributes=(0,), message="extents 3 and 2 of axis 1 differ"),
        wrong(floats(4, 3), np.array([1]), attributes=(0,), message="ranks 2 and 1 differ"),
    ],
)


def scattered(axis, x, indices, updates):
    """Addition one index after another."""
    result = x.copy()
    for place in np.ndindex(indices.shape):
        at = [slice(None)] * x.ndim
        at[axis] = int(indices[place])
        result[tuple(at)] += updates[(slice(None),) * axis + place]
    return result


def scattered_along(axis, x, indices, updates):
    """Addition one index after another."""
    result = x.copy()
    for place in np.ndindex(indices.shape):
        at = list(place)
        at[axis] = int(indices[place])
        result[tuple(at)] += updates[place]
    return result


row(
    "scatter_add",
    scattered,
    [
        case(floats(4, 3), np.array([1, 3, 1, -1]), floats(4, 3, seed=1), attributes=(0,), smooth=True),
        case(floats(2, 4, 3), INDICES, floats(2, 2, 3, 3, seed=1), attributes=(1,), smooth=True),
        case(floats(4), np.array(2), floats(seed=1), attributes=(0,), smooth=True, tag="rank 0"),
        case(floats(4, 3), np.zeros((0,), "int64"), floats(0, 3), attributes=(0,), smooth=True, tag="empty"),
        case(floats(4, dtype="float32"), INDICES, floats(2, 3, dtype="float32"), attributes=(0,)),
        case(integers(4), np.array([1, 1]), integers(2), attributes=(0,)),
    ],
    [
        wrong(floats(4), np.array([4]), floats(1), attributes=(0,), message="index 4", error=IndexOutOfRangeError),
        wrong(floats(4, 3), np.array([1]), floats(3), attributes=(0,), message="should have [1, 3]"),
        wrong(floats(4), np.array([1]), integers(1), attributes=(0,), message="dtypes", error=DTypeError),
    ],
)
row(
    "scatter_add_along",
    scattered_along,
    [
        case(floats(4, 3), np.array([[0, 2, -1], [3, 2, 3]]), floats(2, 3, seed=1), attributes=(0,), smooth=True),
        case(floats(2, 4), np.array([[0, 0], [-1, 1]]), floats(2, 2, seed=1), attributes=(1,), smooth=True),
        case(floats(4, dtype="float32"), np.array([1, 1, 0]), floats(3, dtype="float32"), attributes=(0,)),
        case(floats(4, 3), np.zeros((0, 3), "int64"), floats(0, 3), attributes=(0,), smooth=True, tag="empty"),
    ],
    [
        wrong(floats(4), np.array([4]), floats(1), attributes=(0,), message="index 4", error=IndexOutOfRangeError),
        wrong(floats(4), np.array([1]), floats(2), attributes=(0,), message="extents 1 and 2 of axis 0 differ"),
        wrong(floats(4), np.array([1]), integers(1), attributes=(0,), message="dtypes", error=DTypeError),
    ],
)
for name, function in (("sort", np.sort), ("argsort", np.argsort)):
    row(
        name,
        lambda axis, x, function=function: function(x, axis, kind="stable"),
        [
            case(distinct(4, 3), attributes=(0,), smooth=name == "sort"),
            case(distinct(4, 3), attributes=(1,), smooth=name == "sort"),
            case(floats(50, dtype="float32"), attributes=(0,)),
            case(np.array([2.0, 1.0, 2.0, 1.0, 2.0]), attributes=(0,), tag="ties"),
            case(np.array([np.nan, 1.0, -np.inf, np.inf, 0.0, -0.0]), attributes=(0,), tag="special"),
            case(floats(0, 2), attributes=(0,), smooth=name == "sort", tag="empty"),
            case(integers(7), attributes=(0,)),
            case(distinct(2, 80), attributes=(1,), tag="long"),
            case(integers(90, 3, low=0, high=9), attributes=(0,), tag="long with ties"),
            case(np.tile([np.nan, 1.0, -np.inf, 1.0, 0.0, -0.0], (2, 15)), attributes=(1,), tag="long and special"),
        ],
        [wrong(floats(3), attributes=(1,), message="axes (1,)")],
    )

# random


def philox_words(shape, key):
    """Philox4x32-10 with Python's integers, a word at a time."""
    seed, counter = (int(word) for word in key)
    low = 0xFFFFFFFF

    def word(i):
        c = [i // 4 & low, i // 4 >> 32, counter & low, counter >> 32]
        k = [seed & low, seed >> 32]
        for _ in range(10):
            p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [q >> 32 ^ c[1] ^ k[0], q & low, p >> 32 ^ c[3] ^ k[1], p & low]
            k = [k[0] + 0x9E3779B9 & low, k[1] + 0xBB67AE85 & low]
        return c[i % 4]

    count = int(np.prod(shape))
    return np.array([word(i) for i in range(count)], "uint32").reshape(shape)


row(
    "random_bits",
    philox_words,
    [
        case(np.array([0, 0], "uint64"), attributes=((9,),)),
        case(np.array([2**63 + 12345, 2**40 + 7], "uint64"), attributes=((3, 5),)),
        case(np.array([1, 2], "uint64"), attributes=((),), tag="rank 0"),
        case(np.array([1, 2], "uint64"), attributes=((0, 3),), tag="empty"),
    ],
    [
        wrong(np.array([1, 2]), attributes=((3,),), message="uint64", error=DTypeError),
        wrong(np.array([1], "uint64"), attributes=((3,),), message="shape [2]"),
    ],
)
