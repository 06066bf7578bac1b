"""Writing rows at places that may repeat, on nodes: the last one written, their product, their extremes.

Everything is composed of primitives that have all derivatives and batching rules. Places are int64 vectors, checked by
whoever makes them.
"""

from __future__ import annotations

import numpy as np

from ..dtypes import int64
from ..graph.node import Node
from ..ops.base import emit
from ..recording import constant, full, reshape, size_of


def set_rows(x: Node, places: Node, updates: Node) -> Node:
    """`x` (n, ...) with its rows at `places` (k,) replaced by `updates` (k, ...); of equal places the last."""
    if not places.shape[0] or not x.shape[0]:
        return x
    source = _last_source(x.shape[0], places)
    chosen = emit("ge", source, full(0, source.shape, int64))
    taken = emit("take", updates, emit("maximum", source, full(0, source.shape, int64)), attributes=(0,))
    return emit("where", _spread(chosen, x.shape), taken, x)


def _last_source(count: int, places: Node) -> Node:
    """For each of `count` rows the number of the last update of it, -1 if there is none."""
    if places.value is not None:
        source = np.full(count, -1, np.int64)
        source[places.value] = np.arange(places.value.size)  # NumPy keeps the last
        return constant(source)
    numbers = emit("iota", attributes=(places.shape, 0, int64))
    return emit("scatter_extreme", full(-1, (count,), int64), places, numbers, attributes=(0, "max"))


def _spread(rows: Node, shape: tuple[int, ...]) -> Node:
    """One value for each row, repeated along it."""
    return rows if rows.shape == shape else emit("broadcast", rows, attributes=(shape, (0,)))


def add_rows(x: Node, places: Node, updates: Node) -> Node:
    """`x` with `updates` added to its rows at `places`."""
    return emit("scatter_add", x, places, updates, attributes=(0,)) if places.shape[0] else x


def extreme_rows(x: Node, places: Node, updates: Node, kind: str) -> Node:
    """`x` whose rows at `places` are the greatest ("max") or least ("min") of themselves and the updates for them."""
    return emit("scatter_extreme", x, places, updates, attributes=(0, kind)) if places.shape[0] else x


def row_products(x: Node, places: Node, updates: Node) -> Node:
    """For each row of `x` the product of the updates for it, 1 if there is none.

    Updates are sorted by their places, and equal neighbours multiplied by doubling distances: the derivative is right
    to every order where updates are 0.
    """
    count, k = x.shape[0], places.shape[0]
    one = True if x.dtype.kind == "b" else 1
    if not k or not count:
        return full(one, x.shape, x.dtype)
    order = emit("argsort", places, attributes=(0,))
    ordered = emit("take", places, order, attributes=(0,))
    result = emit("take", updates, order, attributes=(0,))
    distance = 1
    while distance < k:
        before = _moved(result, distance, full(one, (), x.dtype))
        same = emit("eq", ordered, _moved(ordered, distance, full(-1, (), int64)))
        ones = full(one, result.shape, x.dtype)
        result = emit("mul", result, emit("where", _spread(same, result.shape), before, ones))
        distance *= 2
    rows = emit("iota", attributes=((count,), 0, int64))
    last = emit("sub", emit("searchsorted", ordered, rows, attributes=("right",)), full(1, (count,), int64))
    last = emit("maximum", last, full(0, (count,), int64))
    touched = emit("eq", emit("take", ordered, last, attributes=(0,)), rows)
    product = emit("take", result, last, attributes=(0,))
    return emit("where", _spread(touched, x.shape), product, full(one, x.shape, x.dtype))


def _moved(x: Node, distance: int, fill: Node) -> Node:
    """The rows of `x` moved `distance` places up, `fill` coming in."""
    rank = len(x.shape)
    zeros = (0,) * (rank - 1)
    stops = (x.shape[0] - distance, *x.shape[1:])
    part = emit("slice", x, attributes=((0,) * rank, stops, (1,) * rank))
    return emit("pad", part, fill, attributes=((distance, *zeros), (0, *zeros), (0, *zeros)))


def touched_rows(count: int, places: Node) -> Node:
    """How often each of `count` rows is among the places; int64."""
    ones = full(1, places.shape, int64)
    return add_rows(full(0, (count,), int64), places, ones)


def along(places: Node, axis: int, shape: tuple[int, ...]) -> Node:
    """Indices along `axis` of an array of `shape`, one for each update, as places in the flattened array."""
    step = size_of(shape[axis + 1 :])
    result = emit("mul", places, full(step, places.shape, int64))
    for a in range(len(shape)):
        if a != axis and shape[a] > 1:
            line = emit("iota", attributes=(places.shape, a, int64))
            result = emit("add", result, emit("mul", line, full(size_of(shape[a + 1 :]), places.shape, int64)))
    return reshape(result, (size_of(places.shape),))
