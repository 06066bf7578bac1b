"""Block of query rows, as nodes: what the rules and the expansion of `attention` are made of.

A softmax over keys needs, for each query, only a maximum and a sum. So queries are worked on in blocks of rows,
and the derivatives compute the scores of a block anew instead of keeping them: memory grows with the length of the
sequences, not with its square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..dtypes import bool_, int64
from ..graph.node import Node
from .base import emit
from .precision import Product
from .rules import add, broadcast, div, full, reshape, sub, sum_parts, total, where

Shape = tuple[int, ...]


class Block(NamedTuple):
    """Query rows `first` to `last` with the first `keys` keys and values, and the masks of their scores."""

    op: Product
    first: int
    last: int
    keys: int
    query: Node
    key: Node
    value: Node | None
    mask: Node | None
    causal: Node | None


def half(rows: int) -> int:
    """Rows of a block in derivatives, which hold two matrices for each block. Never the forward pass's number: equal
    blocks would be merged in a program that runs both, and the scores kept from one to the other after all."""
    return max(rows // 2, 1)


def _slice(x: Node, axis: int, first: int, last: int) -> Node:
    """x with only `first` to `last` of one axis; an axis of extent 1 stays."""
    if x.shape[axis] == 1 or (first == 0 and last == x.shape[axis]):
        return x
    starts, stops = [0] * len(x.shape), list(x.shape)
    starts[axis], stops[axis] = first, last
    return emit("slice", x, attributes=(tuple(starts), tuple(stops), (1,) * len(x.shape)))


def rows_of(x: Node, first: int, last: int, behind: int = 2) -> Node:
    """Rows of x along the axis that is `behind` from the end."""
    return _slice(x, len(x.shape) - behind, first, last)


def blocks_of(
    op: Any, q: Node, k: Node, v: Node | None, mask: Sequence[Node], rows: int, done: list[Node]
) -> Iterator[Block]:
    """Each block of `rows` queries with the keys, values and mask that it sees.

    The caller notes in `done` a node that ends its work on a block: the next block waits for it, so that no compiler
    works on all blocks side by side, with the memory of all.
    """
    m, n, rank = q.shape[-2], k.shape[-2], len(q.shape)
    for first in range(0, m, rows):
        last = min(first + rows, m)
        keys = _keys_seen(op, last, n)
        part = _slice(_slice(mask[0], rank - 2, first, last), rank - 1, 0, keys) if mask else None
        value = None if v is None else rows_of(v, 0, keys)
        causal = causal_mask(first, last, keys) if op.causal and keys > first + 1 else None
        query = rows_of(q, first, last)
        if done:
            query = _after(query, done[-1])
        yield Block(op, first, last, keys, query, rows_of(k, 0, keys), value, part, causal)


def _keys_seen(op: Any, last: int, n: int) -> int:
    """How many keys the queries before `last` are computed with.

    Causal blocks come in four widths: each width is a kernel of its own, and beyond four few products are saved.
    """
    if not op.causal:
        return n
    step = -(-n // (4 * op.rows)) * op.rows
    return min(-(-last // step) * step, n)


def _after(x: Node, then: Node) -> Node:
    """x, but not before `then` is there; rows of the leading axes wait for their own."""
    lead = len(x.shape) - 2
    for axis in range(lead, len(then.shape)):
        then = _slice(then, axis, 0, 1)
    then = reshape(then, then.shape[:lead])
    return emit("barrier", x, broadcast(then, x.shape, tuple(range(lead))))


def causal_mask(first: int, last: int, keys: int) -> Node:
    """Whether the query of a row may see the key of a column."""
    shape = (last - first, keys)
    row, column = (emit("iota", attributes=((extent,), 0, int64)) for extent in (last, keys))
    row = broadcast(_slice(row, 0, first, last), shape, (0,))
    return emit("ge", row, broadcast(column, shape, (1,)))


def _contract(op: Product, a: Node, b: Node, left: Shape, right: Shape, out: Shape) -> Node:
    lead = tuple(range(3, len(a.shape) + 1))
    return op.same("contract", a, b, attributes=((*lead, *left), (*lead, *right), (*lead, *out)))


def scores_of(op: Product, q: Node, k: Node | None) -> Node:
    """q k^T."""
    assert k is not None
    return _contract(op, q, k, (0, 1), (2, 1), (0, 2))


def times(op: Product, weights: Node, v: Node | None) -> Node:
    """weights v."""
    assert v is not None
    return _contract(op, weights, v, (0, 1), (1, 2), (0, 2))


def transposed_times(op: Product, weights: Node, x: Node) -> Node:
    """weights^T x."""
    return _contract(op, weights, x, (0, 1), (0, 2), (1, 2))


def columns(x: Node, count: int) -> Node:
    """x repeated along a new last axis."""
    return broadcast(x, (*x.shape, count), tuple(range(len(x.shape))))


def _last(x: Node, shape: Shape) -> Node:
    """x, of the rank of `shape` or less, repeated to it."""
    return broadcast(x, shape, tuple(range(len(shape) - len(x.shape), len(shape))))


def lowest(like: Node) -> Node:
    """-inf in the type of `like`, of numbers that are part of a program's structure."""
    return div(full(-1.0, like.shape, like.dtype), full(0.0, like.shape, like.dtype))


def _masked(block: Block) -> Node:
    """The scores of a block, -inf where they do not count."""
    scores = scores_of(block.op, block.query, block.key)
    if block.mask is not None:
        mask = _last(block.mask, scores.shape)
        scores = where(mask, scores, lowest(scores)) if mask.dtype is bool_ else add(scores, mask)
    if block.causal is not None:
        scores = where(_last(block.causal, scores.shape), scores, lowest(scores))
    return scores


def exponentials(block: Block) -> tuple[Node, Node, Node]:
    """exp(scores - their largest), that largest score, and the sum of the exponentials (1 where all are 0)."""
    scores = _masked(block)
    axis = (len(scores.shape) - 1,)
    largest = finite = emit("max", scores, attributes=(axis,))
    if block.mask is not None:
        empty = emit("eq", largest, lowest(largest))
        finite = where(empty, full(0.0, largest.shape, largest.dtype), largest)
    weights = emit("exp", sub(scores, columns(finite, block.keys)))
    count = total(weights, axis)
    if block.mask is not None:
        count = where(empty, full(1.0, count.shape, count.dtype), count)
    return weights, largest, count


def block_weights(block: Block, lse: Node) -> Node:
    """The softmax of a block, from the saved log-sum-exp."""
    return emit("exp", sub(_masked(block), columns(rows_of(lse, block.first, block.last, 1), block.keys)))


def score_tangents(block: Block, tq: Node | None, tk: Node | None, tm: Sequence[Node | None]) -> Node | None:
    """The tangent of a block's scores."""
    moved = sum_parts(
        None if tq is None else scores_of(block.op, rows_of(tq, block.first, block.last), block.key),
        None if tk is None else scores_of(block.op, block.query, rows_of(tk, 0, block.keys)),
    )
    if tm and tm[0] is not None:
        rank = len(block.query.shape)
        part = _slice(_slice(tm[0], rank - 2, block.first, block.last), rank - 1, 0, block.keys)
        shape = (*block.query.shape[:-1], block.keys)
        moved = sum_parts(moved, _last(part, shape))
    return moved


def joined(parts: list[Node], behind: int = 2) -> Node:
    """Block of rows one after another."""
    return parts[0] if len(parts) == 1 else emit("concat", *parts, attributes=(len(parts[0].shape) - behind,))


class _Rows:
    """A sum over blocks of contributions to the first rows of a gradient, each block to more rows than the former."""

    def __init__(self) -> None:
        self.sum: Node | None = None

    def add(self, block: Block, part: Node) -> Node:
        """Add `part` to the first ``block.keys`` rows; the sum so far."""
        known = self.sum
        if known is None:
            self.sum = part
            return part
        seen = known.shape[-2]
        new = add(known, rows_of(part, 0, seen))
        self.sum = new if seen == block.keys else joined([new, rows_of(part, seen, block.keys)])
        return self.sum

    def result(self, count: int) -> Node:
        """All `count` rows, zeros where no block contributed."""
        assert self.sum is not None
        missing = count - self.sum.shape[-2]
        if not missing:
            return self.sum
        shape = (*self.sum.shape[:-2], missing, self.sum.shape[-1])
        return joined([self.sum, full(0.0, shape, self.sum.dtype)])


class Gradients:
    """Gradients of queries, keys, values and mask, gathered block by block."""

    def __init__(self, inputs: Sequence[Any], needed: tuple[bool, ...]):
        self.inputs, self.needed = inputs, needed
        self.values, self.keys = _Rows(), _Rows()
        self.queries: list[Node] = []
        self.masks: list[Node] = []
        self.mask = inputs[3] if len(inputs) > 3 and inputs[3].dtype is not bool_ and needed[3] else None

    def scores(self, block: Block, change: Node) -> Node:
        """Take in the gradient of a block's scores; a node that is the last to need it."""
        last = change
        if self.needed[0]:
            self.queries.append(times(block.op, change, block.key))
            last = self.queries[-1]
        if self.needed[1]:
            last = self.keys.add(block, transposed_times(block.op, change, block.query))
        if self.mask is None:
            return last
        shape = self.mask.shape
        own = (*shape[:-2], min(shape[-2], block.last - block.first), min(shape[-1], block.keys))
        axes = tuple(a for a, (e, s) in enumerate(zip(own, change.shape)) if e == 1 and s != 1)
        part = reshape(total(change, axes), own)
        if shape[-1] > block.keys and shape[-1] != 1:
            rest = full(0.0, (*own[:-1], shape[-1] - block.keys), part.dtype)
            part = emit("concat", part, rest, attributes=(len(own) - 1,))
        self.masks.append(part)
        return last

    def results(self) -> tuple[Node | None, ...]:
        """The gradients in the order of the operands."""
        n = self.inputs[1].shape[-2]
        found = [
            joined(self.queries) if self.needed[0] else None,
            self.keys.result(n) if self.needed[1] else None,
            self.values.result(n) if self.needed[2] else None,
        ]
        if len(self.inputs) > 3:
            mask = None
            if self.mask is not None:
                mask = joined(self.masks) if self.mask.shape[-2] != 1 else sum_parts(*self.masks)
            found.append(mask)
        return tuple(found)
