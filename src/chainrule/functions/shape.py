"""Functions that move elements: reshaping, permuting, broadcasting, joining, splitting, repeating."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import as_dtype
from ..errors import ConfigError, DTypeError, PlaceholderError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import (
    broadcast,
    cast,
    constant,
    full,
    normal_axes,
    normal_axis,
    permute,
    promoted,
    reject,
    shape_tuple,
    size_of,
)
from ..recording import broadcast_shapes as common_shape
from ..recording import reshape as reshape_node
from ..tensor import Tensor, evaluate_node, placeholder_below


def reshape(x: Any, /, shape: Any, *more: int, copy: bool | None = None) -> Tensor:
    """`x` with another shape and the same elements in the same order; one extent may be -1.

    The shape is one tuple or several numbers. Raises ShapeError if the numbers of elements differ.
    """
    node = to_node(x, "reshape")
    wanted = (shape, *more) if more else shape
    if hasattr(wanted, "__index__"):
        wanted = (wanted,)
    extents = tuple(e.__index__() for e in wanted)
    if -1 in extents:
        known = size_of(tuple(e for e in extents if e != -1))
        size = size_of(node.shape)
        if extents.count(-1) > 1 or known == 0 or size % known:
            reject("reshape", f"{size} elements do not fit shape {extents}", (node,))
        extents = tuple(size // known if e == -1 else e for e in extents)
    if size_of(extents) != size_of(node.shape):
        counts = f"{size_of(node.shape)} elements do not fit shape {extents} with {size_of(extents)}"
        reject("reshape", counts, (node,))
    return Tensor(reshape_node(node, shape_tuple("reshape", extents)))


def flatten(x: Any, /, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """`x` with the axes from `start_dim` to `end_dim` made one."""
    node = to_node(x, "flatten")
    rank = len(node.shape)
    if rank == 0:
        return Tensor(reshape_node(node, (1,)))
    first, last = normal_axis("flatten", start_dim, rank, node), normal_axis("flatten", end_dim, rank, node)
    if first > last:
        reject("flatten", f"the first axis {first} comes after the last {last}", (node,))
    merged = size_of(node.shape[first : last + 1])
    return Tensor(reshape_node(node, node.shape[:first] + (merged,) + node.shape[last + 1 :]))


def ravel(x: Any, /) -> Tensor:
    """`x` as a vector."""
    return reshape(x, -1) if size_of(to_node(x).shape) else reshape(x, 0)


def permute_dims(x: Any, /, axes: Any, *more: int) -> Tensor:
    """`x` with its axes in the order `axes` (one tuple or several numbers)."""
    node = to_node(x, "permute_dims")
    order = (axes, *more) if more or hasattr(axes, "__index__") else axes
    rank = len(node.shape)
    numbers = tuple(normal_axis("permute_dims", a, rank, node) for a in order)
    if sorted(numbers) != list(range(rank)):
        reject("permute_dims", f"{tuple(order)} does not name each of the {rank} axes once", (node,))
    return Tensor(permute(node, numbers))


def transpose(x: Any, /, axis0: int, axis1: int) -> Tensor:
    """`x` with two axes exchanged (PyTorch's meaning)."""
    node = to_node(x, "transpose")
    rank = len(node.shape)
    first, second = normal_axis("transpose", axis0, rank, node), normal_axis("transpose", axis1, rank, node)
    order = list(range(rank))
    order[first], order[second] = second, first
    return Tensor(permute(node, tuple(order)))


swapaxes = transpose


def matrix_transpose(x: Any, /) -> Tensor:
    """`x` with its last two axes exchanged."""
    node = to_node(x, "matrix_transpose")
    if len(node.shape) < 2:
        reject("matrix_transpose", "at least two axes are needed", (node,))
    return transpose(Tensor(node), -2, -1)


def moveaxis(x: Any, source: Any, destination: Any, /) -> Tensor:
    """`x` with the axes `source` moved to the positions `destination`, the others in order."""
    node = to_node(x, "moveaxis")
    rank = len(node.shape)
    one = hasattr(source, "__index__")
    sources = [normal_axis("moveaxis", a, rank, node) for a in ((source,) if one else source)]
    targets = [normal_axis("moveaxis", a, rank, node) for a in ((destination,) if one else destination)]
    if len(sources) != len(targets) or len(set(sources)) != len(sources) or len(set(targets)) != len(targets):
        reject("moveaxis", f"{sources} cannot move to {targets}", (node,))
    order = [a for a in range(rank) if a not in sources]
    for target, axis in sorted(zip(targets, sources)):
        order.insert(target, axis)
    return Tensor(permute(node, tuple(order)))


def broadcast_to(x: Any, /, shape: Any) -> Tensor:
    """`x` repeated along axes of one element and new leading axes until it has `shape`."""
    node = to_node(x, "broadcast_to")
    extents = shape_tuple("broadcast_to", shape)
    offset = len(extents) - len(node.shape)
    if offset < 0 or any(a not in (1, b) for a, b in zip(node.shape, extents[offset:])):
        reject("broadcast_to", f"shape {node.shape} does not broadcast to {extents}", (node,))
    return Tensor(broadcast(node, extents))


def expand(x: Any, /, *shape: Any) -> Tensor:
    """`broadcast_to` with PyTorch's spelling: -1 keeps the extent."""
    node = to_node(x, "expand")
    wanted = tuple(shape[0] if len(shape) == 1 and not hasattr(shape[0], "__index__") else shape)
    offset = len(wanted) - len(node.shape)
    if any(e == -1 and i < offset for i, e in enumerate(wanted)):
        reject("expand", f"-1 keeps an extent, and a new axis has none: {wanted}", (node,))
    return broadcast_to(Tensor(node), tuple(node.shape[i - offset] if e == -1 else e for i, e in enumerate(wanted)))


def broadcast_arrays(*arrays: Any) -> list[Tensor]:
    """All `arrays` broadcast to their common shape."""
    nodes = [to_node(a, "broadcast_arrays") for a in arrays]
    shape = common_shape("broadcast_arrays", nodes) if nodes else ()
    return [Tensor(broadcast(n, shape)) for n in nodes]


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that arrays of these shapes broadcast to."""
    return common_shape("broadcast_shapes", [full(0.0, tuple(s), as_dtype("float32")) for s in shapes])


def expand_dims(x: Any, /, axis: Any = 0) -> Tensor:
    """`x` with a new axis of one element at position `axis` (or at several)."""
    node = to_node(x, "expand_dims")
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    rank = len(node.shape) + count
    shape = list(node.shape)
    for position in normal_axes("expand_dims", axis, rank, node):
        shape.insert(position, 1)
    return Tensor(reshape_node(node, tuple(shape)))


def unsqueeze(x: Any, /, dim: int) -> Tensor:
    """`expand_dims` under PyTorch's name."""
    return expand_dims(x, dim)


def squeeze(x: Any, /, axis: Any = None, *, dim: Any = None) -> Tensor:
    """`x` without the axes `axis`, which must have one element; without any such axis if None is given."""
    node = to_node(x, "squeeze")
    axis = dim if axis is None else axis
    if axis is None:
        return Tensor(reshape_node(node, tuple(e for e in node.shape if e != 1)))
    axes = normal_axes("squeeze", axis, len(node.shape), node)
    for a in axes:
        if node.shape[a] != 1:
            reject("squeeze", f"axis {a} has {node.shape[a]} elements, not 1", (node,))
    return Tensor(reshape_node(node, tuple(e for i, e in enumerate(node.shape) if i not in axes)))


def flip(x: Any, /, axis: Any = None, *, dims: Any = None) -> Tensor:
    """`x` with the order of elements along `axis` (all axes by default) reversed."""
    node = to_node(x, "flip")
    axes = normal_axes("flip", dims if axis is None else axis, len(node.shape), node)
    return Tensor(emit("flip", node, attributes=(axes,)) if axes else node)


def concat(arrays: Sequence[Any], /, axis: int | None = 0, *, dim: int | None = None) -> Tensor:
    """`arrays` joined along an existing axis; with ``axis=None`` they are flattened first."""
    axis = dim if dim is not None else axis
    nodes = [to_node(a, "concat") for a in arrays]
    if not nodes:
        raise ConfigError(message("concat", "there is nothing to join", ()))
    if axis is None:
        nodes = [reshape_node(n, (size_of(n.shape),)) for n in nodes]
        axis = 0
    dtype = promoted("concat", nodes)
    rank = len(nodes[0].shape)
    if any(len(n.shape) != rank for n in nodes):
        reject("concat", "the operands have different numbers of axes", nodes)
    axis = normal_axis("concat", axis, rank, nodes[0])
    for node in nodes[1:]:
        for a in range(rank):
            if a != axis and node.shape[a] != nodes[0].shape[a]:
                extents = f"axis {a} has {nodes[0].shape[a]} and {node.shape[a]} elements"
                reject("concat", f"{extents}; only axis {axis} may differ", nodes)
    nodes = [cast(n, dtype) for n in nodes]
    return Tensor(nodes[0] if len(nodes) == 1 else emit("concat", *nodes, attributes=(axis,)))


cat = concat


def stack(arrays: Sequence[Any], /, axis: int = 0, *, dim: int | None = None) -> Tensor:
    """`arrays` of one shape joined along a new axis."""
    axis = dim if dim is not None else axis
    nodes = [to_node(a, "stack") for a in arrays]
    if not nodes:
        raise ConfigError(message("stack", "there is nothing to join", ()))
    for node in nodes[1:]:
        if node.shape != nodes[0].shape:
            reject("stack", f"shapes {nodes[0].shape} and {node.shape} differ", nodes)
    position = normal_axis("stack", axis, len(nodes[0].shape) + 1, nodes[0])
    shape = nodes[0].shape[:position] + (1,) + nodes[0].shape[position:]
    return concat([Tensor(reshape_node(n, shape)) for n in nodes], position)


def _part(node: Node, axis: int, start: int, stop: int) -> Node:
    rank = len(node.shape)
    starts = tuple(start if a == axis else 0 for a in range(rank))
    stops = tuple(stop if a == axis else e for a, e in enumerate(node.shape))
    return emit("slice", node, attributes=(starts, stops, (1,) * rank))


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts of `x` along `axis`, without that axis."""
    node = to_node(x, "unstack")
    axis = normal_axis("unstack", axis, len(node.shape), node)
    shape = node.shape[:axis] + node.shape[axis + 1 :]
    return tuple(Tensor(reshape_node(_part(node, axis, i, i + 1), shape)) for i in range(node.shape[axis]))


def split(x: Any, sizes: Any, /, axis: int = 0, *, dim: int | None = None) -> tuple[Tensor, ...]:
    """Parts of `x` along `axis`: of `sizes` elements each (the last may be shorter), or of the listed sizes."""
    node = to_node(x, "split")
    axis = normal_axis("split", axis if dim is None else dim, len(node.shape), node)
    extent = node.shape[axis]
    if hasattr(sizes, "__index__"):
        if sizes < 1:
            reject("split", f"a part has at least one element, not {sizes}", (node,))
        parts = [min(sizes, extent - s) for s in range(0, extent, sizes)] or [0]
    else:
        parts = list(sizes)
    if sum(parts) != extent:
        reject("split", f"parts of {parts} make {sum(parts)} elements, axis {axis} has {extent}", (node,))
    results, start = [], 0
    for part in parts:
        results.append(Tensor(_part(node, axis, start, start + part)))
        start += part
    return tuple(results)


def chunk(x: Any, chunks: int, /, axis: int = 0, *, dim: int | None = None) -> tuple[Tensor, ...]:
    """At most `chunks` parts of equal size along `axis` (the last may be shorter)."""
    node = to_node(x, "chunk")
    axis = normal_axis("chunk", axis if dim is None else dim, len(node.shape), node)
    return split(Tensor(node), max(1, -(-node.shape[axis] // chunks)), axis)


def roll(x: Any, /, shift: Any, *, axis: Any = None) -> Tensor:
    """`x` with elements moved `shift` places along `axis`, those that leave coming back at the other end."""
    node = to_node(x, "roll")
    if axis is None:
        flat = reshape_node(node, (size_of(node.shape),))
        return Tensor(reshape_node(_rolled(flat, 0, shift), node.shape))
    shifts = (shift,) if hasattr(shift, "__index__") else tuple(shift)
    axes = (axis,) if hasattr(axis, "__index__") else tuple(axis)
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    if len(shifts) != len(axes):
        reject("roll", f"there are {len(shifts)} shifts for {len(axes)} axes", (node,))
    for a, s in zip(axes, shifts):
        node = _rolled(node, normal_axis("roll", a, len(node.shape), node), s)
    return Tensor(node)


def _rolled(node: Node, axis: int, shift: int) -> Node:
    extent = node.shape[axis]
    cut = -shift % extent if extent else 0
    if cut == 0:
        return node
    return emit("concat", _part(node, axis, cut, extent), _part(node, axis, 0, cut), attributes=(axis,))


def tile(x: Any, repetitions: Any, /) -> Tensor:
    """`x` repeated as a whole `repetitions` times along each axis (aligned at the last axis)."""
    node = to_node(x, "tile")
    counts = (repetitions,) if hasattr(repetitions, "__index__") else tuple(repetitions)
    rank = max(len(counts), len(node.shape))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - len(node.shape)) + node.shape
    axes = tuple(2 * a + 1 for a in range(rank))
    paired = tuple(e for pair in zip(counts, shape) for e in pair)
    spread = emit("broadcast", reshape_node(node, shape), attributes=(paired, axes))
    return Tensor(reshape_node(spread, tuple(c * e for c, e in zip(counts, shape))))


def repeat(x: Any, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element repeated along `axis` (flattened if None), as NumPy's repeat.

    Args: repeats: how often, for all elements or, as integers ``(n,)``, for each of the n places along the axis. The
    shape of the result depends on their values, so that they cannot be placeholders.
    """
    node = to_node(x, "repeat")
    if axis is None:
        node = reshape_node(node, (size_of(node.shape),))
        axis = 0
    axis = normal_axis("repeat", axis, len(node.shape), node)
    if not isinstance(repeats, int):
        counts = _counts(node, axis, repeats)
        if counts.shape != (1,):
            places = np.repeat(np.arange(node.shape[axis]), counts)
            return Tensor(emit("take", node, constant(places), attributes=(axis,)))
        repeats = int(counts[0])
    if repeats < 0:
        reject("repeat", f"elements are repeated {repeats} times", (node,), "", ConfigError)
    shape = node.shape[: axis + 1] + (repeats,) + node.shape[axis + 1 :]
    axes = tuple(a if a <= axis else a + 1 for a in range(len(node.shape)))
    spread = emit("broadcast", node, attributes=(shape, axes))
    return Tensor(reshape_node(spread, node.shape[:axis] + (node.shape[axis] * repeats,) + node.shape[axis + 1 :]))


def _counts(node: Node, axis: int, repeats: Any) -> np.ndarray:
    """The numbers of repetitions: one for all places along `axis`, or one for each."""
    counts = to_node(repeats, "repeat")
    if counts.dtype.kind not in "iu" or len(counts.shape) > 1:
        problem = "repeats are one whole number, or a vector of them"
        reject("repeat", problem, (node, counts), "tile(x, (...)) makes whole copies", DTypeError)
    if counts.shape not in ((), (1,), (node.shape[axis],)):
        problem = f"{counts.shape[0]} numbers of repetitions for {node.shape[axis]} elements along axis {axis}"
        reject("repeat", problem, (node, counts))
    if counts.value is None and placeholder_below(counts) is not None:
        problem = "the shape of the result depends on the numbers of repetitions, which are placeholders"
        reject("repeat", problem, (node, counts), "call it outside", PlaceholderError)
    values = evaluate_node(counts, "repeat").astype(np.int64).reshape(-1)
    if values.size and values.min() < 0:
        reject("repeat", f"elements are repeated {values.min()} times", (node, counts), "", ConfigError)
    return values


repeat_interleave = repeat


def pad(x: Any, /, widths: Any, value: bool | int | float = 0) -> Tensor:
    """`x` with `value` around it.

    Args: widths: (before, after) for all axes, or one such pair for each axis, as NumPy's pad. Negative widths cut.
    """
    node = to_node(x, "pad")
    rank = len(node.shape)
    if hasattr(widths, "__index__"):
        widths = (widths, widths)
    if widths and hasattr(widths[0], "__index__"):
        widths = (tuple(widths),) * rank
    pairs = [tuple(p) for p in widths]
    if len(pairs) != rank or any(len(p) != 2 for p in pairs):
        reject("pad", f"{rank} pairs (before, after) are needed, not {widths}", (node,))
    starts = tuple(max(0, -low) for low, _ in pairs)
    stops = tuple(extent - max(0, -high) for extent, (_, high) in zip(node.shape, pairs))
    if starts != (0,) * rank or stops != node.shape:
        node = emit("slice", node, attributes=(starts, stops, (1,) * rank))
    low, high = tuple(max(0, a) for a, _ in pairs), tuple(max(0, b) for _, b in pairs)
    if not any(low) and not any(high):
        return Tensor(node)
    value = bool(value) if node.dtype.kind == "b" else value
    fill = full(value, (), node.dtype, "pad")
    return Tensor(emit("pad", node, fill, attributes=(low, high, (0,) * rank)))
