"""Writing and adding up by index, with PyTorch's names, and sums, products and extremes of segments, with JAX's.

None of them changes its operand. Indices are int64; negative ones count from the end, others out of range raise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..conversion import to_node
from ..dtypes import bool_, int64
from ..errors import ConfigError, DTypeError, IndexOutOfRangeError, PlaceholderError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import broadcast, cast, full, normal_axis, permute, reject, reshape, size_of
from ..tensor import Tensor, evaluate_node, placeholder_below
from .data_types import finfo, iinfo
from .elementwise import where
from .scattering import add_rows, along, extreme_rows, row_products, set_rows, touched_rows
from .searching import check_range, first_true, take


def _index(name: str, index: Any) -> Node:
    node = to_node(index, name)
    if node.dtype.kind not in "iu":
        reject(name, "indices are integers", (node,), "convert with .astype(chainrule.int64)", DTypeError)
    return cast(node, int64)


def _from_front(name: str, node: Node, index: Node, axis: int) -> Node:
    """`index`, checked, with negative numbers counted from the end."""
    extent = node.shape[axis]
    check_range(name, node, index, axis)
    index = emit("check_index", index, attributes=(extent, f"axis {axis}"))
    negative = emit("lt", index, full(0, index.shape, int64))
    return emit("where", negative, emit("add", index, full(extent, index.shape, int64)), index)


def index_select(x: Any, /, dim: int, index: Any) -> Tensor:
    """The slices of `x` at the vector `index` along `dim`: `take` under PyTorch's name."""
    return take(x, index, axis=dim)


def _rows(
    name: str, x: Any, dim: int, index: Any, source: Any, operation: Callable[[Node, Node, Node], Node]
) -> Tensor:
    """`operation` on the slices of `x` along `dim`, brought to the front."""
    node, places = to_node(x, name), _index(name, index)
    axis = normal_axis(name, dim, len(node.shape), node)
    if len(places.shape) > 1:
        reject(name, "the index is a vector", (node, places))
    places = reshape(places, (size_of(places.shape),))
    count = places.shape[0]
    expected = (*node.shape[:axis], count, *node.shape[axis + 1 :])
    if isinstance(source, (bool, int, float, complex)):
        updates = full(source, expected, node.dtype, name)
    else:
        updates = cast(to_node(source, name), node.dtype)
        if updates.shape != expected:
            if size_of(updates.shape) != 1:
                problem = f"a source of shape {updates.shape} should have {expected}"
                reject(name, problem, (node, places, updates))
            updates = broadcast(reshape(updates, ()), expected)
    order = (axis, *(a for a in range(len(node.shape)) if a != axis))
    back = tuple(order.index(a) for a in range(len(order)))
    places = _from_front(name, node, places, axis)
    return Tensor(permute(operation(permute(node, order), places, permute(updates, order)), back))


def index_add(x: Any, /, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """`x` with ``alpha * source`` added to its slices at the vector `index` along `dim`."""
    if alpha != 1:
        source = source * alpha if isinstance(source, (int, float)) else Tensor(to_node(source)) * alpha
    return _rows("index_add", x, dim, index, source, add_rows)


def index_copy(x: Any, /, dim: int, index: Any, source: Any) -> Tensor:
    """`x` with its slices at the vector `index` along `dim` replaced by those of `source`; of equal ones the last."""
    return _rows("index_copy", x, dim, index, source, set_rows)


def index_fill(x: Any, /, dim: int, index: Any, value: Any) -> Tensor:
    """`x` with `value` in its slices at the vector `index` along `dim`."""
    return _rows("index_fill", x, dim, index, value, set_rows)


def masked_fill(x: Any, /, mask: Any, value: Any) -> Tensor:
    """`value` (one element) where the bool `mask`, which broadcasts, holds, else `x`."""
    node = to_node(x, "masked_fill")
    if isinstance(value, (bool, int, float, complex)):
        fill = full(value, (), node.dtype, "masked_fill")
    else:
        fill = cast(to_node(value, "masked_fill"), node.dtype)
        if size_of(fill.shape) != 1:
            reject("masked_fill", "the value has one element", (node, fill))
    return where(mask, Tensor(reshape(fill, ())), Tensor(node))


def masked_select(x: Any, /, mask: Any, *, size: int | None = None, fill_value: Any = 0) -> Tensor:
    """The elements of `x` where `mask` holds, as a vector; both broadcast.

    With `size` the result has that many elements, so that it works in compiled and batched functions: the first ones if
    there are more, `fill_value` after them if there are fewer.
    Raises: PlaceholderError for a placeholder without `size`.
    """
    node, chosen = to_node(x, "masked_select"), to_node(mask, "masked_select")
    if chosen.dtype is not bool_:
        reject("masked_select", "the mask is not bool", (node, chosen), "compare it, as in x != 0", DTypeError)
    value, held = _spread("masked_select", node, chosen)
    fill_value = bool(fill_value) if node.dtype is bool_ else fill_value
    if size is None:
        if held.value is None and placeholder_below(held) is not None:
            problem = "the size of the result depends on values, and the mask is a placeholder"
            help = "say how many elements there are at most with size=, or use where"
            reject("masked_select", problem, (node, chosen), help, PlaceholderError)
        count = int(evaluate_node(held, "masked_select").sum())
    else:
        count = size
    if not held.shape[0]:
        return Tensor(full(fill_value, (count,), node.dtype))
    places, valid = first_true(held, count)
    found = emit("take", value, places, attributes=(0,))
    if size is None:
        return Tensor(found)
    return Tensor(emit("where", valid, found, full(fill_value, (count,), node.dtype, "masked_select")))


def _spread(name: str, node: Node, mask: Node) -> tuple[Node, Node]:
    """Both broadcast to one shape and flattened."""
    zero = full(False if node.dtype is bool_ else 0, (), node.dtype)
    shape = where(Tensor(mask), Tensor(node), Tensor(zero)).shape
    count = size_of(shape)
    return reshape(broadcast(node, shape), (count,)), reshape(broadcast(mask, shape), (count,))


def extract(condition: Any, x: Any, /, *, size: int | None = None, fill_value: Any = 0) -> Tensor:
    """The elements of the flattened `x` where `condition` is not 0. `size`, `fill_value`: see `masked_select`."""
    mask = to_node(condition, "extract")
    mask = mask if mask.dtype is bool_ else emit("ne", mask, full(0, mask.shape, mask.dtype))
    node = to_node(x, "extract")
    flat = [Tensor(reshape(n, (size_of(n.shape),))) for n in (node, mask)]
    return masked_select(*flat, size=size, fill_value=fill_value)


def compress(condition: Any, x: Any, /, axis: int | None = None, *, size: int | None = None) -> Tensor:
    """The slices of `x` along `axis` (elements of the flattened `x` if None) where the vector `condition` is not 0.

    With `size`: that many slices, for compiled functions; zeros follow if there are fewer.
    """
    node, mask = to_node(x, "compress"), to_node(condition, "compress")
    if len(mask.shape) != 1:
        reject("compress", "the condition is a vector", (node, mask))
    mask = mask if mask.dtype is bool_ else emit("ne", mask, full(0, mask.shape, mask.dtype))
    if axis is None:
        node, axis = reshape(node, (size_of(node.shape),)), 0
    axis = normal_axis("compress", axis, len(node.shape), node)
    if mask.shape[0] > node.shape[axis]:
        reject("compress", f"{mask.shape[0]} conditions for {node.shape[axis]} elements of axis {axis}", (node, mask),
               "", IndexOutOfRangeError)  # fmt: skip
    if size is None and mask.value is None and placeholder_below(mask) is not None:
        problem = "the size of the result depends on values, and the condition is a placeholder"
        reject("compress", problem, (node, mask), "say how many there are at most with size=", PlaceholderError)
    count = int(evaluate_node(mask, "compress").sum()) if size is None else size
    places, valid = first_true(mask, count)
    found = emit("take", node, places, attributes=(axis,))
    if size is None:
        return Tensor(found)
    held = emit("broadcast", valid, attributes=(found.shape, (axis,)))
    zero = full(False if found.dtype is bool_ else 0, found.shape, found.dtype)
    return Tensor(emit("where", held, found, zero))


def _along(name: str, x: Any, dim: int, index: Any, source: Any) -> tuple[Node, Node, Node]:
    """The operand and places in it, flattened, and an update for each (PyTorch's scatter)."""
    node, places = to_node(x, name), _index(name, index)
    axis = normal_axis(name, dim, len(node.shape), node)
    if isinstance(source, (bool, int, float, complex)):
        updates = full(source, places.shape, node.dtype, name)
    else:
        updates = to_node(source, name)
        if updates.dtype is not node.dtype:
            problem = f"x is {node.dtype.name}, src is {updates.dtype.name}"
            help = f"convert it with src.astype(chainrule.{node.dtype.name})"
            reject(name, problem, (node, places, updates), help, DTypeError)
    rank = len(node.shape)
    if len(places.shape) != rank or len(updates.shape) != rank:
        problem = f"x has {rank} axes, the index {len(places.shape)} and src {len(updates.shape)}"
        reject(name, problem, (node, places, updates))
    for a in range(rank):
        for what, other in (("src", updates), ("x", node)):
            if places.shape[a] > other.shape[a] and (what == "src" or a != axis):
                problem = f"the index has {places.shape[a]} elements along axis {a}, {what} has {other.shape[a]}"
                reject(name, problem, (node, places, updates))
    if updates.shape != places.shape:
        updates = emit("slice", updates, attributes=((0,) * rank, places.shape, (1,) * rank))
    places = along(_from_front(name, node, places, axis), axis, node.shape)
    return node, places, reshape(updates, places.shape)


def _placed(node: Node, flat: Node) -> Tensor:
    return Tensor(reshape(flat, node.shape))


def _flat(node: Node) -> Node:
    return reshape(node, (size_of(node.shape),))


def scatter(x: Any, /, dim: int, index: Any, src: Any, *, reduce: str | None = None) -> Tensor:
    """`x` with elements of `src` at ``index`` along `dim`: out[index[i, j], j] = src[i, j] for dim 0 (PyTorch's).

    Args: index: as many axes as `x`, not larger than `src`, nor beside `dim` than `x`. src: a tensor or a number.
        reduce: None, "add" or "multiply".
    Raises: ShapeError, DTypeError, IndexOutOfRangeError; ConfigError for another `reduce`.
    Numerics: of equal places the last one counts.
    """
    if reduce not in (None, "add", "multiply"):
        raise ConfigError(message("scatter", f"reduce is None, 'add' or 'multiply', not {reduce!r}", ()))
    node, places, updates = _along("scatter", x, dim, index, src)
    flat = _flat(node)
    if reduce == "add":
        return _placed(node, add_rows(flat, places, updates))
    if reduce == "multiply":
        return _placed(node, emit("mul", flat, row_products(flat, places, updates)))
    return _placed(node, set_rows(flat, places, updates))


def put_along_axis(x: Any, indices: Any, values: Any, /, axis: int | None) -> Tensor:
    """`x` with `values` at `indices` along `axis`, which broadcast: what `take_along_axis` reads is written. NumPy's
    function writes into its argument; this one gives the result."""
    node = to_node(x, "put_along_axis")
    places = _index("put_along_axis", indices)
    if axis is None:
        if len(places.shape) != 1:
            reject("put_along_axis", "the indices into a flattened operand are a vector", (node, places))
        flat = put_along_axis(Tensor(_flat(node)), Tensor(places), values, 0)
        return _placed(node, to_node(flat))
    axis = normal_axis("put_along_axis", axis, len(node.shape), node)
    if len(places.shape) != len(node.shape):
        reject("put_along_axis", f"x has {len(node.shape)} axes, the index {len(places.shape)}", (node, places))
    shape = tuple(places.shape[a] if a == axis else e for a, e in enumerate(node.shape))
    for a, (m, n) in enumerate(zip(places.shape, shape)):
        if m not in (1, n):
            reject("put_along_axis", f"axis {a} has {m} and {n} elements", (node, places))
    if not isinstance(values, (bool, int, float, complex)):
        part = cast(to_node(values, "put_along_axis"), node.dtype)
        offset = len(shape) - len(part.shape)
        if offset < 0 or any(m not in (1, n) for m, n in zip(part.shape, shape[offset:])):
            reject("put_along_axis", f"values of shape {part.shape} do not broadcast to {shape}", (node, places, part))
        values = Tensor(broadcast(part, shape))
    return scatter(Tensor(node), axis, Tensor(broadcast(places, shape)), values)


def scatter_reduce(x: Any, /, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Tensor:
    """`x` with, at each place that ``index`` along `dim` names, the reduction of the elements of `src` for it.

    Args: reduce: "sum", "prod", "mean", "amax" or "amin". include_self: whether the element of `x` takes part.
        The others: see `scatter`.
    Numerics: the derivative of equal extremes is shared equally; that of products is right where elements are 0. The
        mean of whole numbers is rounded down.
    """
    kinds = ("sum", "prod", "mean", "amax", "amin")
    if reduce not in kinds:
        raise ConfigError(message("scatter_reduce", f"reduce is one of {', '.join(kinds)}, not {reduce!r}", ()))
    node, places, updates = _along("scatter_reduce", x, dim, index, src)
    flat = _flat(node)
    count = touched_rows(flat.shape[0], places)
    touched = emit("gt", count, full(0, count.shape, int64))
    if reduce in ("amax", "amin"):
        if not include_self:
            neutral = full(_worst(flat, reduce), flat.shape, flat.dtype)
            flat = emit("where", touched, neutral, flat)
        return _placed(node, extreme_rows(flat, places, updates, reduce[1:]))
    if not include_self:
        flat = emit("where", touched, full(int(reduce == "prod"), flat.shape, flat.dtype), flat)
    if reduce == "prod":
        return _placed(node, emit("mul", flat, row_products(flat, places, updates)))
    total = add_rows(flat, places, updates)
    if reduce == "mean":
        parts = emit("add", count, full(int(include_self), count.shape, int64))
        parts = cast(emit("maximum", parts, full(1, parts.shape, int64)), total.dtype)
        total = emit("div" if total.dtype.kind in "fc" else "floor_divide", total, parts)
    return _placed(node, total)


def _worst(node: Node, kind: str) -> Any:
    """What every other value of the dtype is at least as great as ("amax") or as small as."""
    if node.dtype.kind == "f":
        return float("-inf") if kind.endswith("max") else float("inf")
    if node.dtype is bool_:
        return kind.endswith("min")
    limits: Any = iinfo(node.dtype) if node.dtype.kind in "iu" else finfo(node.dtype)
    return limits.min if kind.endswith("max") else limits.max


def _segment(name: str, start: Callable[[Node], Any], operation: Callable[[Node, Node, Node], Node], doc: str):
    def function(
        data: Any,
        segment_ids: Any,
        /,
        num_segments: int | None = None,
        indices_are_sorted: bool = False,
        unique_indices: bool = False,
    ) -> Tensor:
        node, ids = to_node(data, name), _index(name, segment_ids)
        if node.shape[: len(ids.shape)] != ids.shape or not ids.shape:
            problem = f"segment_ids {ids.shape} are not one for each slice of data {node.shape}"
            reject(name, problem, (node, ids))
        if num_segments is None:
            if ids.value is None and placeholder_below(ids) is not None:
                problem = "the number of segments depends on values, and the segments are a placeholder"
                reject(name, problem, (node, ids), "say it with num_segments=", PlaceholderError)
            value = evaluate_node(ids, name)
            num_segments = int(value.max()) + 1 if value.size else 0
        count, rest = size_of(ids.shape), node.shape[len(ids.shape) :]
        places, rows = reshape(ids, (count,)), reshape(node, (count, *rest))
        outside = emit("logical_or", emit("lt", places, full(0, (count,), int64)),
                       emit("ge", places, full(num_segments, (count,), int64)))  # fmt: skip
        places = emit("where", outside, full(num_segments, (count,), int64), places)
        base = full(start(node), (num_segments + 1, *rest), node.dtype)
        result = operation(base, places, rows)
        ones = (1,) * len(result.shape)
        return Tensor(emit("slice", result, attributes=((0,) * len(ones), (num_segments, *rest), ones)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


_DOC = """The {what} of the slices of `data` in each segment; {empty} for a segment without any.

    Args:
        data: (n, ...). segment_ids: (n,) whole numbers; slices with numbers outside [0, num_segments) are left out.
        num_segments: how many segments, needed in compiled and batched functions; by default one above the greatest.
        indices_are_sorted, unique_indices: accepted; they change nothing.
    Returns: (num_segments, ...), the dtype of `data`.
    Raises: PlaceholderError for segments that are a placeholder, without `num_segments`.
    Example:
        >>> import chainrule as cr
        >>> cr.{name}(cr.tensor([1.0, 2.0, 5.0]), cr.tensor([0, 0, 1]))
        tensor([{first}, 5.])
    """
segment_sum = _segment(
    "segment_sum", lambda x: 0, add_rows, _DOC.format(what="sum", empty="0", name="segment_sum", first="3.")
)
segment_prod = _segment(
    "segment_prod", lambda x: 1, row_products, _DOC.format(what="product", empty="1", name="segment_prod", first="2.")
)
segment_max = _segment(
    "segment_max",
    lambda x: _worst(x, "max"),
    lambda x, p, u: extreme_rows(x, p, u, "max"),
    _DOC.format(what="greatest", empty="-inf (the least whole number)", name="segment_max", first="2."),
)
segment_min = _segment(
    "segment_min",
    lambda x: _worst(x, "min"),
    lambda x, p, u: extreme_rows(x, p, u, "min"),
    _DOC.format(what="least", empty="inf (the greatest whole number)", name="segment_min", first="1."),
)
