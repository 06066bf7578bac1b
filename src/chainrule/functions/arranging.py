"""Joining, splitting, turning, inserting and deleting, with NumPy's names."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..conversion import to_node
from ..errors import ConfigError, IndexOutOfRangeError
from ..ops.base import emit, message
from ..recording import broadcast, cast, normal_axis, reject, reshape, size_of
from ..tensor import Tensor
from .searching import take
from .shape import concat, flip, moveaxis, permute_dims, stack, transpose


def _many(arrays: tuple, change: Callable[[Any], Tensor]) -> Any:
    results = [change(x) for x in arrays]
    return results[0] if len(results) == 1 else tuple(results)


def _atleast(name: str, x: Any, rank: int, behind: int = 0) -> Tensor:
    """`x` with new axes in front until it has `rank`, the last of them `behind`."""
    node = to_node(x, name)
    missing = max(rank - len(node.shape), 0)
    front = missing - min(missing, behind)
    return Tensor(reshape(node, (1,) * front + node.shape + (1,) * (missing - front)))


def atleast_1d(*arrays: Any) -> Any:
    """Each array with one axis at least; a tuple for several."""
    return _many(arrays, lambda x: _atleast("atleast_1d", x, 1))


def atleast_2d(*arrays: Any) -> Any:
    """Each array with two axes at least, new ones in front; a tuple for several."""
    return _many(arrays, lambda x: _atleast("atleast_2d", x, 2))


def atleast_3d(*arrays: Any) -> Any:
    """Each array with three axes at least: a vector (n,) becomes (1, n, 1), a matrix (m, n) (m, n, 1)."""
    return _many(arrays, lambda x: _atleast("atleast_3d", x, 3, 1))


def hstack(arrays: Sequence[Any], /) -> Tensor:
    """Arrays joined along their second axis, vectors along their first."""
    parts = [atleast_1d(x) for x in arrays]
    return concat(parts, 0 if parts and parts[0].ndim == 1 else 1)


def vstack(arrays: Sequence[Any], /) -> Tensor:
    """Arrays joined along their first axis, vectors as rows."""
    return concat([atleast_2d(x) for x in arrays], 0)


row_stack = vstack


def dstack(arrays: Sequence[Any], /) -> Tensor:
    """Arrays joined along their third axis (see `atleast_3d`)."""
    return concat([atleast_3d(x) for x in arrays], 2)


def column_stack(arrays: Sequence[Any], /) -> Tensor:
    """Vectors as the columns of a matrix, matrices side by side."""
    parts = []
    for x in arrays:
        node = to_node(x, "column_stack")
        parts.append(Tensor(reshape(node, (size_of(node.shape), 1)) if len(node.shape) < 2 else node))
    return concat(parts, 1)


def block(arrays: Any, /) -> Tensor:
    """An array from nested lists of blocks: the innermost lists are joined along the last axis, and so on outwards.

    Raises: ConfigError for an empty list or lists of different depth.
    """

    def depth_of(part: Any) -> int:
        if not isinstance(part, list):
            return 0
        if not part:
            raise ConfigError(message("block", "a list of blocks is empty", ()))
        depths = {depth_of(p) for p in part}
        if len(depths) > 1:
            raise ConfigError(message("block", f"blocks stand at different depths: {sorted(depths)}", ()))
        return 1 + depths.pop()

    def rank_of(part: Any) -> int:
        return max(rank_of(p) for p in part) if isinstance(part, list) else len(to_node(part, "block").shape)

    depth = depth_of(arrays)
    rank = max(depth, rank_of(arrays))

    def joined(part: Any, level: int) -> Tensor:
        if not isinstance(part, list):
            return _atleast("block", part, rank)
        return concat([joined(p, level - 1) for p in part], -level)

    return joined(arrays, depth)


def _places_of_cuts(name: str, extent: int, sections: Any) -> list[int]:
    """Where the parts begin and end: of a number of parts as equal as possible, or at the given places."""
    if hasattr(sections, "__index__") and not getattr(sections, "ndim", 0):
        count = sections.__index__()
        if count < 1:
            raise ConfigError(message(name, f"there is one part at least, not {count}", ()))
        each, more = divmod(extent, count)
        sizes = [each + 1] * more + [each] * (count - more)
        return [0, *np.cumsum(sizes).tolist()]
    return [0, *(int(s) for s in sections), extent]


def array_split(x: Any, indices_or_sections: Any, /, axis: int = 0) -> list[Tensor]:
    """Parts of `x` along `axis`: so many, the first ones longer by one if need be, or cut at the listed places."""
    node = to_node(x, "array_split")
    axis = normal_axis("array_split", axis, len(node.shape), node)
    extent = node.shape[axis]
    cuts = _places_of_cuts("array_split", extent, indices_or_sections)
    parts = []
    for first, last in itertools.pairwise(cuts):
        start, stop, _ = slice(first, last).indices(extent)
        starts = tuple(start if a == axis else 0 for a in range(len(node.shape)))
        stops = tuple(max(start, stop) if a == axis else e for a, e in enumerate(node.shape))
        parts.append(Tensor(emit("slice", node, attributes=(starts, stops, (1,) * len(stops)))))
    return parts


def tensor_split(x: Any, indices_or_sections: Any, /, dim: int = 0) -> tuple[Tensor, ...]:
    """`array_split` under PyTorch's name."""
    return tuple(array_split(x, indices_or_sections, dim))


def _equal_split(name: str, axis: int, at_least: int) -> Callable[[Any, Any], list[Tensor]]:
    def function(x: Any, indices_or_sections: Any, /) -> list[Tensor]:
        node = to_node(x, name)
        rank = len(node.shape)
        if rank < at_least:
            reject(name, f"{at_least} axes at least are needed", (node,))
        along = 0 if name == "hsplit" and rank == 1 else axis
        sections = indices_or_sections
        if hasattr(sections, "__index__") and not getattr(sections, "ndim", 0) and node.shape[along] % sections:
            problem = f"{node.shape[along]} elements of axis {along} do not make {sections} equal parts"
            reject(name, problem, (node,), "use array_split")
        return array_split(Tensor(node), sections, along)

    function.__name__ = function.__qualname__ = name
    what = {"hsplit": "second axis (the first of a vector)", "vsplit": "first axis", "dsplit": "third axis"}[name]
    function.__doc__ = f"Equal parts of `x` along its {what}, or parts cut at the listed places."
    return function


hsplit = _equal_split("hsplit", 1, 1)
vsplit = _equal_split("vsplit", 0, 2)
dsplit = _equal_split("dsplit", 2, 3)


def flipud(x: Any, /) -> Tensor:
    """`x` with its first axis reversed."""
    return flip(_checked("flipud", x, 1), 0)


def fliplr(x: Any, /) -> Tensor:
    """`x` with its second axis reversed."""
    return flip(_checked("fliplr", x, 2), 1)


def _checked(name: str, x: Any, rank: int) -> Tensor:
    node = to_node(x, name)
    if len(node.shape) < rank:
        reject(name, f"{rank} axes at least are needed", (node,))
    return Tensor(node)


def rot90(x: Any, /, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """`x` turned `k` times by a quarter in the plane of two axes, from the first towards the second."""
    value = _checked("rot90", x, 2)
    first, second = (normal_axis("rot90", a, value.ndim, to_node(value)) for a in axes)
    if first == second:
        reject("rot90", f"axes {tuple(axes)} name one axis twice", (to_node(value),))
    k = k % 4
    if k == 0:
        return value
    if k == 2:
        return flip(value, (first, second))
    return transpose(flip(value, second), first, second) if k == 1 else flip(transpose(value, first, second), second)


def rollaxis(x: Any, axis: int, start: int = 0, /) -> Tensor:
    """`x` with `axis` moved before the axis that is at `start`."""
    node = to_node(x, "rollaxis")
    rank = len(node.shape)
    axis = normal_axis("rollaxis", axis, rank, node)
    if not -rank <= start <= rank:
        reject("rollaxis", f"start {start} is out of range for {rank} axes", (node,))
    start = start + rank if start < 0 else start
    order = [a for a in range(rank) if a != axis]
    order.insert(start - 1 if axis < start else start, axis)
    return permute_dims(Tensor(node), tuple(order))


movedim = moveaxis


def append(x: Any, values: Any, /, axis: int | None = None) -> Tensor:
    """`x` with `values` behind it along `axis`; both flattened if that is None."""
    return concat([x, values], axis)


def _concrete(name: str, obj: Any) -> Any:
    """A slice, number or list of places as NumPy takes it."""
    if isinstance(obj, slice):
        return obj
    return np.asarray(obj if not isinstance(obj, Tensor) else obj.numpy())


def delete(x: Any, obj: Any, /, axis: int | None = None) -> Tensor:
    """`x` without the elements at `obj` (a number, slice, list of numbers or mask) along `axis`; flattened if None.

    The places have to be known when recorded. Raises IndexOutOfRangeError for one outside the axis.
    """
    node = to_node(x, "delete")
    if axis is None:
        node, axis = reshape(node, (size_of(node.shape),)), 0
    axis = normal_axis("delete", axis, len(node.shape), node)
    try:
        left = np.delete(np.arange(node.shape[axis]), _concrete("delete", obj))
    except IndexError as error:
        reject("delete", str(error), (node,), "", IndexOutOfRangeError)
    return take(Tensor(node), left, axis=axis)


def insert(x: Any, obj: Any, values: Any, /, axis: int | None = None) -> Tensor:
    """`x` with `values`, which broadcast, before the places `obj` (numbers of `x`'s own elements) along `axis`.

    Flattened if `axis` is None. The places have to be known when recorded.
    Raises: IndexOutOfRangeError for a place outside the axis; ShapeError for values that do not fit.
    """
    node = to_node(x, "insert")
    if axis is None:
        node, axis = reshape(node, (size_of(node.shape),)), 0
    axis = normal_axis("insert", axis, len(node.shape), node)
    extent, rank = node.shape[axis], len(node.shape)
    places = _concrete("insert", obj)
    added = cast(to_node(values, "insert"), node.dtype)
    added = reshape(added, (1,) * (rank - len(added.shape)) + added.shape)
    single = not isinstance(places, slice) and places.ndim == 0
    if single:
        added = to_node(moveaxis(Tensor(added), 0, axis))
        count = added.shape[axis]
    else:
        count = len(range(*places.indices(extent))) if isinstance(places, slice) else places.size
    shape = tuple(count if a == axis else e for a, e in enumerate(node.shape))
    if any(m not in (1, n) for m, n in zip(added.shape, shape)):
        reject("insert", f"values of shape {added.shape} do not broadcast to {shape}", (node, added))
    new = np.arange(extent, extent + count)
    try:
        order = np.insert(np.arange(extent), int(places) if single else places, new)
    except IndexError as error:
        reject("insert", str(error), (node,), "", IndexOutOfRangeError)
    both = concat([Tensor(node), Tensor(broadcast(added, shape))], axis)
    return take(both, order, axis=axis)


def cartesian_prod(*vectors: Any) -> Tensor:
    """All combinations of one element of each vector: (number of combinations, number of vectors)."""
    nodes = [to_node(v, "cartesian_prod") for v in vectors]
    for node in nodes:
        if len(node.shape) != 1:
            reject("cartesian_prod", "vectors are needed", nodes)
    if len(nodes) == 1:
        return Tensor(nodes[0])
    shape = tuple(n.shape[0] for n in nodes)
    parts = [emit("broadcast", n, attributes=(shape, (i,))) for i, n in enumerate(nodes)]
    return stack([Tensor(reshape(p, (size_of(shape),))) for p in parts], 1)


def combinations(x: Any, /, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of `r` elements of a vector, in order of their places: (number of choices, r)."""
    node = to_node(x, "combinations")
    if len(node.shape) != 1:
        reject("combinations", "a vector is needed", (node,))
    grid = np.indices((node.shape[0],) * r).reshape(r, -1)
    ordered = grid[:-1] <= grid[1:] if with_replacement else grid[:-1] < grid[1:]
    return take(Tensor(node), np.ascontiguousarray(grid[:, ordered.all(0)].T))


def trim_zeros(x: Any, /, trim: str = "fb") -> Tensor:
    """A vector without its leading ("f") and trailing ("b") zeros; its values have to be known when recorded."""
    node = to_node(x, "trim_zeros")
    if len(node.shape) != 1:
        reject("trim_zeros", "a vector is needed", (node,))
    value = Tensor(node).numpy()
    filled = np.flatnonzero(value)
    start = (filled[0] if filled.size else value.size) if "f" in trim.lower() else 0
    stop = (filled[-1] + 1 if filled.size else start) if "b" in trim.lower() else value.size
    return Tensor(node)[int(start) : int(stop)]
