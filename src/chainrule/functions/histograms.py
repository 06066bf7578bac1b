"""Counting: of whole numbers, and of values in bins of one or several axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import bool_, float64, int64
from ..errors import ConfigError, DTypeError, IndexOutOfRangeError, PlaceholderError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import cast, full, reject, reshape, size_of
from ..tensor import Tensor, evaluate_node, placeholder_below
from .elementwise import where
from .reduction import diff, max, min, sum
from .searching import check_ordered
from .shape import unstack


def bincount(x: Any, /, weights: Any = None, minlength: int = 0, *, length: int | None = None) -> Tensor:
    """How often each whole number 0, 1, ... occurs in the vector `x`, or the sum of the `weights` of its occurrences.

    Args:
        x: whole numbers that are not negative, a vector.
        weights: one for each element; the result has their dtype and may be differentiated by them.
        minlength: the least number of elements of the result.
        length: the number of elements of the result, for compiled and batched functions; numbers outside [0, length)
            are not counted.
    Returns: int64 counts or sums, one for each number up to the greatest.
    Raises: IndexOutOfRangeError for a negative number; PlaceholderError for a placeholder without `length`.
    Example:
        >>> import chainrule as cr
        >>> cr.bincount(cr.tensor([1, 3, 1]), weights=cr.tensor([0.5, 1.0, 2.0]))
        tensor([0. , 2.5, 0. , 1. ])
    """
    node = to_node(x, "bincount")
    if len(node.shape) != 1:
        reject("bincount", "a vector is needed", (node,))
    if node.dtype.kind not in "iub" and node.shape[0]:
        reject("bincount", "whole numbers are needed", (node,), "convert with .astype(chainrule.int64)", DTypeError)
    if minlength < 0:
        raise ConfigError(message("bincount", f"minlength is not negative, not {minlength}", (node,)))
    count = node.shape[0]
    mass = full(1, (count,), int64) if weights is None else to_node(weights, "bincount")
    if mass.shape != node.shape:
        reject("bincount", f"{size_of(mass.shape)} weights for {count} numbers", (node, mass))
    mass = cast(mass, int64) if mass.dtype is bool_ else mass
    places = cast(node, int64)
    if length is None:
        if node.value is None and placeholder_below(node) is not None:
            problem = "the size of the result depends on values, and the operand is a placeholder"
            reject("bincount", problem, (node,), "say how many numbers are counted with length=", PlaceholderError)
        value = evaluate_node(places, "bincount")
        if value.size and value.min() < 0:
            reject("bincount", f"{value.min()} is negative", (node,), "", IndexOutOfRangeError)
        size = int(value.max()) + 1 if value.size else 0
        size = size if size > minlength else minlength
        zeros = full(0, (size,), mass.dtype)
        return Tensor(emit("scatter_add", zeros, places, mass, attributes=(0,)) if count else zeros)
    return Tensor(_tallied(places, mass, length))


def _tallied(places: Node, mass: Node, size: int) -> Node:
    """The sums of `mass` at each of the `size` places; others are left out."""
    outside = emit("logical_or", emit("lt", places, full(0, places.shape, int64)),
                   emit("ge", places, full(size, places.shape, int64)))  # fmt: skip
    places = emit("where", outside, full(size, places.shape, int64), places)
    sums = emit("scatter_add", full(0, (size + 1,), mass.dtype), places, mass, attributes=(0,))
    return emit("slice", sums, attributes=((0,), (size,), (1,)))


def histogram_bin_edges(a: Any, /, bins: Any = 10, range: Any = None, weights: Any = None) -> Tensor:
    """The edges of the bins that `histogram` with the same arguments uses.

    Args:
        a: numbers, any shape (flattened).
        bins: how many of equal width; or the edges themselves; or the name of one of NumPy's rules ("auto", "doane",
            "fd", "rice", "scott", "sqrt", "stone", "sturges"), which needs values.
        range: (lowest, highest) edge; the extremes of `a` by default.
    Returns: (bins + 1,), the dtype of `a` (float64 for whole numbers).
    Raises: ConfigError for bins or a range that make no sense.
    """
    node = to_node(a, "histogram_bin_edges")
    return _edges("histogram_bin_edges", reshape(node, (size_of(node.shape),)), bins, range, weights)


def _is_number(bins: Any) -> bool:
    return hasattr(bins, "__index__") and not getattr(bins, "ndim", 0)


def _edges(name: str, flat: Node, bins: Any, limits: Any, weights: Any = None) -> Tensor:
    check_ordered(name, flat.dtype, (flat,))
    real = flat.dtype if flat.dtype.kind == "f" else float64
    if isinstance(bins, str):
        values = evaluate_node(flat, name)
        if weights is not None:
            raise ConfigError(message(name, f"weights do not go with the rule {bins!r}", (flat,)))
        try:
            found = np.histogram_bin_edges(values, bins, limits)
        except ValueError as error:
            raise ConfigError(message(name, str(error), (flat,))) from None
        return Tensor(cast(to_node(np.asarray(found)), real))
    if not _is_number(bins):
        edges = to_node(bins, name)
        if len(edges.shape) != 1 or edges.shape[0] < 2:
            reject(name, "edges are a vector of two at least", (flat, edges))
        if edges.value is not None and np.any(edges.value[:-1] > edges.value[1:]):
            raise ConfigError(message(name, f"edges do not fall, as {edges.value.tolist()} do", (flat,)))
        return Tensor(edges)
    count = bins.__index__()
    if count < 1:
        raise ConfigError(message(name, f"there is one bin at least, not {count}", (flat,)))
    if limits is not None:
        low, high = (float(v) for v in limits)
        if not low <= high or not np.isfinite(high - low):
            raise ConfigError(message(name, f"a range is two finite numbers in order, not {(low, high)}", (flat,)))
        if low == high:
            low, high = low - 0.5, high + 0.5
        return Tensor(cast(to_node(np.linspace(low, high, count + 1)), real))
    if not flat.shape[0]:
        return Tensor(cast(to_node(np.linspace(0.0, 1.0, count + 1)), real))
    if flat.value is not None and not np.isfinite(flat.value).all():
        help = "give range=, or take the others with [isfinite(a)]"
        reject(name, "elements that are not finite leave no range for the bins", (flat,), help, ConfigError)
    value = Tensor(cast(flat, real))
    least, most = min(value), max(value)
    same = least == most
    least, most = where(same, least - 0.5, least), where(same, most + 0.5, most)
    steps = Tensor(emit("iota", attributes=((count + 1,), 0, real)))
    even = least + steps * ((most - least) / float(count))
    return where(steps == float(count), most, even)


def _bin_numbers(name: str, flat: Node, edges: Tensor) -> Node:
    """Which bin each element is in (the last one holds its upper edge too); outside them -1 or their number."""
    value, table = _comparable(flat, edges)
    bins = table.shape[0] - 1
    place = emit("sub", emit("searchsorted", table, value, attributes=("right",)), full(1, value.shape, int64))
    top = emit("slice", table, attributes=((bins,), (bins + 1,), (1,)))
    at_top = emit("eq", value, emit("broadcast", top, attributes=(value.shape, (0,))))
    return emit("where", at_top, full(bins - 1, value.shape, int64), place)


def _comparable(flat: Node, edges: Tensor) -> tuple[Node, Node]:
    """Elements and edges in one dtype."""
    value, table = flat, to_node(edges)
    if value.dtype is table.dtype:
        return value, table
    dtype = table.dtype if table.dtype.kind == "f" else value.dtype if value.dtype.kind == "f" else float64
    return cast(value, dtype), cast(table, dtype)


def _counted(flat: Node, edges: Tensor) -> Node:
    """How many elements lie in each bin, from where the edges stand among the sorted elements."""
    value, table = _comparable(flat, edges)
    ordered = emit("sort", value, attributes=(0,))
    bins = table.shape[0] - 1
    lower = emit("slice", table, attributes=((0,), (bins,), (1,)))
    top = emit("slice", table, attributes=((bins,), (bins + 1,), (1,)))
    below = [emit("searchsorted", ordered, lower, attributes=("left",)),
             emit("searchsorted", ordered, top, attributes=("right",))]  # fmt: skip
    return to_node(diff(Tensor(emit("concat", *below, attributes=(0,)))))


def histogram(
    a: Any, /, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Tensor, Tensor]:
    """How many elements fall into each bin, and the edges of the bins.

    A bin holds its lower edge; the last one its upper edge too. Elements outside and NaN are left out.

    Args:
        a, bins, range: see `histogram_bin_edges`.
        density: divide by the total and by the widths of the bins, so that the integral is 1.
        weights: the shape of `a`; summed instead of counted. The result may be differentiated by them.
    Returns: (bins,) int64 counts, sums in the weights' dtype, or densities; and (bins + 1,) edges.
    Raises: ConfigError, ShapeError for bins, ranges and weights that do not fit; ConfigError for elements that are not
        finite without edges or a range (in compiled functions the edges are NaN then).
    Example:
        >>> import chainrule as cr
        >>> cr.histogram(cr.tensor([1.0, 2.0, 1.0, 4.0]), bins=3)
        (tensor([2, 1, 1]), tensor([1., 2., 3., 4.]))
    """
    node = to_node(a, "histogram")
    flat = reshape(node, (size_of(node.shape),))
    edges = _edges("histogram", flat, bins, range, weights)
    if weights is None:
        counts = Tensor(_counted(flat, edges))
    else:
        mass = to_node(weights, "histogram")
        if mass.shape != node.shape:
            reject("histogram", f"weights of shape {mass.shape} for elements of shape {node.shape}", (node, mass))
        mass = reshape(mass, flat.shape)
        counts = Tensor(_tallied(_bin_numbers("histogram", flat, edges), mass, edges.shape[0] - 1))
    if density:
        widths = diff(edges)
        counts = counts.astype(widths.dtype) / sum(counts).astype(widths.dtype) / widths
    return counts, edges


def histogramdd(
    sample: Any, /, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Tensor, list[Tensor]]:
    """The histogram of points in several dimensions.

    Args:
        sample: (points, dimensions), or a sequence with one vector for each dimension.
        bins: a number or edges for each dimension, or one number for all. range: pairs, or None.
        density, weights: see `histogram`.
    Returns: counts (float64 as in NumPy, or the weights' dtype), one axis for each dimension; and a list of edges.
    """
    if isinstance(sample, (list, tuple)):
        columns = [to_node(part, "histogramdd") for part in sample]
    else:
        node = to_node(sample, "histogramdd")
        if len(node.shape) == 1:
            node = reshape(node, (node.shape[0], 1))
        if len(node.shape) != 2:
            reject("histogramdd", "points are a matrix (points, dimensions)", (node,))
        columns = [to_node(part) for part in unstack(Tensor(node), axis=1)]
    dimensions = len(columns)
    many = list(bins) if isinstance(bins, (list, tuple)) else [bins] * dimensions
    if len(many) != dimensions:
        problem = f"there are bins for {len(many)} dimensions of {dimensions}"
        raise ConfigError(message("histogramdd", problem, tuple(columns)))
    limits: Sequence[Any] = [None] * dimensions if range is None else range
    count = columns[0].shape[0]
    edges = [_edges("histogramdd", c, b, r) for c, b, r in zip(columns, many, limits)]
    extents = tuple(e.shape[0] - 1 for e in edges)
    place, inside = full(0, (count,), int64), full(True, (count,), bool_)
    for column, edge, extent in zip(columns, edges, extents):
        number = _bin_numbers("histogramdd", column, edge)
        size = full(extent, (count,), int64)
        inside = emit("logical_and", inside, emit("ge", number, full(0, (count,), int64)))
        inside = emit("logical_and", inside, emit("lt", number, size))
        place = emit("add", emit("mul", place, size), number)
    place = emit("where", inside, place, full(-1, (count,), int64))
    mass = full(1.0, (count,), float64) if weights is None else to_node(weights, "histogramdd")
    if mass.shape != (count,):
        reject("histogramdd", f"{size_of(mass.shape)} weights for {count} points", (columns[0], mass))
    counts = Tensor(reshape(_tallied(place, mass, size_of(extents)), extents))
    if density:
        total = sum(counts)
        for axis, edge in enumerate(edges):
            widths = diff(edge).astype(counts.dtype)
            shape = tuple(-1 if a == axis else 1 for a in np.arange(dimensions))
            counts = counts / widths.reshape(shape)
        counts = counts / total
    return counts, edges


def histogram2d(
    x: Any, y: Any, /, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The histogram of the points (x, y): counts (bins of x, bins of y), edges of x, edges of y. See `histogramdd`."""
    if not isinstance(bins, (list, tuple)) and not _is_number(bins):
        bins = [bins, bins]  # one vector of edges for both
    elif isinstance(bins, (list, tuple)) and len(bins) != 2:
        bins = [np.asarray(bins)] * 2
    counts, edges = histogramdd([x, y], bins, range, density, weights)
    return counts, edges[0], edges[1]
