"""Folds of large windows as several folds of small ones.

Compiled code adds up the places that reach an element one after another, and near the ends of an axis, where they are
fewer, other code does: windows of k places along each of n axes take k ** (2 n) additions that are written out. Some
rewritings add the same numbers in an order of their own, with short code:

* axes apart: a fold along the last axes, for each place along the others, then one along these;
* steps apart: ``p = (o + j) * stride + r`` for place ``j * stride + r`` of window o, a fold with stride 1 for each r;
* places apart: place ``a * b + i``, a fold of b places for each a, then one of all a, which are b apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from ..dtypes import float32
from ..graph.node import Node
from .base import apply, emit
from .rules import cast, full, permute, reshape

Shape = tuple[int, ...]

#: additions that a fold has written out at most
LONGEST = 128
#: zeros between windows, times as many as there are windows at most, that save a few times `LONGEST` additions
BETWEEN, FEW_TIMES = 4, 8
#: nodes of an elementwise operand that are computed where they are added up, wherever that is
ELEMENTWISE = 16


def additions(windows: int, size: int, stride: int, dilation: int) -> int:
    """About how many additions along an axis are written out: for each remainder by the stride those of its places."""
    alike = Counter(place * dilation % stride for place in range(size))
    return sum(places * min(places, windows) for places in alike.values())


def smaller_windows(y: Node, spatial: Shape, strides: Shape, dilations: Shape) -> Node | None:
    """``fold(y)`` as a composition; None if its own code is short."""
    count = len(spatial)
    lead = len(y.shape) - 2 * count
    windows, sizes = y.shape[lead : lead + count], y.shape[lead + count :]
    prices = [additions(*each) for each in zip(windows, sizes, strides, dilations)]
    if math.prod(prices) <= LONGEST or 0 in y.shape or y.dtype.kind == "c":
        return None
    if y.dtype.is_half:  # rounded once, at the end
        return cast(_fold(cast(y, float32), spatial, strides, dilations), y.dtype)
    several = [axis for axis in range(count) if prices[axis] > 1 or strides[axis] > 1]
    if len(several) > 1:
        taken = several[-1:]
        while len(taken) < len(several) - 1:
            more = several[-len(taken) - 1 :]
            if math.prod(prices[axis] for axis in more) > LONGEST:
                break
            taken = more
        return _axes_apart(y, spatial, strides, dilations, taken)
    (axis,) = several
    if strides[axis] > 1 and dilations[axis] == 1:
        return _steps_apart(y, spatial, strides[axis], axis)
    if strides[axis] > BETWEEN and prices[axis] <= FEW_TIMES * LONGEST:
        return None
    if strides[axis] > 1:
        return _step_of_one(y, spatial, strides[axis], dilations, axis)
    return _places_apart(y, spatial, dilations[axis], axis)


def _fold(y: Node, spatial: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Node:
    return emit("fold", y, attributes=(tuple(spatial), tuple(strides), tuple(dilations)))


def _axes_apart(y: Node, spatial: Shape, strides: Shape, dilations: Shape, taken: Sequence[int]) -> Node:
    """Along the axes `taken` first."""
    count = len(spatial)
    lead = len(y.shape) - 2 * count
    rest = [axis for axis in range(count) if axis not in taken]
    first, behind = [*range(lead)], lead + count
    order = (*first, *(behind + axis for axis in rest), *range(lead, behind), *(behind + axis for axis in taken))
    sizes = y.shape[behind:]
    ones = [1 if axis in rest else size for axis, size in enumerate(sizes)]
    shape = (*y.shape[:lead], *(sizes[axis] for axis in rest), *y.shape[lead:behind], *ones)

    def only(values: Sequence[int], axes: Sequence[int], others: Sequence[int]) -> list[int]:
        return [values[axis] if axis in axes else others[axis] for axis in range(count)]

    one = [1] * count
    extents = only(spatial, taken, y.shape[lead:behind])
    moved = _mapped(y, lambda x: reshape(permute(x, order), shape))
    each = _fold(moved, extents, only(strides, taken, one), only(dilations, taken, one))
    aside = lead + len(rest)
    back = (*first, *range(aside, aside + count), *range(lead, aside))
    ones = [size if axis in rest else 1 for axis, size in enumerate(sizes)]
    each = reshape(permute(each, back), (*y.shape[:lead], *extents, *ones))
    return _fold(each, spatial, only(strides, rest, one), only(dilations, rest, one))


def _split(y: Node, count: int, axis: int, sizes: tuple[int, int], outside: int) -> Node:
    """`y` with the places along an axis in two parts, row-major in `sizes`; part `outside` comes before the windows."""
    lead = len(y.shape) - 2 * count
    at = lead + count + axis
    y = _extended(y, at, math.prod(sizes))
    shape = (*y.shape[:at], *sizes, *y.shape[at + 1 :])
    place = at + outside
    order = (*range(lead), place, *(n for n in range(lead, len(shape)) if n != place))
    # elementwise operations take the axis in two parts, as the permuted reshape of what they work on
    return _mapped(y, lambda x: permute(reshape(x, shape), order))


def _steps_apart(y: Node, spatial: Shape, stride: int, axis: int) -> Node:
    """Along one axis, in steps of `stride`: the only axis along which windows have more than one place."""
    count = len(spatial)
    lead = len(y.shape) - 2 * count
    extent = spatial[axis]
    jumps = -(-y.shape[lead + count + axis] // stride)
    y = _split(y, count, axis, (jumps, stride), 1)
    extents = [*spatial]
    extents[axis] = y.shape[lead + 1 + axis] + jumps - 1
    one = [1] * count
    each = _fold(y, extents, one, one)
    order = [n for n in range(len(each.shape)) if n != lead]
    order.insert(lead + axis + 1, lead)
    extents[axis] *= stride
    result = reshape(permute(each, tuple(order)), (*each.shape[:lead], *extents))
    return _extended(_cut(result, lead + axis, extent), lead + axis, extent)


def _step_of_one(y: Node, spatial: Shape, stride: int, dilations: Shape, axis: int) -> Node:
    """Along one axis, with windows of zeros between those that are `stride` apart."""
    count = len(spatial)
    lead = len(y.shape) - 2 * count
    none = (0,) * len(y.shape)
    between = tuple(stride - 1 if n == lead + axis else 0 for n in range(len(y.shape)))
    y = emit("pad", y, full(0, (), y.dtype), attributes=(none, none, between))
    extents, one = [*spatial], [1] * count
    extents[axis] = y.shape[lead + axis] + (y.shape[lead + count + axis] - 1) * dilations[axis]
    return _extended(_fold(y, extents, one, dilations), lead + axis, spatial[axis])


def _places_apart(y: Node, spatial: Shape, dilation: int, axis: int) -> Node:
    """Along one axis, in steps of one: some neighbouring places first."""
    count = len(spatial)
    lead = len(y.shape) - 2 * count
    size = y.shape[lead + count + axis]
    near = math.isqrt(size - 1) + 1
    whole = [(size // n, n) for n in range(2, min(2 * near, size)) if size % n == 0]
    parts = min(whole, key=sum, default=(-(-size // near), near))  # without zeros, if it can be done
    y = _split(y, count, axis, parts, 0)
    extents, one, gaps = [*spatial], [1] * count, [1] * count
    extents[axis] = y.shape[lead + 1 + axis] + (parts[1] - 1) * dilation
    gaps[axis] = dilation
    each = _fold(y, extents, one, gaps)
    order = (*range(lead), *range(lead + 1, lead + 1 + count), lead)
    ones = [parts[0] if n == axis else 1 for n in range(count)]
    each = reshape(permute(each, order), (*each.shape[:lead], *extents, *ones))
    gaps[axis] = dilation * parts[1]
    extents[axis] += (parts[0] - 1) * gaps[axis]
    return _cut(_fold(each, extents, one, gaps), lead + axis, spatial[axis])


def _cut(x: Node, axis: int, extent: int) -> Node:
    """`x` with at most `extent` elements along an axis."""
    if x.shape[axis] <= extent:
        return x
    stops = (*x.shape[:axis], extent, *x.shape[axis + 1 :])
    return emit("slice", x, attributes=((0,) * len(stops), stops, (1,) * len(stops)))


def _extended(x: Node, axis: int, extent: int) -> Node:
    """`x` with zeros behind it up to `extent` elements along an axis."""
    if x.shape[axis] >= extent:
        return x
    none = (0,) * len(x.shape)
    high = tuple(extent - x.shape[axis] if n == axis else 0 for n in range(len(x.shape)))
    return emit("pad", x, full(0, (), x.dtype), attributes=(none, high, none))


def _mapped(y: Node, move: Callable[[Node], Node]) -> Node:
    """`y`, moved: few elementwise operations on what is moved, so that they need no memory of their own."""
    known: dict[int, Node] = {}

    def moved(x: Node) -> Node | None:
        if id(x) not in known:
            if x.value is None and x.op.family == "elementwise":
                inputs = [moved(operand) for operand in x.inputs]
                if len(known) >= ELEMENTWISE or None in inputs:
                    return None
                known[id(x)] = apply(x.op, tuple(operand for operand in inputs if operand is not None))
            else:
                known[id(x)] = move(x)
        return known[id(x)]

    return moved(y) or move(y)
