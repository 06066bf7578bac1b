"""``x[key]`` and ``x[key] = value``: NumPy's rules, recorded as slices, takes and selections.

A result never shares memory with `x`, and assignment makes the handle name a new value. Boolean selection has a shape
that depends on values, so its mask must have them; in compiled and batched functions use `where`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .conversion import to_array, to_node
from .dtypes import bool_, int64
from .errors import DTypeError, IndexOutOfRangeError, PlaceholderError
from .graph.node import Node
from .operators import replace
from .ops.base import emit
from .recording import broadcast, broadcast_shapes, cast, constant, full, permute, reject, reshape, size_of, slice_node
from .tensor import Tensor, evaluate_node, node_of, placeholder_below

_ALL = slice(None)


def _expand_key(key: Any, node: Node) -> list[Any]:
    """The parts of `key`, lists as nodes of indices and the ellipsis as full slices: one part for each axis or mask."""
    parts: list[Any] = []
    used, ellipsis = 0, None
    for part in key if isinstance(key, tuple) else (key,):
        if part is Ellipsis:
            if ellipsis is not None:
                reject("index", "an index has one ellipsis at most", (node,), "", IndexOutOfRangeError)
            ellipsis = len(parts)
            continue
        if isinstance(part, (bool, np.bool_)):
            part = constant(np.array(bool(part)))
        elif isinstance(part, Tensor):
            part = node_of(part)
        elif isinstance(part, (list, np.ndarray)):
            array = to_array(part, "index")
            part = constant(array.astype(np.int64) if array.size == 0 and isinstance(part, list) else array)
        elif part is not None and not isinstance(part, slice):
            try:
                part = part.__index__()
            except (AttributeError, TypeError):
                problem = f"{part!r} is no index; there are integers, slices, None, ..., integer and bool tensors"
                reject("index", problem, (node,), "", DTypeError)
        if isinstance(part, Node):
            if part.dtype.kind == "f":
                problem = f"indices are integers or bool, not {part.dtype.name}"
                reject("index", problem, (node,), "convert with .astype(chainrule.int64)", DTypeError)
            used += len(part.shape) if part.dtype is bool_ else 1
        elif part is not None:
            used += 1
        parts.append(part)
    rank = len(node.shape)
    if used > rank:
        reject("index", f"{used} indices for {rank} axes", (node,), "", IndexOutOfRangeError)
    at = len(parts) if ellipsis is None else ellipsis
    return parts[:at] + [_ALL] * (rank - used) + parts[at:]


def _checked(index: int, extent: int, axis: int, node: Node) -> int:
    if not -extent <= index < extent:
        problem = f"index {index} is out of range for axis {axis} with {extent} elements"
        reject("index", problem, (node,), "", IndexOutOfRangeError)
    return index + extent if index < 0 else index


def _mask_positions(mask: Node, node: Node, axis: int) -> list[Node]:
    """The index vectors, one for each of the mask's axes, of its true elements."""
    for offset, extent in enumerate(mask.shape):
        if extent != node.shape[axis + offset]:
            problem = f"axis {offset} of the mask has {extent} elements, axis {axis + offset} has "
            reject("index", f"{problem}{node.shape[axis + offset]}", (node, mask), "", IndexOutOfRangeError)
    if mask.value is None and placeholder_below(mask) is not None:
        problem = "selection by a mask has a shape that depends on values, and the mask is a placeholder"
        reject("index", problem, (node, mask), "use where(mask, x, 0), or select outside", PlaceholderError)
    return [constant(i.astype(np.int64)) for i in np.nonzero(evaluate_node(mask, "index"))]


def getitem(x: Tensor, key: Any) -> Tensor:
    """The part of `x` that `key` names."""
    node = node_of(x)
    if type(key) is int and node.shape:
        extent = node.shape[0]
        index = _checked(key, extent, 0, node)
        rest = node.shape[1:]
        count = len(rest)
        part = slice_node(node, (index,) + (0,) * count, (index + 1, *rest), (1,) * (count + 1), (1, *rest))
        return Tensor(reshape(part, rest))
    return Tensor(_select(node, _expand_key(key, node)))


def _select(node: Node, parts: list[Any]) -> Node:
    starts, stops, steps = [], [], []
    flipped = []  # axes of the sliced operand that are reversed
    shape: list[int] = []  # after slicing: without the axes that integers remove, with those that None adds
    advanced: list[tuple[int, Node]] = []  # (axis in `shape`, index)
    order: list[str] = []  # the kinds of parts, to find where the axes of index tensors go
    axis = 0
    for part in parts:
        if part is None:
            shape.append(1)
            order.append("s")
            continue
        if isinstance(part, Node) and part.dtype is bool_:
            if not part.shape:  # a bool without axes adds an axis of 0 or 1 elements
                shape.append(1)
                chosen = int(bool(evaluate_node(part, "index")))
                advanced.append((len(shape) - 1, constant(np.zeros(chosen, np.int64))))
                order.append("a")
                continue
            indices: list[Any] = _mask_positions(part, node, axis)
        else:
            indices = [part]
        for index in indices:
            extent = node.shape[axis]
            if isinstance(index, slice):
                start, stop, step = index.indices(extent)
                count = len(range(start, stop, step))
                if step < 0:
                    start, step = start + (count - 1) * step, -step
                    flipped.append(axis)
                stop = start + (count - 1) * step + 1 if count else start
                start, stop = (start, stop) if count else (0, 0)
                shape.append(count)
                order.append("s")
            elif isinstance(index, int):
                start = _checked(index, extent, axis, node)
                stop, step = start + 1, 1
                order.append("i")
            else:
                start, stop, step = 0, extent, 1
                shape.append(extent)
                advanced.append((len(shape) - 1, index))
                order.append("a")
            starts.append(start)
            stops.append(stop)
            steps.append(step)
            axis += 1
    if any(starts) or tuple(stops) != node.shape or any(s != 1 for s in steps):
        extents = tuple([-(-(b - a) // c) for a, b, c in zip(starts, stops, steps)])
        node = slice_node(node, tuple(starts), tuple(stops), tuple(steps), extents)
    if flipped:
        node = emit("flip", node, attributes=(tuple(flipped),))
    node = reshape(node, tuple(shape))
    return _take(node, advanced, order) if advanced else node


def _take(node: Node, advanced: list[tuple[int, Node]], order: list[str]) -> Node:
    """Elements at the index tensors of several axes, which broadcast with one another.

    Their axes take the place of the indexed ones if these stand together (integers count as indices), else the front.
    """
    kinds = "".join(order)
    together = "s" not in kinds.strip("s")
    first = min(kinds.find(k) for k in "ia" if k in kinds)
    place = kinds[:first].count("s")
    if len(advanced) == 1:
        axis, index = advanced[0]
        result = emit("take", node, _whole(index), attributes=(axis,))
        count = len(index.shape)
        if together:
            return result
        moved = tuple(range(axis, axis + count))
        return permute(result, moved + tuple(i for i in range(len(result.shape)) if i not in moved))
    axes = [axis for axis, _ in advanced]
    indices = [_whole(index) for _, index in advanced]
    common = broadcast_shapes("index", indices)
    linear = _linear_constant(node, advanced, common)
    for axis, index in advanced if linear is None else ():
        extent = node.shape[axis]
        index = _counted_from_front(broadcast(_whole(index), common), extent, axis)
        if linear is None:
            linear = index
        else:
            linear = emit("add", emit("mul", linear, full(extent, common, int64)), index)
    assert linear is not None
    rest = [i for i in range(len(node.shape)) if i not in axes]
    front = permute(node, tuple(axes + rest))
    merged = reshape(front, (size_of(front.shape[: len(axes)]), *front.shape[len(axes) :]))
    result = emit("take", merged, linear, attributes=(0,))
    if not together or place == 0:
        return result
    count = len(common)
    where_to = list(range(count, count + place)) + list(range(count)) + list(range(count + place, len(result.shape)))
    return permute(result, tuple(where_to))


def _linear_constant(node: Node, advanced: list[tuple[int, Node]], common: tuple[int, ...]) -> Node | None:
    """The index into the merged axes, computed at once when all indices have values (as those of a mask have)."""
    if any(index.value is None for _, index in advanced):
        return None
    linear = np.zeros(common, np.int64)
    for axis, index in advanced:
        extent = node.shape[axis]
        value = np.asarray(index.value, np.int64)
        if value.size and not (-extent <= value.min() and value.max() < extent):
            worst = int(value.max() if value.max() >= extent else value.min())
            _checked(worst, extent, axis, node)
        linear = linear * extent + np.where(value < 0, value + extent, value)
    return constant(linear)


def _whole(index: Node) -> Node:
    return cast(index, int64)


def _counted_from_front(index: Node, extent: int, axis: int) -> Node:
    """`index` with negative numbers counted from the end, checked against `extent`."""
    index = emit("check_index", index, attributes=(extent, f"axis {axis}"))
    size = full(extent, index.shape, int64)
    negative = emit("lt", index, full(0, index.shape, int64))
    return emit("where", negative, emit("add", index, size), index)


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """Make the handle `x` name a copy of its value in which the part that `key` names is `value`, broadcast to it."""
    node = node_of(x)
    parts = _expand_key(key, node)
    masks = [p for p in parts if isinstance(p, Node)]
    if len(masks) == 1 and masks[0].dtype is bool_ and masks[0].shape:
        others = [p for p in parts if not isinstance(p, Node)]
        update = _value_node(value, node)
        if all(isinstance(p, slice) and p == _ALL for p in others) and size_of(update.shape) == 1:
            result = _masked(node, masks[0], parts, update)
            replace(x, Tensor(result), "setitem")
            return
    pending = [p for p in masks if p.value is None and placeholder_below(p) is not None]
    if pending:
        if len(masks) == 1 and not pending[0].shape and pending[0].dtype is not bool_:
            replace(x, Tensor(_one_place(node, parts, value)), "setitem")
            return
        problem = "assignment at index tensors that are placeholders"
        reject("setitem", problem, (node, *pending), "use where(mask, value, x)", PlaceholderError)
    concrete = tuple(evaluate_node(p, "setitem") if isinstance(p, Node) else p for p in parts)
    whole = all(isinstance(p, slice) and p == _ALL for p in concrete)
    try:
        if whole:
            places = np.empty(node.shape, np.bool_)  # only its shape counts
        else:
            places = np.arange(size_of(node.shape), dtype=np.int64).reshape(node.shape)[concrete]
    except IndexError as error:
        reject("setitem", str(error), (node,), "", IndexOutOfRangeError)
    update = _value_node(value, node)
    extra = len(update.shape) - places.ndim
    if extra > 0 and all(e == 1 for e in update.shape[:extra]):
        update = reshape(update, update.shape[extra:])
    if len(update.shape) > places.ndim or any(a not in (1, b) for a, b in zip(update.shape[::-1], places.shape[::-1])):
        reject("setitem", f"a value of shape {update.shape} does not fit the part of shape {places.shape}", (node,))
    update = broadcast(update, places.shape)
    if whole:
        replace(x, Tensor(update), "setitem")
        return
    replace(x, Tensor(_overwritten(node, places.reshape(-1), update)), "setitem")


def _value_node(value: Any, node: Node) -> Node:
    if isinstance(value, (bool, int, float)):
        if node.dtype is bool_ or (node.dtype.kind == "f" and isinstance(value, bool)):
            value = bool(value) if node.dtype is bool_ else float(value)
        return full(value, (), node.dtype, "setitem")
    update = to_node(value, "setitem")
    if node.dtype.kind != update.dtype.kind and "biuf".index(update.dtype.kind) > "biuf".index(node.dtype.kind):
        reject("setitem", "the value's dtype does not fit", (node, update), "convert with .astype(...)", DTypeError)
    return cast(update, node.dtype)


def _masked(node: Node, mask: Node, parts: list[Any], update: Node) -> Node:
    """`update` (one element) where the mask, which covers some neighbouring axes, holds."""
    first = next(i for i, p in enumerate(parts) if isinstance(p, Node))
    for offset, extent in enumerate(mask.shape):
        if extent != node.shape[first + offset]:
            problem = f"axis {offset} of the mask has {extent} elements, axis {first + offset} has "
            reject("setitem", f"{problem}{node.shape[first + offset]}", (node, mask), "", IndexOutOfRangeError)
    axes = tuple(range(first, first + len(mask.shape)))
    spread = mask if mask.shape == node.shape else emit("broadcast", mask, attributes=(node.shape, axes))
    return emit("where", spread, broadcast(reshape(update, ()), node.shape), node)


def _one_place(node: Node, parts: list[Any], value: Any) -> Node:
    """Assignment at one integer placeholder, with full slices beside it: a selection by the axis's own indices."""
    position = next(i for i, p in enumerate(parts) if isinstance(p, Node))
    if any(not (isinstance(p, slice) and p == _ALL) for i, p in enumerate(parts) if i != position):
        problem = "assignment at a placeholder index takes full slices beside it"
        reject("setitem", problem, (node,), "use where(mask, value, x)", PlaceholderError)
    index = _counted_from_front(_whole(parts[position]), node.shape[position], position)
    lines = emit("iota", attributes=(node.shape, position, int64))
    mask = emit("eq", lines, emit("broadcast", index, attributes=(node.shape, ())))
    update = _value_node(value, node)
    part = node.shape[:position] + node.shape[position + 1 :]
    if len(update.shape) > len(part) or any(a not in (1, b) for a, b in zip(update.shape[::-1], part[::-1])):
        reject("setitem", f"a value of shape {update.shape} does not fit the part of shape {part}", (node,))
    axes = tuple(i for i in range(len(node.shape)) if i != position)
    spread = emit("broadcast", broadcast(update, part), attributes=(node.shape, axes))
    return emit("where", mask, spread, node)


def _overwritten(node: Node, places: np.ndarray, update: Node) -> Node:
    """`node` with its elements at the flat `places` replaced by those of `update`; at one place the last one counts."""
    size = size_of(node.shape)
    source = np.full(size, -1, np.int64)
    source[places] = np.arange(places.size)  # NumPy writes in order, so that the last stays
    if not places.size:
        return node
    mask = constant((source >= 0).reshape(node.shape))
    if size_of(update.shape) and update.op.name == "full":
        return emit("where", mask, broadcast(full(update.op.key[1], (), node.dtype), node.shape), node)
    flat = reshape(update, (places.size,))
    taken = emit("take", flat, constant(np.maximum(source, 0).reshape(node.shape)), attributes=(0,))
    return emit("where", mask, taken, node)
