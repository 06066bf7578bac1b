"""Diagonals, triangles and indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import as_dtype, bool_, default_float, int64
from ..errors import ConfigError, IndexOutOfRangeError
from ..ops.base import emit, message
from ..recording import broadcast_shapes, cast, constant, full, normal_axis, reject, reshape, size_of
from ..tensor import Tensor, placeholder_below
from .elementwise import clip, where
from .products import diagonal
from .searching import nonzero
from .shape import moveaxis, pad, stack


def diag(x: Any, /, k: int = 0) -> Tensor:
    """The square matrix with the vector `x` on diagonal `k`, or diagonal `k` of the matrix `x`."""
    node = to_node(x, "diag")
    if len(node.shape) == 1:
        return diag_embed(Tensor(node), k)
    if len(node.shape) != 2:
        reject("diag", f"a vector or a matrix is needed, not {len(node.shape)} axes", (node,))
    rows, columns = (max(-k, 0), max(k, 0))
    return diagonal(Tensor(node)[rows:, columns:])


def diagflat(x: Any, /, k: int = 0) -> Tensor:
    """The square matrix with the elements of the flattened `x` on diagonal `k`."""
    node = to_node(x, "diagflat")
    return diag_embed(Tensor(reshape(node, (size_of(node.shape),))), k)


def diag_embed(x: Any, /, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices, over the axes `dim1` and `dim2` of the result, with the last axis of `x` on diagonal `offset`."""
    node = to_node(x, "diag_embed")
    if not node.shape:
        reject("diag_embed", "one axis at least is needed", (node,))
    rank, count = len(node.shape) + 1, node.shape[-1]
    first, second = (normal_axis("diag_embed", d, rank, node) for d in (dim1, dim2))
    if first == second:
        reject("diag_embed", f"dim1 and dim2 are both {first}", (node,))
    shape = (*node.shape, count)
    rows = emit("broadcast", node, attributes=(shape, tuple(range(rank - 1))))
    lines = [emit("iota", attributes=((count, count), a, int64)) for a in (0, 1)]
    here = emit("broadcast", emit("eq", *lines), attributes=(shape, (rank - 2, rank - 1)))
    zero = full(False if node.dtype is bool_ else 0, shape, node.dtype)
    square = Tensor(emit("where", here, rows, zero))
    if offset:
        up, across = (max(-offset, 0), max(offset, 0))
        # down or across by the offset: rows behind are filled where columns are moved, and the other way round
        widths = [(0, 0)] * (rank - 2) + [(up, across), (across, up)]
        square = pad(square, widths)
    return moveaxis(square, (rank - 2, rank - 1), (first, second))


def fill_diagonal(a: Any, val: Any, wrap: bool = False, *, inplace: bool = False) -> Tensor:
    """`a` with `val` (a number, or a vector that is repeated) on its main diagonal.

    Unlike NumPy's function it changes nothing in place: the result is a new tensor, and ``inplace=True`` is refused.
    `wrap` begins anew, one row below, in a matrix with more rows than columns.
    """
    node = to_node(a, "fill_diagonal")
    rank = len(node.shape)
    if inplace:
        raise ConfigError(message("fill_diagonal", "values are not changed in place", (node,), "use the result"))
    if rank < 2:
        reject("fill_diagonal", "two axes at least are needed", (node,))
    if rank > 2 and len(set(node.shape)) > 1:
        reject("fill_diagonal", "all axes of more than two have to be of one length", (node,))
    total = size_of(node.shape)
    if rank == 2:
        step, end = node.shape[1] + 1, total if wrap else min(total, node.shape[1] * node.shape[1])
    else:
        step, end = 1 + int(np.cumprod(node.shape[:-1]).sum()), total
    flat = Tensor(reshape(node, (total,)))
    count = len(range(0, end, step))
    value = Tensor(cast(to_node(val, "fill_diagonal"), node.dtype))
    if value.ndim and value.numel() != 1:
        places = np.arange(count) % value.numel()
        value = value.reshape(-1)[places]
    return flat.at[0:end:step].set(value).reshape(node.shape)


def identity(n: int, /, dtype: Any = None) -> Tensor:
    """The identity matrix."""
    return tri(n, dtype=dtype, _relation="eq")


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None, *, _relation: str = "le") -> Tensor:
    """A matrix (N, M) with ones on and below diagonal `k`, zeros above; float32 by default."""
    shape = (N, N if M is None else M)
    rows, columns = (emit("iota", attributes=(shape, a, int64)) for a in (0, 1))
    here = emit(_relation, columns, emit("add", rows, full(k, shape, int64)))
    return Tensor(cast(here, default_float if dtype is None else as_dtype(dtype)))


def _places(found: Sequence[np.ndarray]) -> tuple[Tensor, ...]:
    return tuple(Tensor(constant(np.ascontiguousarray(i, np.int64))) for i in found)


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements of an (n, m) matrix on and below diagonal `k` (NumPy's)."""
    rows, columns = _places(np.tril_indices(n, k, m))
    return rows, columns


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements of an (n, m) matrix on and above diagonal `k` (NumPy's)."""
    rows, columns = _places(np.triu_indices(n, k, m))
    return rows, columns


def diag_indices(n: int, ndim: int = 2) -> tuple[Tensor, ...]:
    """Indices of the main diagonal of an array with `ndim` axes of length `n`."""
    return _places([np.arange(n)] * ndim)


def indices(dimensions: Sequence[int], dtype: Any = None) -> Tensor:
    """The index of each element along each axis: (number of axes, *dimensions), int64."""
    shape = tuple(dimensions)
    wanted = int64 if dtype is None else as_dtype(dtype)
    if not shape:
        return Tensor(full(0, (0,), wanted))
    return stack([Tensor(emit("iota", attributes=(shape, a, wanted))) for a in range(len(shape))])


def ix_(*vectors: Any) -> tuple[Tensor, ...]:
    """Indices that together name the product of the vectors: each one along an axis of its own; masks name places."""
    results = []
    for i, vector in enumerate(vectors):
        node = to_node(vector, "ix_")
        if len(node.shape) != 1:
            reject("ix_", "vectors are needed", (node,))
        if node.dtype is bool_:
            node = to_node(nonzero(Tensor(node))[0])
        elif not node.shape[0]:
            node = cast(node, int64)
        shape = tuple(node.shape[0] if a == i else 1 for a in range(len(vectors)))
        results.append(Tensor(reshape(node, shape)))
    return tuple(results)


def argwhere(x: Any, /, *, size: int | None = None, fill_value: int = 0) -> Tensor:
    """The indices of the elements that are not 0, one row for each. `size`, `fill_value`: see `nonzero`."""
    node = to_node(x, "argwhere")
    if not node.shape:
        found = nonzero(Tensor(reshape(node, (1,))), size=size, fill_value=fill_value)[0]
        return Tensor(full(0, (found.shape[0], 0), int64))
    return stack(nonzero(Tensor(node), size=size, fill_value=fill_value), 1)


def flatnonzero(x: Any, /, *, size: int | None = None, fill_value: int = 0) -> Tensor:
    """The places in the flattened array of the elements that are not 0. `size`, `fill_value`: see `nonzero`."""
    node = to_node(x, "flatnonzero")
    return nonzero(Tensor(reshape(node, (size_of(node.shape),))), size=size, fill_value=fill_value)[0]


def _order(name: str, order: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if order not in ("C", "F"):
        raise ConfigError(message(name, f"order is 'C' or 'F', not {order!r}", ()))
    return shape if order == "C" else shape[::-1]


def _out_of_range(name: str, index: Tensor, extent: int, what: str) -> Tensor:
    """`index`, checked to be in [0, extent)."""
    node = to_node(index)
    known = node.value is not None or placeholder_below(node) is None
    if known:
        value = index.numpy()
        if value.size and not (value.min() >= 0 and value.max() < extent):
            bad = value.max() if value.max() >= extent else value.min()
            problem = f"{what} {bad} is out of range for {extent}"
            reject(name, problem, (node,), "", IndexOutOfRangeError)
        return index
    return Tensor(emit("check_index", node, attributes=(extent, what)))


def unravel_index(indices: Any, shape: Any, /, order: str = "C") -> tuple[Tensor, ...]:
    """The index along each axis of `shape` of places in the flattened array.

    Raises: IndexOutOfRangeError for a place outside it.
    """
    extents = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    turned = _order("unravel_index", order, extents)
    places = Tensor(cast(to_node(indices, "unravel_index"), int64))
    places = _out_of_range("unravel_index", places, size_of(extents), "place")
    results = []
    for extent in reversed(turned):
        results.append(places % extent)
        places = places // extent
    return tuple(results if order == "F" else reversed(results))


def ravel_multi_index(multi_index: Any, dims: Any, /, mode: Any = "raise", order: str = "C") -> Tensor:
    """The places in the flattened array of shape `dims` of indices along its axes, which broadcast.

    Args: mode: "raise", "wrap" or "clip" for indices out of range, one for all axes or one for each.
    Raises: IndexOutOfRangeError with "raise".
    """
    extents = tuple(dims)
    turned = _order("ravel_multi_index", order, extents)
    modes = (mode,) * len(extents) if isinstance(mode, str) else tuple(mode)
    nodes = [to_node(i, "ravel_multi_index") for i in multi_index]
    if not len(nodes) == len(extents) == len(modes):
        reject("ravel_multi_index", f"{len(nodes)} indices for {len(extents)} axes", nodes)
    broadcast_shapes("ravel_multi_index", nodes)
    whole = []
    for axis, (node, extent, kind) in enumerate(zip(nodes, extents, modes)):
        index = Tensor(cast(node, int64))
        if kind == "raise":
            index = _out_of_range("ravel_multi_index", index, extent, f"index of axis {axis}")
        elif kind == "wrap":
            index = index % extent
        elif kind == "clip":
            index = clip(index, 0, extent - 1)
        else:
            raise ConfigError(message("ravel_multi_index", f"mode is raise, wrap or clip, not {kind!r}", tuple(nodes)))
        whole.append(index)
    whole = whole if order == "C" else whole[::-1]
    result = whole[0]
    for index, extent in zip(whole[1:], turned[1:]):
        result = result * extent + index
    return result


def vander(x: Any, /, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix of powers of a vector's elements: columns x^(N-1), ..., x, 1, or the other way round."""
    node = to_node(x, "vander")
    if len(node.shape) != 1:
        reject("vander", "a vector is needed", (node,))
    count = node.shape[0] if N is None else N
    value = Tensor(node)
    ones = Tensor(full(1, node.shape, node.dtype))
    columns = [ones]
    while len(columns) < count:
        columns.append(columns[-1] * value)
    if not count:
        return Tensor(full(0, (node.shape[0], 0), node.dtype))
    columns = columns[:count]
    return stack(columns if increasing else columns[::-1], 1)


def choose(a: Any, choices: Any, /, mode: str = "raise") -> Tensor:
    """For each element of the whole numbers `a` the element of that one of the `choices` at its place; all broadcast.

    Args: mode: "raise", "wrap" or "clip" for numbers that no choice has.
    """
    options = [to_node(c, "choose") for c in choices]
    index = Tensor(cast(to_node(a, "choose"), int64))
    count = len(options)
    if mode == "wrap":
        index = index % count
    elif mode == "clip":
        index = clip(index, 0, count - 1)
    elif mode == "raise":
        index = _out_of_range("choose", index, count, "choice")
    else:
        raise ConfigError(message("choose", f"mode is raise, wrap or clip, not {mode!r}", tuple(options)))
    result = Tensor(options[0])
    for number, option in enumerate(options[1:], 1):
        result = where(index == number, Tensor(option), result)
    shape = broadcast_shapes("choose", [to_node(index), to_node(result)])
    return result if result.shape == shape else where(index == 0, Tensor(options[0]), result)


def select(condlist: Sequence[Any], choicelist: Sequence[Any], /, default: Any = 0) -> Tensor:
    """For each element the choice whose condition is the first to hold, or `default`; all broadcast.

    Raises: ConfigError for lists of different length.
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        problem = f"{len(condlist)} conditions for {len(choicelist)} choices"
        raise ConfigError(message("select", problem, ()))
    result = default
    for condition, choice in zip(reversed(list(condlist)), reversed(list(choicelist))):
        result = where(condition, choice, result)
    return result


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], /, *args: Any, **kw: Any) -> Tensor:
    """Functions, or numbers, of the elements for which a condition holds; the last that holds counts, else 0.

    One function more than conditions is for elements for which none holds. Every function sees all elements; its
    derivative is taken where its condition holds.
    Raises: ConfigError where the numbers of conditions and functions do not fit.
    """
    value = Tensor(to_node(x, "piecewise"))
    conditions = list(condlist) if isinstance(condlist, (list, tuple)) else [condlist]
    if len(funclist) not in (len(conditions), len(conditions) + 1):
        problem = f"{len(funclist)} functions for {len(conditions)} conditions"
        raise ConfigError(message("piecewise", problem, (to_node(value),)))

    def of(function: Any) -> Any:
        found = function(value, *args, **kw) if callable(function) else function
        return Tensor(cast(to_node(found), value.dtype)) if not isinstance(found, (int, float)) else found

    zero = Tensor(full(False if value.dtype is bool_ else 0, value.shape, value.dtype))
    result = zero + of(funclist[-1]) if len(funclist) > len(conditions) else zero
    for condition, function in zip(conditions, funclist):
        result = where(condition, of(function), result)
    return result
