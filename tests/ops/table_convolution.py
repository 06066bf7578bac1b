"""Rows of windows, their transpose, and the three primitives of convolution."""

from __future__ import annotations

import numpy as np

from chainrule.dtypes import int32, uint8
from chainrule.errors import DTypeError

from .table import bools, case, distinct, floats, integers, row, wrong

# windows


def places(out):
    """All places of an array of extents `out`."""
    return np.ndindex(*out)


def seen(o, sizes, strides, dilations):
    """The slices of one window."""
    return tuple(slice(i * s, i * s + (k - 1) * d + 1, d) for i, k, s, d in zip(o, sizes, strides, dilations))


def number(extents, sizes, strides, dilations):
    """How many windows fit along each axis, by trying."""
    return tuple(
        sum(start + (k - 1) * d < n for start in range(0, n, s))
        for n, k, s, d in zip(extents, sizes, strides, dilations)
    )


def windows(sizes, strides, dilations, x):
    """One window after another."""
    first = x.ndim - len(sizes)
    out = number(x.shape[first:], sizes, strides, dilations)
    y = np.zeros((*x.shape[:first], *out, *sizes), x.dtype)
    every = (slice(None),) * first
    for o in places(out):
        y[(*every, *o)] = x[(..., *seen(o, sizes, strides, dilations))]
    return y


def fold(spatial, strides, dilations, y):
    """One window after another, in double precision."""
    count = len(spatial)
    first = y.ndim - 2 * count
    out, sizes = y.shape[first : first + count], y.shape[first + count :]
    x = np.zeros((*y.shape[:first], *spatial), "float64" if y.dtype.kind == "f" else y.dtype)
    for o in places(out):
        x[(..., *seen(o, sizes, strides, dilations))] += y[(slice(None),) * first + o]
    return x.astype(y.dtype)


row(
    "windows",
    windows,
    [
        case(floats(2, 7), attributes=((3,), (2,), (1,)), smooth=True),
        case(floats(2, 6, 5), attributes=((2, 3), (2, 1), (1, 1)), smooth=True),
        case(floats(7, 8), attributes=((2, 3), (1, 2), (3, 2)), smooth=True, tag="dilated"),
        case(floats(4, 6), attributes=((2, 2), (2, 2), (1, 1)), smooth=True, tag="tiles"),
        case(floats(3, 5), attributes=((2,), (3,), (1,)), smooth=True, tag="gaps"),
        case(floats(2, 4, 4, 3, dtype="float32"), attributes=((2, 3, 1), (1, 1, 1), (1, 1, 2))),
        case(floats(5), attributes=((5,), (1,), (1,)), smooth=True, tag="whole"),
        case(floats(3), attributes=((), (), ()), smooth=True, tag="no axis"),
        case(floats(0, 4), attributes=((2,), (1,), (1,)), smooth=True, tag="empty"),
        case(integers(2, 5), attributes=((2,), (2,), (2,))),
        case(bools(5), attributes=((2,), (1,), (1,))),
    ],
    [
        wrong(
            floats(2, 4),
            attributes=((3,), (1,), (2,)),
            message="a window that spans 5 elements does not fit extent 4 of axis 1",
        ),
        wrong(floats(4), attributes=((2,), (0,), (1,)), message="strides (0,) must be at least 1"),
        wrong(floats(4), attributes=((0,), (1,), (1,)), message="sizes (0,) must be at least 1"),
        wrong(floats(4), attributes=((2, 2), (1, 1), (1, 1)), message="2 window axes for an operand of rank 1"),
        wrong(floats(4), attributes=((2,), (1, 1), (1,)), message="lengths"),
    ],
)
row(
    "fold",
    fold,
    [
        case(floats(2, 3, 3), attributes=((7,), (2,), (1,)), smooth=True),
        case(floats(2, 3, 3, 2, 3), attributes=((6, 5), (2, 1), (1, 1)), smooth=True),
        case(floats(4, 2, 2, 3), attributes=((7, 8), (1, 2), (3, 2)), smooth=True, tag="dilated"),
        case(floats(2, 3, 2, 2), attributes=((4, 6), (2, 2), (1, 1)), smooth=True, tag="tiles"),
        case(floats(3, 2, 2), attributes=((7,), (3,), (1,)), smooth=True, tag="gaps"),
        case(floats(2, 3, 2, 3, 2, 3, 1, dtype="float32"), attributes=((4, 4, 3), (1, 1, 1), (1, 1, 2))),
        case(floats(3), attributes=((), (), ()), smooth=True, tag="no axis"),
        case(floats(0, 3, 2), attributes=((4,), (1,), (1,)), smooth=True, tag="empty"),
        case(integers(2, 2, 2), attributes=((5,), (2,), (2,))),
    ],
    [
        wrong(
            floats(2, 3, 2),
            attributes=((6,), (1,), (1,)),
            message="3 windows of 2 elements along axis 1, but 5 fit into extent 6",
        ),
        wrong(floats(3), attributes=((4,), (1,), (1,)), message="1 extents and 1 steps for an operand of rank 1"),
        wrong(bools(3, 2), attributes=((4,), (1,), (1,)), message="needs numbers", error=DTypeError),
        wrong(floats(3, 2), attributes=((4,), (0,), (1,)), message="strides (0,) must be at least 1"),
    ],
)

# the largest in a window


def place_of_max(axes, x, dtype="uint8"):
    """Where the largest element is, among those of `axes`."""
    moved = np.moveaxis(x, axes, range(-len(axes), 0))
    kept = moved.shape[: x.ndim - len(axes)]
    return moved.reshape(*kept, int(np.prod(moved.shape[len(kept) :]))).argmax(-1).astype(dtype)


def largest_at(axes, x):
    """Operands and attributes of a case."""
    return x, place_of_max(axes, x)


row(
    "max_at",
    lambda axes, x, place: np.max(x, axes),
    [
        case(*largest_at((1,), distinct(4, 5)), attributes=((1,),), smooth=True),
        case(*largest_at((0, 2), distinct(3, 2, 4)), attributes=((0, 2),), smooth=True),
        case(*largest_at((2, 3), distinct(2, 2, 3, 2)), attributes=((2, 3),), smooth=True),
        case(*largest_at((0,), distinct(3, 4, dtype="float32")), attributes=((0,),)),
        case(*largest_at((1,), np.array([[1.0, np.nan], [np.inf, -np.inf]])), attributes=((1,),), tag="special"),
        case(floats(0, 3), integers(0, dtype="uint8"), attributes=((1,),), smooth=True, tag="empty"),
        case(*largest_at((1,), integers(4, 5)), attributes=((1,),)),
    ],
    [
        wrong(floats(2, 3), floats(2), attributes=((1,),), message="the place must be integer", error=DTypeError),
        wrong(floats(2, 3), integers(3), attributes=((1,),), message="the place has shape [3], not [2]"),
        wrong(floats(2, 0), integers(2), attributes=((1,),), message="no elements along axes (1,)"),
        wrong(floats(2, 3), integers(2), attributes=((2,),), message="axes (2,)"),
    ],
)

# convolution


def wide(x):
    """x in double precision."""
    return x.astype("float64") if x.dtype.kind == "f" else x


def between(x, low, high):
    """x with zeros around its last axes."""
    return np.pad(wide(x), [(0, 0), (0, 0), *zip(low, high)])


def patches(x, low, high, kernel, strides, dilations, groups):
    """The window under each place of the output, as a view of the padded input, its channels split into groups."""
    padded = between(x, low, high)
    padded = padded.reshape(len(x), groups, x.shape[1] // groups, *padded.shape[2:])
    for o in places(number(padded.shape[3:], kernel, strides, dilations)):
        yield o, padded[(..., *seen(o, kernel, strides, dilations))], padded


def in_groups(x, axis, groups):
    """x with an axis split in two."""
    return wide(x).reshape(*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])


def convolution(strides, low, high, dilations, groups, x, w):
    """One place of the output after another."""
    kernel = w.shape[2:]
    out = number([n + a + b for n, a, b in zip(x.shape[2:], low, high)], kernel, strides, dilations)
    y = np.zeros((len(x), len(w), *out), wide(x).dtype)
    for o, patch, _ in patches(x, low, high, kernel, strides, dilations, groups):
        made = np.einsum("ngc...,goc...->ngo...", patch, in_groups(w, 0, groups))
        y[(slice(None), slice(None), *o)] = made.sum(tuple(range(3, made.ndim))).reshape(len(x), len(w))
    return y.astype(x.dtype)


def convolution_input_grad(strides, low, high, dilations, groups, spatial, g, w):
    """One place of the output after another."""
    x = np.zeros((len(g), w.shape[1] * groups, *spatial), g.dtype)
    axes, total = (...,) + (None,) * len(spatial), x
    for o, patch, total in patches(x, low, high, w.shape[2:], strides, dilations, groups):  # noqa: B007
        at = in_groups(g, 1, groups)[(slice(None), slice(None), slice(None), *o)]
        patch += (at[:, :, :, None][axes] * in_groups(w, 0, groups)[None]).sum(2)  # a view of total
    return total[(..., *(slice(a, a + n) for a, n in zip(low, spatial)))].reshape(x.shape).astype(g.dtype)


def convolution_weight_grad(strides, low, high, dilations, groups, kernel, x, g):
    """One place of the output after another."""
    w = np.zeros((groups, g.shape[1] // groups, x.shape[1] // groups, *kernel), wide(x).dtype)
    for o, patch, _ in patches(x, low, high, kernel, strides, dilations, groups):
        at = in_groups(g, 1, groups)[(slice(None), slice(None), slice(None), *o)]
        w += np.einsum("ngo,ngc...->goc...", at, patch)
    return w.reshape(g.shape[1], x.shape[1] // groups, *kernel).astype(x.dtype)


def forms():
    """Attributes, shapes of x and w, and a tag, of applications that fit."""
    return [
        (((1,), (0,), (0,), (1,), 1), (2, 3, 6), (4, 3, 3), ""),
        (((2,), (1,), (2,), (1,), 1), (2, 2, 5), (3, 2, 3), ""),
        (((1, 1), (1, 1), (1, 1), (1, 1), 1), (2, 3, 4, 5), (2, 3, 3, 3), "same"),
        (((2, 1), (0, 2), (1, 0), (1, 2), 1), (2, 2, 6, 5), (3, 2, 3, 2), "mixed"),
        (((2, 2), (0, 0), (0, 0), (1, 1), 1), (1, 2, 6, 4), (3, 2, 1, 1), "pointwise"),
        (((3, 2), (0, 0), (0, 0), (1, 1), 1), (1, 1, 7, 6), (2, 1, 2, 2), "gaps"),
        (((1, 2), (1, 0), (0, 1), (2, 1), 2), (2, 4, 5, 4), (6, 2, 2, 3), "groups"),
        (((1, 1), (1, 1), (1, 1), (1, 1), 3), (2, 3, 4, 3), (6, 1, 3, 3), "depthwise"),
        (((2, 1, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1), 2), (1, 2, 3, 2, 3), (2, 1, 2, 2, 3), "three axes"),
        (((1,), (0,), (0,), (1,), 1), (0, 2, 4), (3, 2, 2), "empty"),
        (((2, 1), (0, 0), (0, 0), (1, 1), 1), (1, 1, 3, 3), (1, 1, 3, 3), "whole"),
        (((1, 1), (3, 0), (3, 0), (1, 1), 1), (1, 1, 1, 2), (1, 1, 2, 1), "much padding"),
    ]


def extents(attributes, x, w):
    """The shape of the output."""
    strides, low, high, dilations, _ = attributes
    out = number([n + a + b for n, a, b in zip(x[2:], low, high)], w[2:], strides, dilations)
    return (x[0], w[0], *out)


WIDE = (((2, 1), (1, 2), (2, 1), (1, 1), 2), (3, 16, 13, 14), (24, 8, 3, 5))
CASES = {"convolution": [], "convolution_input_grad": [], "convolution_weight_grad": []}
for attributes, x, w, tag in [*forms(), (*WIDE, "float32"), (*forms()[3][:3], "integers")]:

    def draw(shape, seed, tag=tag):
        if tag == "integers":
            return integers(*shape, seed=seed)
        return floats(*shape, dtype=tag if tag == "float32" else "float64", seed=seed)

    settings = {"smooth": tag not in ("float32", "integers"), "tag": tag}
    g = extents(attributes, x, w)
    CASES["convolution"].append(case(draw(x, 0), draw(w, 1), attributes=attributes, **settings))
    CASES["convolution_input_grad"].append(case(draw(g, 2), draw(w, 1), attributes=(*attributes, x[2:]), **settings))
    CASES["convolution_weight_grad"].append(case(draw(x, 0), draw(g, 2), attributes=(*attributes, w[2:]), **settings))

PLAIN = ((1,), (0,), (0,), (1,), 1)
HALVES = ((1,), (0,), (0,), (1,), 2)
row(
    "convolution",
    convolution,
    CASES["convolution"],
    [
        wrong(floats(1, 3, 5), floats(2, 4, 2), attributes=PLAIN,
              message="the input has 3 channels, the kernel takes 4"),
        wrong(floats(1, 4, 5), floats(2, 4, 2), attributes=HALVES,
              message="the input has 4 channels, the kernel takes 4 for each of 2 groups"),
        wrong(floats(1, 3, 5), floats(2, 1, 2), attributes=HALVES,
              message="3 input channels do not divide into 2 groups"),
        wrong(floats(1, 2, 5), floats(3, 1, 2), attributes=HALVES,
              message="3 output channels do not divide into 2 groups"),
        wrong(floats(1, 3, 5), floats(2, 3, 7), attributes=PLAIN,
              message="the kernel spans 7 elements, the padded input has 5 along axis 2"),
        wrong(floats(1, 3, 5), floats(2, 3, 0), attributes=PLAIN, message="the kernel has extent 0 along axis 2"),
        wrong(floats(1, 3, 5, 5), floats(2, 3, 2), attributes=PLAIN, message="the left operand has rank 4, not 3"),
        wrong(floats(1, 3, 5), floats(2, 3), attributes=PLAIN, message="the right operand has rank 2, not 3"),
        wrong(floats(1, 3, 5), floats(2, 3, 2, dtype="float32"), attributes=PLAIN, message="different dtypes",
              error=DTypeError),
        wrong(bools(1, 3, 5), bools(2, 3, 2), attributes=PLAIN, message="needs numbers", error=DTypeError),
        wrong(floats(1, 3, 5), floats(2, 3, 2), attributes=((1,), (-1,), (0,), (1,), 1),
              message="padding (-1,), (0,) must be 1 numbers that are not negative"),
        wrong(floats(1, 3, 5), floats(2, 3, 2), attributes=((1,), (0,), (0,), (1,), 0), message="groups 0"),
        wrong(floats(1, 3), floats(2, 3), attributes=((), (), (), (), 1), message="there are 0 spatial axes"),
    ],
    loose=8.0,  # the wide case adds up 120 products
)  # fmt: skip
row(
    "convolution_input_grad",
    convolution_input_grad,
    CASES["convolution_input_grad"],
    [
        wrong(floats(1, 3, 4), floats(2, 4, 2), attributes=(*PLAIN, (5,)),
              message="the output has 3 channels, the kernel makes 2"),
        wrong(floats(1, 3, 4), floats(3, 4, 2), attributes=(*HALVES, (5,)),
              message="3 output channels do not divide into 2 groups"),
        wrong(floats(1, 2, 4), floats(2, 4, 2), attributes=(*PLAIN, (6,)),
              message="the output has extent 4 along axis 2, which should be 5"),
        wrong(floats(1, 2, 4), floats(2, 4, 2), attributes=(*PLAIN, (6, 6)),
              message="2 extents (6, 6) for 1 spatial axes"),
    ],
    loose=8.0,  # the wide case adds up 180 products
)  # fmt: skip
row(
    "convolution_weight_grad",
    convolution_weight_grad,
    CASES["convolution_weight_grad"],
    [
        wrong(floats(1, 3, 5), floats(2, 3, 4), attributes=(*PLAIN, (2,)),
              message="the input has 1 examples, the output 2"),
        wrong(floats(1, 3, 5), floats(1, 2, 4), attributes=(*HALVES, (2,)),
              message="3 input channels do not divide into 2 groups"),
        wrong(floats(1, 2, 5), floats(1, 3, 4), attributes=(*HALVES, (2,)),
              message="3 output channels do not divide into 2 groups"),
        wrong(floats(1, 3, 5), floats(1, 2, 4), attributes=(*PLAIN, (3,)),
              message="the output has extent 4 along axis 2, which should be 3"),
    ],
    loose=16.0,  # the wide case adds up 462 products
)  # fmt: skip
row(
    "first_place",
    lambda axes, dtype, x: place_of_max(axes, x, dtype.name),
    [
        case(distinct(4, 5), attributes=((1,), uint8)),
        case(distinct(3, 2, 4), attributes=((0, 2), uint8)),
        case(np.maximum(floats(2, 2, 3, 2), 0), attributes=((2, 3), uint8), tag="ties"),
        case(np.array([[1.0, np.nan, np.nan], [np.nan, np.inf, 1.0]]), attributes=((1,), int32), tag="special"),
        case(integers(4, 40), attributes=((1,), int32), tag="reduced"),
        case(floats(0, 3), attributes=((1,), uint8), tag="empty"),
    ],
    [
        wrong(floats(2, 0), attributes=((1,), uint8), message="no elements along axes (1,)"),
        wrong(bools(2, 3), attributes=((1,), uint8), message="needs numbers", error=DTypeError),
    ],
)
