"""The blocks of a Jacobian between nodes, by columns or by rows: one linear map, batched over a standard basis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..dtypes import int64
from ..graph.node import Node
from ..ops.base import emit
from ..ops.control import close, results
from ..ops.leaf import placeholder
from ..ops.rules import permute, reshape
from ..recording import broadcast, cast, full, size_of
from ..transforms import batch, forward, reverse
from ..transforms.paths import between

#: nodes that sweeps for one source after another may visit; beyond it, one sweep serves all sources
MAXIMUM_VISITS = 20_000


def columns_of(roots: Sequence[Node], aliases: Sequence[Node], chunk: int | None = None) -> list[list[Node]]:
    """For each root and each alias the block ``d root / d alias``, of shape ``(*root.shape, *alias.shape)``.

    `chunk` columns are computed together, one chunk after the other; all of them if it is None.

    Each alias, and each part of one that is only used in parts, has a sweep of its own: the tangents of the others are
    zero, and so is all that only they reach. Where that would make a large graph larger by their number, one sweep over
    all columns has to do.
    """
    if len(aliases) > 1 and len(aliases) * len(between(roots, aliases)) > MAXIMUM_VISITS:
        return _all_columns(roots, aliases, chunk)
    found: list[list[Node]] = [[] for _ in roots]
    for source in aliases:
        parts = _parts(roots, source)
        if parts is None:
            blocks = _columns(roots, source, chunk)
        else:
            columns = [_columns(roots, node, chunk) for _, node in parts.pieces]
            blocks = [_side_by_side(root, source, parts, column) for root, column in zip(roots, zip(*columns))]
        for row, block in zip(found, blocks):
            row.append(block)
    return found


def _columns(roots: Sequence[Node], source: Node, chunk: int | None) -> list[Node]:
    """The blocks of one source, by one sweep."""
    count = size_of(source.shape)
    one = count == 1
    tangent = full(1.0, source.shape, source.dtype) if one else _stand_in(source)
    moved = forward.jvp(roots, [source], [tangent])
    if not one:
        moved = _over(moved, {tangent: 0}, count, chunk)
    blocks = []
    for root, part in zip(roots, moved):
        shape = (*root.shape, *source.shape)
        if part is None:
            blocks.append(full(0.0, shape, root.dtype))
            continue
        if not one:
            part = permute(part, (*range(1, len(part.shape)), 0))
        blocks.append(reshape(part, shape))
    return blocks


def _all_columns(roots: Sequence[Node], aliases: Sequence[Node], chunk: int | None) -> list[list[Node]]:
    """The blocks of all sources by one sweep, over a basis for all their elements together."""
    counts = [size_of(source.shape) for source in aliases]
    total = sum(counts)
    stand_ins = [_stand_in(source) for source in aliases]
    starts = [sum(counts[:number]) for number in range(len(counts))]
    moved = _over(forward.jvp(roots, aliases, stand_ins), dict(zip(stand_ins, starts)), total, chunk)
    found = []
    for root, part in zip(roots, moved):
        row = []
        for source, start, count in zip(aliases, starts, counts):
            shape = (*root.shape, *source.shape)
            if part is None:
                row.append(full(0.0, shape, root.dtype))
                continue
            rest = root.shape
            begin, end = (start, *(0 for _ in rest)), (start + count, *rest)
            columns = emit("slice", part, attributes=(begin, end, (1,) * len(begin)))
            row.append(reshape(permute(columns, (*range(1, len(columns.shape)), 0)), shape))
        found.append(row)
    return found


class _Parts(NamedTuple):
    """Slices of a node, through which alone it is used: side by side along `axis`, each with its start."""

    axis: int
    pieces: list[tuple[int, Node]]


def _parts(roots: Sequence[Node], source: Node) -> _Parts | None:
    """The parts of `source`, as of a vector of all parameters that is cut into them; None if it is used otherwise."""
    path = between(roots, [source])
    ends = set(roots)
    users = _users(path, source)
    while len(users) == 1 and users[0].op.name == "alias" and source not in ends:
        source = users[0]
        users = _users(path, source)
    if len(users) < 2 or source in ends or not all(n.op.name == "slice" and set(n.op.steps) <= {1} for n in users):
        return None
    axes = {axis for n in users for axis, extent in enumerate(n.shape) if extent != source.shape[axis]}
    if len(axes) != 1:
        return None
    (axis,) = axes
    pieces = sorted(((n.op.starts[axis], n) for n in users), key=lambda piece: piece[0])
    for (start, node), (following, _) in pairwise(pieces):
        if start + node.shape[axis] > following:
            return None
    return _Parts(axis, pieces)


def _users(path: Sequence[Node] | dict[Node, None], source: Node) -> list[Node]:
    return [node for node in path if source in node.inputs]


def _side_by_side(root: Node, source: Node, parts: _Parts, blocks: Sequence[Node]) -> Node:
    """The block of a source from those of its parts, with zeros where it is not used."""
    axis = len(root.shape) + parts.axis
    pieces: list[Node] = []
    end = 0

    def zeros(extent: int) -> None:
        if extent:
            shape = [*root.shape, *source.shape]
            shape[axis] = extent
            pieces.append(full(0.0, tuple(shape), root.dtype))

    for (start, node), block in zip(parts.pieces, blocks):
        zeros(start - end)
        pieces.append(block)
        end = start + node.shape[parts.axis]
    zeros(source.shape[parts.axis] - end)
    return emit("concat", *pieces, attributes=(axis,))


def rows_of(roots: Sequence[Node], aliases: Sequence[Node], chunk: int | None = None) -> list[list[Node]]:
    """As `columns_of`, by a sweep backwards from each root."""
    found: list[list[Node]] = []
    for root in roots:
        count = size_of(root.shape)
        one = count == 1
        cotangent = full(1.0, root.shape, root.dtype) if one else _stand_in(root)
        parts = reverse.vjp([root], [cotangent], aliases)
        if not one:
            parts = _over(parts, {cotangent: 0}, count, chunk)
        shapes = [(*root.shape, *source.shape) for source in aliases]
        found.append(
            [
                full(0.0, shape, source.dtype) if part is None else reshape(part, shape)
                for part, shape, source in zip(parts, shapes, aliases)
            ]
        )
    return found


def _stand_in(like: Node) -> Node:
    """What stands for one element of the basis while the linear map is recorded."""
    return placeholder(0, like.shape, like.dtype)


def _over(
    outputs: Sequence[Node | None], starts: Mapping[Node, int], count: int, chunk: int | None
) -> list[Node | None]:
    """`outputs`, with a leading axis of `count`, for all elements of the standard basis.

    Element `i` of the basis is for each stand-in of `starts` 1 at place ``i - start``, if it has one, and 0 elsewhere.
    """
    present = [node for node in outputs if node is not None]
    if count == 0:
        made = [full(0.0, (0, *node.shape), node.dtype) for node in present]
    elif chunk is None or chunk >= count:
        made = _part(present, starts, 0, count)
    else:
        made = _by_chunks(present, starts, count, chunk)
    rest = iter(made)
    return [None if node is None else next(rest) for node in outputs]


def _by_chunks(outputs: Sequence[Node], starts: Mapping[Node, int], count: int, chunk: int) -> list[Node]:
    """The results of `_over` by a loop, in which intermediate values of one chunk only are there at a time."""
    whole, rest = divmod(count, chunk)
    number = placeholder(0, (), int64)
    made = _part(outputs, starts, emit("mul", number, full(chunk, (), int64)), chunk)
    loop, constants = close(made, [], [number], whole, False)
    numbers = emit("iota", attributes=((whole,), 0, int64))
    stacked = results(loop, (*constants, numbers), range(len(made)))
    found = [reshape(part, (whole * chunk, *node.shape)) for part, node in zip(stacked, outputs)]
    if not rest:
        return found
    last = _part(outputs, starts, whole * chunk, rest)
    return [emit("concat", a, b, attributes=(0,)) for a, b in zip(found, last)]


def _part(outputs: Sequence[Node], starts: Mapping[Node, int], first: Node | int, count: int) -> list[Node]:
    """`outputs` for `count` elements of the basis, from element `first` on."""
    bases = {node: _basis(node, first, start, count) for node, start in starts.items()}
    return batch(outputs, bases, count)


def _basis(like: Node, first: Node | int, start: int, count: int) -> Node:
    """(count, *shape): element i is 1 at place ``first + i - start`` in row-major order and 0 elsewhere."""
    shape = (count, size_of(like.shape))
    rows, columns = (emit("iota", attributes=(shape, axis, int64)) for axis in (0, 1))
    if start:
        columns = emit("add", columns, full(start, shape, int64))
    if isinstance(first, Node):
        rows = emit("add", rows, broadcast(first, shape))
    elif first:
        rows = emit("add", rows, full(first, shape, int64))
    return reshape(cast(emit("eq", rows, columns), like.dtype), (count, *like.shape))
