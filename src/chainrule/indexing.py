"""``x[key]``: NumPy's rules, recorded as slices and takes; `assignment` has ``x[key] = value``.

A result never shares memory with `x`. Boolean selection has a shape that depends on values, so its mask must have
them; in compiled and batched functions use `where`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .conversion import to_array
from .dtypes import bool_, int64
from .errors import ConfigError, DTypeError, IndexOutOfRangeError, PlaceholderError
from .graph.node import Node
from .ops.base import emit
from .recording import broadcast, broadcast_shapes, cast, constant, full, permute, reject, reshape, size_of, slice_node
from .tensor import Tensor, evaluate_node, node_of, placeholder_below

_ALL = slice(None)


def expand_key(key: Any, node: Node) -> list[Any]:
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
        elif isinstance(part, slice):
            try:
                part.indices(0)
            except (TypeError, ValueError) as error:
                kind = DTypeError if isinstance(error, TypeError) else ConfigError
                reject("index", str(error), (node,), "", kind)
        elif part is not None:
            try:
                part = part.__index__()
            except (AttributeError, TypeError):
                problem = f"{part!r} is no index; there are integers, slices, None, ..., integer and bool tensors"
                reject("index", problem, (node,), "", DTypeError)
        if isinstance(part, Node):
            if part.dtype.kind in "fc":
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
    # an ellipsis for no axis stays, since it stands between the index arrays beside it
    filling: list[Any] = [_ALL] * (rank - used) or ([Ellipsis] if ellipsis is not None else [])
    return parts[:at] + filling + parts[at:]


def checked(index: int, extent: int, axis: int, node: Node) -> int:
    """`index` counted from the front; IndexOutOfRangeError beyond `extent`."""
    if not -extent <= index < extent:
        problem = f"index {index} is out of range for axis {axis} with {extent} elements"
        reject("index", problem, (node,), "", IndexOutOfRangeError)
    return index + extent if index < 0 else index


def _mask_positions(mask: Node, node: Node, axis: int) -> list[Node]:
    """The index vectors, one for each of the mask's axes, of its true elements."""
    for offset, extent in enumerate(mask.shape):
        if extent not in (0, node.shape[axis + offset]):  # as in the standard, a mask may have no elements
            problem = f"axis {offset} of the mask has {extent} elements, axis {axis + offset} has "
            reject("index", f"{problem}{node.shape[axis + offset]}", (node, mask), "", IndexOutOfRangeError)
    if mask.value is None and placeholder_below(mask) is not None:
        problem = "selection by a mask has a shape that depends on values, and the mask is a placeholder"
        reject("index", problem, (node, mask), "use where(mask, x, 0), or select outside", PlaceholderError)
    return [constant(i.astype(np.int64)) for i in np.nonzero(evaluate_node(mask, "index"))]


def getitem(x: Tensor, key: Any, /) -> Tensor:
    """The part of `x` that `key` names."""
    node = node_of(x)
    if type(key) is int and node.shape:
        extent = node.shape[0]
        index = checked(key, extent, 0, node)
        rest = node.shape[1:]
        count = len(rest)
        part = slice_node(node, (index,) + (0,) * count, (index + 1, *rest), (1,) * (count + 1), (1, *rest))
        return Tensor(reshape(part, rest))
    return Tensor(select(node, expand_key(key, node)))


def select(node: Node, parts: list[Any]) -> Node:
    """The part of `node` that `parts`, as `expand_key` gives them, name."""
    starts, stops, steps = [], [], []
    flipped = []  # axes of the sliced operand that are reversed
    shape: list[int] = []  # after slicing: without the axes that integers remove, with those that None adds
    advanced: list[tuple[int, Node]] = []  # (axis in `shape`, index)
    order: list[str] = []  # the kinds of parts, to find where the axes of index tensors go
    axis = 0
    for part in parts:
        if part is Ellipsis:
            order.append("e")
            continue
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
                start = checked(index, extent, axis, node)
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
    together = not set(kinds.strip("se")) & {"s", "e"}
    first = min(kinds.find(k) for k in "ia" if k in kinds)
    place = kinds[:first].count("s")
    if len(advanced) == 1:
        axis, index = advanced[0]
        result = emit("take", node, whole(index), attributes=(axis,))
        count = len(index.shape)
        if together:
            return result
        moved = tuple(range(axis, axis + count))
        return permute(result, moved + tuple(i for i in range(len(result.shape)) if i not in moved))
    axes = [axis for axis, _ in advanced]
    indices = [whole(index) for _, index in advanced]
    common = broadcast_shapes("index", indices)
    linear = _linear_constant(node, advanced, common)
    for axis, index in advanced if linear is None else ():
        extent = node.shape[axis]
        index = counted_from_front(broadcast(whole(index), common), extent, axis)
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
            checked(worst, extent, axis, node)
        linear = linear * extent + np.where(value < 0, value + extent, value)
    return constant(np.asarray(linear))  # arithmetic on arrays without axes gives NumPy scalars


def whole(index: Node) -> Node:
    """`index` as int64."""
    return cast(index, int64)


def counted_from_front(index: Node, extent: int, axis: int) -> Node:
    """`index` with negative numbers counted from the end, checked against `extent`."""
    index = emit("check_index", index, attributes=(extent, f"axis {axis}"))
    size = full(extent, index.shape, int64)
    negative = emit("lt", index, full(0, index.shape, int64))
    return emit("where", negative, emit("add", index, size), index)
