"""Reductions: sums, extremes, statistics, logic and running totals over axes."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from ..conversion import to_node
from ..dtypes import as_dtype, bool_, int64, uint64
from ..errors import ConfigError, DTypeError
from ..graph.node import Node
from ..ops.base import emit, primitive
from ..recording import broadcast, cast, full, normal_axes, normal_axis, record_unary, reject, reshape, size_of
from ..tensor import Tensor
from .complex import imag, real
from .elementwise import exp, isfinite, log, sqrt, square, where
from .shape import concat


def _kept(node: Node, shape: tuple[int, ...], axes: tuple[int, ...]) -> Node:
    """`node` with axes of one element where `axes` of `shape` were reduced."""
    return reshape(node, tuple(1 if i in axes else e for i, e in enumerate(shape)))


def _reduce(name: str, node: Node, axis: Any, keepdims: bool) -> Tensor:
    shape = node.shape
    axes = normal_axes(name, axis, len(shape), node)
    if not axes:
        return Tensor(node)
    left = tuple([e for i, e in enumerate(shape) if i not in axes])
    result = record_unary(primitive(name, (axes,)), node, left)
    return Tensor(_kept(result, shape, axes) if keepdims else result)


def _accumulator(name: str, node: Node, dtype: Any) -> Node:
    """`node` in the dtype in which it is added up: its own for floats, 64 bits for whole numbers."""
    if dtype is not None:
        return cast(node, as_dtype(dtype))
    kind = node.dtype.kind
    return node if kind in "fc" else cast(node, uint64 if kind == "u" else int64)


def _floating(name: str, x: Any, kinds: str = "fc") -> Node:
    node = to_node(x, name)
    if node.dtype.kind not in kinds:
        reject(name, "a floating dtype is needed", (node,), "convert with .astype(chainrule.float32)", DTypeError)
    return node


def sum(
    x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False, dim: Any = None, keepdim: bool = False
) -> Tensor:
    """Sum over `axis` (all axes by default); whole numbers and bools add up in 64 bits."""
    node = _accumulator("sum", to_node(x, "sum"), dtype)
    return _reduce("sum", node, dim if axis is None else axis, keepdims or keepdim)


def prod(
    x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False, dim: Any = None, keepdim: bool = False
) -> Tensor:
    """Product over `axis` (all axes by default)."""
    node = _accumulator("prod", to_node(x, "prod"), dtype)
    return _reduce("prod", node, dim if axis is None else axis, keepdims or keepdim)


def _extreme(name: str, word: str) -> Callable[..., Tensor]:
    def function(x: Any, /, axis: Any = None, *, keepdims: bool = False, dim: Any = None) -> Tensor:
        node = to_node(x, name)
        if dim is not None:
            help = f"write {name}(axis=...) for the values and arg{name}(axis=...) for their places"
            reject(name, "dim= would return a pair in PyTorch", (node,), help, ConfigError)
        if node.dtype.kind == "c":
            reject(name, "complex numbers have no order", (node,), "compare abs(x), or real(x)", DTypeError)
        for a in normal_axes(name, axis, len(node.shape), node):
            if node.shape[a] == 0:
                reject(name, f"axis {a} has 0 elements, so there is no {word}", (node,))
        if node.dtype is bool_:
            return _reduce("any" if name == "max" else "all", node, axis, keepdims)
        return _reduce(name, node, axis, keepdims)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"The {word} over `axis`; NaN if there is one. Its derivative is shared equally among ties.\n\n"
        "    The standard's meaning: the values alone. `dim=` is refused, as it gives a pair in PyTorch.\n    "
    )
    return function


max = amax = _extreme("max", "greatest element")
min = amin = _extreme("min", "least element")


def _place(name: str, word: str) -> Callable[..., Tensor]:
    def function(
        x: Any, /, axis: int | None = None, *, keepdims: bool = False, dim: int | None = None, keepdim: bool = False
    ) -> Tensor:
        node = to_node(x, name)
        axis = dim if axis is None else axis
        if axis is None:
            result = emit(name, reshape(node, (size_of(node.shape),)), attributes=(0,))
            return Tensor(reshape(result, (1,) * len(node.shape)) if keepdims or keepdim else result)
        axis = normal_axis(name, axis, len(node.shape), node)
        if node.shape[axis] == 0:
            reject(name, f"axis {axis} has 0 elements, so there is no {word}", (node,))
        result = emit(name, node, attributes=(axis,))
        return Tensor(_kept(result, node.shape, (axis,)) if keepdims or keepdim else result)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Index of the first {word} along `axis` (of all elements, flattened, if None); int64."
    return function


argmax = _place("argmax", "greatest element")
argmin = _place("argmin", "least element")


def _logic(name: str, doc: str) -> Callable[..., Tensor]:
    def function(
        x: Any, /, axis: Any = None, *, keepdims: bool = False, dim: Any = None, keepdim: bool = False
    ) -> Tensor:
        node = to_node(x, name)
        if node.dtype is not bool_:
            node = emit("ne", node, full(0, node.shape, node.dtype))
        return _reduce(name, node, dim if axis is None else axis, keepdims or keepdim)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


any = _logic("any", "Whether an element over `axis` is true (not 0).")
all = _logic("all", "Whether every element over `axis` is true (not 0).")


def count_nonzero(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Number of elements over `axis` that are not 0; int64."""
    node = to_node(x, "count_nonzero")
    if node.dtype is not bool_:
        node = emit("ne", node, full(0, node.shape, node.dtype))
    return sum(Tensor(node), axis, keepdims=keepdims)


def _count(node: Node, axes: tuple[int, ...]) -> int:
    return size_of(tuple(node.shape[a] for a in axes))


def mean(x: Any, /, axis: Any = None, *, keepdims: bool = False, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Arithmetic mean over `axis` (all axes by default): sum / count, for floating dtypes."""
    node = _floating("mean", x)
    axis = dim if axis is None else axis
    count = _count(node, normal_axes("mean", axis, len(node.shape), node))
    return _reduce("sum", node, axis, keepdims or keepdim) / float(count)


_UNSTATED: Any = object()


def var(
    x: Any,
    /,
    axis: Any = None,
    *,
    correction: float = _UNSTATED,
    keepdims: bool = False,
    dim: Any = None,
    keepdim: bool = False,
) -> Tensor:
    """Variance over `axis`: sum(|x - mean|^2) / (count - correction), in two passes; of complex numbers it is real.

    `correction` is 0 by default (the standard's meaning). With PyTorch's `dim=` it has to be given, because its default
    is 1 there.
    """
    node = _floating("var", x)
    if correction is _UNSTATED:
        if dim is not None:
            help = "write correction=1 (divide by n - 1) or correction=0 (divide by n)"
            reject("var", "dim= without correction means something else in PyTorch", (node,), help, ConfigError)
        correction = 0
    axis = dim if axis is None else axis
    axes = normal_axes("var", axis, len(node.shape), node)
    value = Tensor(node)
    centred = value - mean(value, axes, keepdims=True)
    divisor = builtins.max(_count(node, axes) - correction, 0)
    squares = square(centred) if node.dtype.kind == "f" else square(real(centred)) + square(imag(centred))
    return sum(squares, axes, keepdims=keepdims or keepdim) / float(divisor)


def std(
    x: Any,
    /,
    axis: Any = None,
    *,
    correction: float = _UNSTATED,
    keepdims: bool = False,
    dim: Any = None,
    keepdim: bool = False,
) -> Tensor:
    """Standard deviation over `axis`: sqrt(var(x)). See `var` for `correction`."""
    return sqrt(var(x, axis, correction=correction, keepdims=keepdims, dim=dim, keepdim=keepdim))


def logsumexp(x: Any, /, axis: Any = None, *, keepdims: bool = False, dim: Any = None, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axis`, with the maximum taken out so that nothing overflows."""
    node = _floating("logsumexp", x, "f")
    axes = normal_axes("logsumexp", dim if axis is None else axis, len(node.shape), node)
    value = Tensor(node)
    high = max(value, axes, keepdims=True).detach()
    high = where(isfinite(high), high, 0.0)
    result = log(sum(exp(value - high), axes, keepdims=True)) + high
    if keepdims or keepdim:
        return result
    shape = tuple(e for i, e in enumerate(node.shape) if i not in axes)
    return Tensor(reshape(to_node(result), shape))


def _cumulative(name: str, operation: str, start: float) -> Callable[..., Tensor]:
    def function(
        x: Any, /, axis: int | None = None, *, dtype: Any = None, include_initial: bool = False, dim: int | None = None
    ) -> Tensor:
        node = _accumulator(name, to_node(x, name), dtype)
        axis = dim if axis is None else axis
        if axis is None:
            if len(node.shape) != 1:
                reject(name, "an axis has to be named for this many axes", (node,))
            axis = 0
        rank = len(node.shape)
        axis = normal_axis(name, axis, rank, node)
        fill = full(start if node.dtype.kind == "f" else int(start), (), node.dtype)
        if include_initial:
            node = _shifted(node, fill, axis, 1, cut=False)
        return Tensor(_running(node, operation, fill, axis))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Running {'sum' if operation == 'add' else 'product'} along `axis`, by doubling distances within blocks.\n\n"
        f"    With `include_initial` the result starts with {start:g} and is one element longer.\n    "
    )
    return function


#: elements of a block of a running total: 7 passes over them instead of log2 of the whole extent
BLOCK = 128


def _running(node: Node, operation: str, fill: Node, axis: int) -> Node:
    """The running total along `axis`; of a long one that within blocks, joined to the total of those before."""
    extent = node.shape[axis]
    if extent <= 4 * BLOCK:
        distance = 1
        while distance < extent:
            node = emit(operation, node, _shifted(node, fill, axis, distance, cut=True))
            distance *= 2
        return node
    shape, rank = node.shape, len(node.shape)
    zeros = (0,) * rank
    count = -(-extent // BLOCK)
    if count * BLOCK != extent:
        high = tuple(count * BLOCK - extent if a == axis else 0 for a in range(rank))
        node = emit("pad", node, fill, attributes=(zeros, high, zeros))
    padded = node.shape
    node = reshape(node, (*shape[:axis], count, BLOCK, *shape[axis + 1 :]))
    node = _running(node, operation, fill, axis + 1)
    starts = tuple(BLOCK - 1 if a == axis + 1 else 0 for a in range(rank + 1))
    ends = emit("slice", node, attributes=(starts, node.shape, (1,) * (rank + 1)))
    totals = _running(reshape(ends, (*shape[:axis], count, *shape[axis + 1 :])), operation, fill, axis)
    before = _shifted(totals, fill, axis, 1, cut=True)
    kept = tuple(a for a in range(rank + 1) if a != axis + 1)
    node = reshape(emit(operation, node, emit("broadcast", before, attributes=(node.shape, kept))), padded)
    return node if padded == shape else emit("slice", node, attributes=(zeros, shape, (1,) * rank))


def _shifted(node: Node, fill: Node, axis: int, distance: int, cut: bool) -> Node:
    """`node` moved `distance` places up along `axis`, `fill` coming in; `cut` drops what leaves."""
    rank = len(node.shape)
    if cut:
        stops = tuple(e - distance if a == axis else e for a, e in enumerate(node.shape))
        node = emit("slice", node, attributes=((0,) * rank, stops, (1,) * rank))
    low = tuple(distance if a == axis else 0 for a in range(rank))
    return emit("pad", node, fill, attributes=(low, (0,) * rank, (0,) * rank))


cumulative_sum = cumsum = _cumulative("cumulative_sum", "add", 0.0)
cumulative_prod = cumprod = _cumulative("cumulative_prod", "mul", 1.0)


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Tensor:
    """Differences of neighbours along `axis`, taken `n` times; `prepend` and `append` are joined to `x` before."""
    node = to_node(x, "diff")
    rank = len(node.shape)
    axis = normal_axis("diff", axis, rank, node)
    if n < 0:
        reject("diff", f"differences are taken {n} times", (node,), "", ConfigError)
    parts = [prepend, x, append]
    if n and (prepend is not None or append is not None):
        node = to_node(concat([part for part in parts if part is not None], axis))
    for _ in range(n):
        extent = node.shape[axis]
        if extent == 0:
            break
        ones = (1,) * rank
        later = emit("slice", node, attributes=(tuple(int(a == axis) for a in range(rank)), node.shape, ones))
        stops = tuple(e - (a == axis) for a, e in enumerate(node.shape))
        node = emit("sub", later, emit("slice", node, attributes=((0,) * rank, stops, ones)))
    return Tensor(node)


def average(x: Any, /, axis: Any = None, *, weights: Any = None, keepdims: bool = False) -> Tensor:
    """Mean over `axis` weighted by `weights`, which broadcast to `x`."""
    if weights is None:
        return mean(x, axis, keepdims=keepdims)
    value = Tensor(_floating("average", x))
    spread = Tensor(broadcast(to_node(weights, "average"), value.shape))
    return sum(value * spread, axis, keepdims=keepdims) / sum(spread, axis, keepdims=keepdims)
