"""Distinct values, and sets of them.

Their number depends on values. With `size` the results have that many elements, so that compiled and batched
functions can use them: the first ones if there are more, a filling after them if there are fewer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..conversion import to_node
from ..dtypes import bool_, int64
from ..errors import PlaceholderError
from ..graph.node import Node
from ..ops.base import emit
from ..recording import cast, constant, full, normal_axis, permute, promoted, reject, reshape, size_of
from ..tensor import Tensor, evaluate_node, placeholder_below
from .elementwise import isnan
from .reduction import cumulative_sum
from .searching import check_ordered, first_true, isin


class UniqueAll(NamedTuple):
    """Distinct values, where each occurs first, how to rebuild the array, and how often each occurs."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """Distinct values, and how often each occurs."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """Distinct values, and how to rebuild the array from them."""

    values: Tensor
    inverse_indices: Tensor


class _Groups(NamedTuple):
    """Groups of equal neighbours: places of their first elements, how many there are, who belongs to which; `valid`
    says which of the `size` groups exist (the others name the first one)."""

    first: Node
    counts: Node
    of: Node
    valid: Node | None


def _number(name: str, new: Node) -> int:
    if new.value is None and placeholder_below(new) is not None:
        problem = "the number of distinct values depends on values, and the operand is a placeholder"
        reject(name, problem, (new,), "say how many there are at most with size=", PlaceholderError)
    return int(evaluate_node(new, name).sum())


def _grouped(name: str, new: Node, size: int | None) -> _Groups:
    """The groups of a vector of which `new` says where another value begins; at least one element."""
    known = size is None
    if size is None:
        size = _number(name, new)
    of = to_node(cumulative_sum(Tensor(cast(new, int64)))) if new.shape[0] > 1 else cast(new, int64)
    of = emit("sub", of, full(1, of.shape, int64))
    wanted = emit("iota", attributes=((size,), 0, int64))
    first = emit("searchsorted", of, wanted, attributes=("left",))
    counts = emit("sub", emit("searchsorted", of, wanted, attributes=("right",)), first)
    valid = None
    if not known:
        valid = emit("gt", counts, full(0, counts.shape, int64))
        first = emit("where", valid, first, full(0, first.shape, int64))
    return _Groups(first, counts, of, valid)


def _other(node: Node, axis: int, equal_nan: bool) -> Node:
    """Whether each element along `axis` differs from the one before; the first one does."""
    rank, extent = len(node.shape), node.shape[axis]
    ones = (1,) * rank
    stops = tuple(extent - 1 if a == axis else e for a, e in enumerate(node.shape))
    before = emit("slice", node, attributes=((0,) * rank, stops, ones))
    after = emit("slice", node, attributes=(tuple(int(a == axis) for a in range(rank)), node.shape, ones))
    other = emit("ne", after, before)
    if equal_nan and node.dtype.kind in "fc":
        absent = [to_node(isnan(Tensor(part))) for part in (before, after)]
        number = emit("logical_not", emit("logical_and", *absent))
        other = emit("logical_and", other, number)
    low = tuple(int(a == axis) for a in range(rank))
    return emit("pad", other, full(True, (), bool_), attributes=(low, (0,) * rank, (0,) * rank))


def _filled(values: Node, valid: Node | None, fill_value: Any, axis: int) -> Node:
    if valid is None or fill_value is None:
        return values
    mask = emit("broadcast", valid, attributes=(values.shape, (axis,)))
    return emit("where", mask, values, full(fill_value, values.shape, values.dtype, "unique"))


def unique(
    x: Any,
    /,
    *,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    dim: int | None = None,
    equal_nan: bool = True,
    sorted: bool = True,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The distinct values in ascending order, or the distinct slices along `axis` in lexicographic order.

    Complex numbers are in the order of their real, then of their imaginary parts.

    Args:
        return_index: also where each occurs first.
        return_inverse: also which of them each element is (in the shape of `x`, or one for each slice).
        return_counts: also how often each occurs.
        equal_nan: whether all NaN are one value.
        sorted: accepted; they are in order in any case.
        size: how many to give, for compiled and batched functions: the first if there are more; if there are fewer,
            `fill_value` (the least value by default) with count 0.
    Returns: the values, or a tuple of the values and what else is asked for, int64. Gradients flow from the values to
        the places where they occur first.
    Raises: PlaceholderError for a placeholder without `size`.
    Example:
        >>> import chainrule as cr
        >>> cr.unique(cr.tensor([3, 1, 3]), return_counts=True)
        (tensor([1, 3]), tensor([1, 2]))
        >>> cr.compile(lambda x: cr.unique(x, size=3, fill_value=-1))(cr.tensor([3, 1, 3]))
        tensor([ 1,  3, -1])
    """
    node = to_node(x, "unique")
    axis = dim if axis is None else axis
    shape, along = node.shape, axis
    if axis is None:
        node, at = reshape(node, (size_of(shape),)), 0
    else:
        at = normal_axis("unique", axis, len(shape), node)
        along = None if len(shape) == 1 else axis
    extent = node.shape[at]
    if not extent:
        return _nothing(node, at, shape if along is None else (0,), size, fill_value,
                        (return_index, return_inverse, return_counts))  # fmt: skip
    if along is None and node.dtype.kind != "c" and not return_index and not return_inverse:  # needs no indices
        ordered = emit("sort", node, attributes=(0,))
        groups = _grouped("unique", _other(ordered, 0, equal_nan), size)
        distinct = Tensor(_filled(emit("take", ordered, groups.first, attributes=(0,)), groups.valid, fill_value, 0))
        return (distinct, Tensor(groups.counts)) if return_counts else distinct
    if along is None:
        order = emit("argsort", node, attributes=(0,)) if node.dtype.kind != "c" else emit("lexsort", _keys(node))
        new = _other(emit("take", node, order, attributes=(0,)), 0, equal_nan)
    else:
        order, new = _rows_in_order(node, at)
    groups = _grouped("unique", new, size)
    places = emit("take", order, groups.first, attributes=(0,))
    values = _filled(emit("take", node, places, attributes=(at,)), groups.valid, fill_value, at)
    results = [Tensor(values)]
    if return_index:
        results.append(Tensor(places))
    if return_inverse:
        inverse = emit("scatter_add", full(0, (extent,), int64), order, groups.of, attributes=(0,))
        results.append(Tensor(reshape(inverse, shape) if along is None else inverse))
    if return_counts:
        results.append(Tensor(groups.counts))
    return tuple(results) if len(results) > 1 else results[0]


def _keys(x: Node) -> Node:
    """`x`, a vector or keys for `lexsort`, as such keys: of complex numbers the real part before the imaginary one."""
    rows = x if len(x.shape) > 1 else reshape(x, (1, *x.shape))
    if x.dtype.kind != "c":
        return rows
    parts = [reshape(emit(part, rows), (rows.shape[0], 1, *rows.shape[1:])) for part in ("imag", "real")]
    return reshape(emit("concat", *parts, attributes=(1,)), (2 * rows.shape[0], *rows.shape[1:]))


def _rows_in_order(node: Node, axis: int) -> tuple[Node, Node]:
    """The lexicographic order of the slices along `axis`, and where in it another one begins."""
    extent = node.shape[axis]
    front = permute(node, (axis, *(a for a in range(len(node.shape)) if a != axis)))
    rows = reshape(front, (extent, size_of(front.shape[1:])))
    if not rows.shape[1]:
        new = np.arange(extent) == 0
        return emit("iota", attributes=((extent,), 0, int64)), constant(new)
    order = emit("lexsort", _keys(emit("flip", permute(rows, (1, 0)), attributes=((0,),))))
    new = _other(emit("take", rows, order, attributes=(0,)), 0, False)
    return order, emit("any", new, attributes=((1,),))


def _nothing(node: Node, axis: int, inverse: tuple[int, ...], size: int | None, fill_value: Any, wanted: tuple) -> Any:
    """The answer of `unique` for no elements."""
    count = size or 0
    shape = (*node.shape[:axis], count, *node.shape[axis + 1 :])
    fill = (False if node.dtype is bool_ else 0) if fill_value is None else fill_value
    zeros = Tensor(full(0, (count,), int64))
    extra = (zeros, Tensor(full(0, inverse, int64)), zeros)
    results = [Tensor(full(fill, shape, node.dtype, "unique")), *(e for e, w in zip(extra, wanted) if w)]
    return tuple(results) if len(results) > 1 else results[0]


def unique_all(x: Any, /) -> UniqueAll:
    """Distinct values in order, with their first places, the inverse, and their counts; every NaN is a value."""
    found = unique(x, return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
    return UniqueAll(*found)


def unique_counts(x: Any, /) -> UniqueCounts:
    """Distinct values in order, and how often each occurs; every NaN is a value."""
    return UniqueCounts(*unique(x, return_counts=True, equal_nan=False))


def unique_inverse(x: Any, /) -> UniqueInverse:
    """Distinct values in order, and how to rebuild the array from them; every NaN is a value."""
    return UniqueInverse(*unique(x, return_inverse=True, equal_nan=False))


def unique_values(x: Any, /) -> Tensor:
    """Distinct values in order; every NaN is a value."""
    return unique(x, equal_nan=False)


def unique_consecutive(
    x: Any,
    /,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """`x` without elements (or slices along `dim`) equal to the one before (PyTorch's).

    Args: as those of `unique`. Returns: the values, then the inverse and counts if asked for.
    Raises: PlaceholderError for a placeholder without `size`.
    """
    node = to_node(x, "unique_consecutive")
    shape = node.shape
    if dim is None:
        node, at = reshape(node, (size_of(shape),)), 0
    else:
        at = normal_axis("unique_consecutive", dim, len(shape), node)
    if not node.shape[at]:
        return _nothing(node, at, shape if dim is None else (0,), size, fill_value,
                        (False, return_inverse, return_counts))  # fmt: skip
    new = _other(node, at, False)
    beside = tuple(a for a in range(len(node.shape)) if a != at)
    groups = _grouped("unique_consecutive", emit("any", new, attributes=(beside,)) if beside else new, size)
    values = _filled(emit("take", node, groups.first, attributes=(at,)), groups.valid, fill_value, at)
    results = [Tensor(values)]
    if return_inverse:
        results.append(Tensor(reshape(groups.of, shape) if dim is None else groups.of))
    if return_counts:
        results.append(Tensor(groups.counts))
    return tuple(results) if len(results) > 1 else results[0]


def _flat_pair(name: str, a: Any, b: Any) -> tuple[Node, Node]:
    nodes = [to_node(v, name) for v in (a, b)]
    dtype = promoted(name, nodes)
    check_ordered(name, dtype, nodes)
    first, second = (cast(reshape(n, (size_of(n.shape),)), dtype) for n in nodes)
    return first, second


def _chosen(name: str, values: Node, mask: Node, size: int | None, fill_value: Any) -> tuple[Tensor, Node]:
    """The elements of the vector `values` at which `mask` holds, and their places."""
    if size is None:
        if mask.value is None and placeholder_below(mask) is not None:
            problem = "the size of the result depends on values, and an operand is a placeholder"
            reject(name, problem, (values,), "say how many elements there are at most with size=", PlaceholderError)
        places = constant(np.flatnonzero(evaluate_node(mask, name)).astype(np.int64))
        return Tensor(emit("take", values, places, attributes=(0,))), places
    if not values.shape[0]:
        return Tensor(full(0 if fill_value is None else fill_value, (size,), values.dtype)), full(0, (size,), int64)
    places, valid = first_true(mask, size)
    if fill_value is None:  # the first of the chosen ones, as `unique` has it
        first = emit("slice", places, attributes=((0,), (min(size, 1),), (1,)))
        spread = emit("broadcast", first, attributes=((size,), (0,)))
        places = emit("where", valid, places, spread)
    return Tensor(_filled(emit("take", values, places, attributes=(0,)), valid, fill_value, 0)), places


def _distinct(node: Node) -> tuple[Node, Node]:
    """`node` in order, and where in it another value begins."""
    ordered = emit("sort", node, attributes=(0,))
    return ordered, _other(ordered, 0, True) if node.shape[0] else full(False, (0,), bool_)


def union1d(ar1: Any, ar2: Any, /, *, size: int | None = None, fill_value: Any = None) -> Tensor:
    """The distinct values of both, in order. `size` and `fill_value`: see `unique`."""
    return unique(Tensor(emit("concat", *_flat_pair("union1d", ar1, ar2), attributes=(0,))), size=size,
                  fill_value=fill_value)  # fmt: skip


def intersect1d(
    ar1: Any,
    ar2: Any,
    /,
    assume_unique: bool = False,
    return_indices: bool = False,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The distinct values that are in both, in order; with `return_indices` also their first places in each.

    `assume_unique` is accepted and changes nothing. `size` and `fill_value`: see `unique`.
    """
    a, b = _flat_pair("intersect1d", ar1, ar2)
    ordered, new = _distinct(a)
    mask = emit("logical_and", new, to_node(isin(Tensor(ordered), Tensor(b))))
    values, _ = _chosen("intersect1d", ordered, mask, size, fill_value)
    if not return_indices:
        return values
    places = [_chosen("intersect1d", emit("argsort", a, attributes=(0,)), mask, size, None)[0]]
    order = emit("argsort", b, attributes=(0,))
    if not b.shape[0]:
        return values, places[0], Tensor(full(0, values.shape, int64))
    table = emit("take", b, order, attributes=(0,))
    at = emit("searchsorted", table, to_node(values), attributes=("left",))
    at = emit("minimum", at, full(b.shape[0] - 1, at.shape, int64))
    return values, places[0], Tensor(emit("take", order, at, attributes=(0,)))


def setdiff1d(
    ar1: Any, ar2: Any, /, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Tensor:
    """The distinct values of the first that are not in the second, in order (with `assume_unique`, as they stand)."""
    a, b = _flat_pair("setdiff1d", ar1, ar2)
    if assume_unique:
        mask = to_node(isin(Tensor(a), Tensor(b), invert=True))
        return _chosen("setdiff1d", a, mask, size, fill_value)[0]
    ordered, new = _distinct(a)
    mask = emit("logical_and", new, to_node(isin(Tensor(ordered), Tensor(b), invert=True)))
    return _chosen("setdiff1d", ordered, mask, size, fill_value)[0]


def setxor1d(
    ar1: Any, ar2: Any, /, assume_unique: bool = False, *, size: int | None = None, fill_value: Any = None
) -> Tensor:
    """The distinct values that are in one of both alone, in order."""
    a, b = _flat_pair("setxor1d", ar1, ar2)
    both = emit("concat", a, b, attributes=(0,))
    ordered, new = _distinct(both)
    inside = (to_node(isin(Tensor(ordered), Tensor(part))) for part in (a, b))
    mask = emit("logical_and", new, emit("logical_xor", *inside))
    if ordered.dtype.kind == "f":  # NaN is in no set, and so differs
        mask = emit("logical_or", mask, emit("logical_and", new, emit("isnan", ordered)))
    return _chosen("setxor1d", ordered, mask, size, fill_value)[0]
