"""``x[key] = value``: NumPy's rules, recorded as a new value that the handle then names.

A part named by integers and slices is padded to the whole and selected; a mask selects by itself where the value's
shape does not depend on how many elements it holds; index arrays are turned into the place that each element's new
value comes from. All of it is differentiable in both the old value and the new part.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .conversion import to_node
from .dtypes import bool_, int64
from .errors import DTypeError, IndexOutOfRangeError, PlaceholderError
from .graph.node import Node
from .indexing import checked, counted_from_front, expand_key, select, whole
from .operators import replace
from .ops.base import emit
from .recording import broadcast, cast, constant, full, reject, reshape, size_of
from .tensor import Tensor, evaluate_node, node_of, placeholder_below, state

_ALL = slice(None)
#: elements up to which slices are turned into places, so that another slice meets the same program
SMALL = 1 << 14
_KINDS = "biufc"


def setitem(x: Tensor, key: Any, value: Any, /) -> None:
    """Make the handle `x` name a copy of its value in which the part that `key` names is `value`, broadcast to it."""
    node = node_of(x)
    parts = [_number(part) for part in expand_key(key, node)]
    replace(x, Tensor(assigned(node, parts, value_node(value, node))), "setitem")


def _number(part: Any) -> Any:
    """An index without axes as the number that it is, if it has a value."""
    if isinstance(part, Node) and not part.shape and part.dtype is not bool_ and not _is_pending(part):
        return int(evaluate_node(part, "setitem"))
    return part


def _is_all(part: Any) -> bool:
    """Whether `part` is a full slice, or an ellipsis that stands for no axis."""
    return part is Ellipsis or (isinstance(part, slice) and part == _ALL)


def _is_pending(node: Node) -> bool:
    """Whether the value of `node` depends on a placeholder."""
    return node.value is None and placeholder_below(node) is not None


def value_node(value: Any, node: Node) -> Node:
    """The new part in the dtype of `node`: numbers are weak, tensors of a wider kind are refused."""
    if isinstance(value, (bool, int, float, complex)):
        if isinstance(value, bool) and node.dtype.kind != "b":
            value = int(value)
        return full(value, (), node.dtype, "setitem")
    update = to_node(value, "setitem")
    if _KINDS.index(update.dtype.kind) > _KINDS.index(node.dtype.kind):
        reject("setitem", "the value's dtype does not fit", (node, update), "convert with .astype(...)", DTypeError)
    return cast(update, node.dtype)


def assigned(node: Node, parts: list[Any], update: Node) -> Node:
    """`node` with `update` at the part that `parts`, as `expand_key` gives them, name."""
    indices = [part for part in parts if isinstance(part, Node)]
    if not indices and (state.trace is not None or size_of(node.shape) > SMALL or all(map(_is_all, parts))):
        return _part_replaced(node, parts, update)
    if len(indices) == 1:
        plain = [part for part in parts if part is not Ellipsis]
        beside = [part for part in plain if part is not indices[0]]
        if all(map(_is_all, beside)):
            first = next(position for position, part in enumerate(plain) if part is indices[0])
            if indices[0].dtype is bool_:
                result = _masked(node, indices[0], first, update)
                if result is not None:
                    return result
            elif not indices[0].shape:
                return _one_place(node, indices[0], first, update)
    pending = [part for part in indices if _is_pending(part)]
    if any(part.dtype is bool_ for part in pending):
        problem = "the shape of the part depends on the values of a mask that is a placeholder"
        reject("setitem", problem, (node, *pending), "use where(mask, value, x)", PlaceholderError)
    if pending:
        return _at_placeholders(node, parts, update)
    _check_numbers(node, parts)
    concrete = tuple(evaluate_node(part, "setitem") if isinstance(part, Node) else part for part in parts)
    try:
        places = np.arange(size_of(node.shape), dtype=np.int64).reshape(node.shape)[concrete]
    except IndexError as error:
        reject("setitem", str(error), (node,), "", IndexOutOfRangeError)
    return _overwritten(node, places.reshape(-1), update, _fitted(update, places.shape, node))


def _check_numbers(node: Node, parts: list[Any]) -> None:
    """Refuse whole numbers that are out of range, with our words instead of NumPy's."""
    axis = 0
    for part in parts:
        if isinstance(part, int):
            checked(part, node.shape[axis], axis, node)
        if part is not None and part is not Ellipsis:
            axis += len(part.shape) if isinstance(part, Node) and part.dtype is bool_ else 1


def _fitted(update: Node, shape: tuple[int, ...], node: Node) -> Node:
    """`update` broadcast to the part's shape; leading axes of one element are dropped if there are too many."""
    given = update.shape
    extra = len(given) - len(shape)
    if extra > 0 and all(extent == 1 for extent in given[:extra]):
        update = reshape(update, given[extra:])
    if len(update.shape) > len(shape) or any(a not in (1, b) for a, b in zip(update.shape[::-1], shape[::-1])):
        reject("setitem", f"a value of shape {given} does not fit the part of shape {shape}", (node, update))
    return broadcast(update, shape)


def _part_replaced(node: Node, parts: list[Any], update: Node) -> Node:
    """Assignment to the part that integers, slices and new axes name."""
    low, high, interior, flipped = [], [], [], []
    extents: list[int] = []  # of the part, every axis of `node` kept
    shape: list[int] = []  # of the part as the user sees it
    for part in parts:
        if part is Ellipsis:
            continue
        if part is None:
            shape.append(1)
            continue
        axis = len(extents)
        extent = node.shape[axis]
        if isinstance(part, slice):
            start, stop, step = part.indices(extent)
            count = len(range(start, stop, step))
            if step < 0:
                start, step = start + (count - 1) * step, -step
                flipped.append(axis)
            shape.append(count)
        else:
            start, count, step = checked(part, extent, axis, node), 1, 1
        extents.append(count)
        low.append(start)
        high.append(extent - 1 - start - (count - 1) * step)
        interior.append(step - 1)
    update = _fitted(update, tuple(shape), node)
    if 0 in extents:
        return node
    update = reshape(update, tuple(extents))
    if flipped:
        update = emit("flip", update, attributes=(tuple(flipped),))
    if update.shape == node.shape:
        return update
    widths = (tuple(low), tuple(high), tuple(interior))
    inside = emit("pad", full(True, update.shape, bool_), full(False, (), bool_), attributes=widths)
    zero = full(False if node.dtype is bool_ else 0, (), node.dtype)
    return emit("where", inside, emit("pad", update, zero, attributes=widths), node)


def _masked(node: Node, mask: Node, first: int, update: Node) -> Node | None:
    """`update` where the mask, over axes from `first` on, holds; None if it has an axis for the mask's elements."""
    for offset, extent in enumerate(mask.shape):
        if extent not in (0, node.shape[first + offset]):
            problem = f"axis {offset} of the mask has {extent} elements, axis {first + offset} has "
            reject("setitem", f"{problem}{node.shape[first + offset]}", (node, mask), "", IndexOutOfRangeError)
    if mask.shape != node.shape[first : first + len(mask.shape)]:
        return None  # a mask without elements
    count = len(mask.shape)
    rank = len(node.shape) - count + 1  # of the part: the mask's axes become one
    shape = update.shape
    if len(shape) > rank:
        if any(extent != 1 for extent in shape[: len(shape) - rank]):
            return None
        shape = shape[len(shape) - rank :]
    shape = (1,) * (rank - len(shape)) + shape
    spread = (*shape[:first], *(1,) * count, *shape[first + 1 :])
    if shape[first] != 1 or any(a not in (1, b) for a, b in zip(spread, node.shape)):
        return None
    axes = tuple(range(first, first + count))
    chosen = mask if mask.shape == node.shape else emit("broadcast", mask, attributes=(node.shape, axes))
    return emit("where", chosen, broadcast(reshape(update, spread), node.shape), node)


def _one_place(node: Node, index: Node, axis: int, update: Node) -> Node:
    """Assignment at one integer placeholder, with full slices beside it: a selection by the axis's own indices."""
    index = counted_from_front(whole(index), node.shape[axis], axis)
    lines = emit("iota", attributes=(node.shape, axis, int64))
    chosen = emit("eq", lines, emit("broadcast", index, attributes=(node.shape, ())))
    part = node.shape[:axis] + node.shape[axis + 1 :]
    axes = tuple(i for i in range(len(node.shape)) if i != axis)
    spread = emit("broadcast", _fitted(update, part, node), attributes=(node.shape, axes))
    return emit("where", chosen, spread, node)


def _at_placeholders(node: Node, parts: list[Any], update: Node) -> Node:
    """Assignment at integers that have no values yet; of several new values for one place the last one counts."""
    size = size_of(node.shape)
    places = select(reshape(emit("iota", attributes=((size,), 0, int64)), node.shape), parts)
    update = _fitted(update, places.shape, node)
    count = size_of(places.shape)
    if not count:
        return node
    nothing, order = full(-1, (size,), int64), emit("iota", attributes=((count,), 0, int64))
    source = emit("scatter_extreme", nothing, reshape(places, (count,)), order, attributes=(0, "max"))
    source = reshape(source, node.shape)
    zeros = full(0, node.shape, int64)
    taken = emit("take", reshape(update, (count,)), emit("maximum", source, zeros), attributes=(0,))
    return emit("where", emit("ge", source, zeros), taken, node)


def _overwritten(node: Node, places: np.ndarray, update: Node, spread: Node) -> Node:
    """`node` with its elements at the flat `places` replaced by `update`, which is `spread` over them.

    At one place the last one counts.
    """
    if not places.size:
        return node
    size = size_of(node.shape)
    if size_of(update.shape) == 1:
        chosen = np.zeros(size, np.bool_)
        chosen[places] = True
        mask = constant(chosen.reshape(node.shape))
        return emit("where", mask, broadcast(reshape(update, ()), node.shape), node)
    source = np.full(size, -1, np.int64)
    source[places] = np.arange(places.size)  # NumPy writes in order, so that the last stays
    mask = constant((source >= 0).reshape(node.shape))
    flat = reshape(spread, (places.size,))
    taken = emit("take", flat, constant(np.maximum(source, 0).reshape(node.shape)), attributes=(0,))
    return emit("where", mask, taken, node)
