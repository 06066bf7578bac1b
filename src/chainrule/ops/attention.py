"""Attention over long sequences: primitives that never hold all scores of queries against keys at once."""

from __future__ import annotations

import numpy as np

from ..dtypes import bool_, converted, widened
from ..errors import DTypeError
from ..graph.node import Node
from ..shapes import size
from .attention_blocks import (
    Gradients,
    block_weights,
    blocks_of,
    columns,
    exponentials,
    half,
    joined,
    lowest,
    rows_of,
    score_tangents,
    scores_of,
    times,
    transposed_times,
)
from .base import Primitive, apply, emit, same_dtype
from .movement import check_numeric, check_ordered
from .precision import Product
from .rules import add, broadcast, div, mul, sub, sum_parts, total, where


class BlockedProduct(Product):
    """Family base: scores of queries against keys; `rows` is the number of queries in a block."""

    attributes = ("causal", "rows", "precision")

    def low(self, x: np.ndarray) -> np.ndarray:
        """An operand of a product as `precision` has it."""
        return x if self.precision is None else widened(converted(x, self.precision))

    def evaluate(self, dtype, operands):
        """By NumPy; `numpy` rounds the operands of each product itself."""
        return Primitive.evaluate(self, dtype, operands)


class Attention(BlockedProduct):
    """softmax(q k^T + mask) v, computed in blocks of query rows.

    q (..., m, e), k (..., n, e), v (..., n, f), all with the same leading axes, scores unscaled. The optional mask has
    the rank of q, its extents are those of the scores (..., m, n) or 1; a bool mask says which scores count, a
    floating one is added. With `causal`, query i sees the keys 0 to i. A query that sees no key gives zeros.

    A primitive, not a composite, so that neither the forward nor the backward pass stores an (m, n) matrix: the rules
    below compute the scores of each block again from the saved log-sum-exp (Dao et al., FlashAttention: fast and
    memory-efficient exact attention with IO-awareness, NeurIPS 2022, sections 3.1 and B.4).
    """

    name = "attention"

    def infer(self, q, k, v, *mask):
        """(..., m, f)."""
        _check_scores(self, q, k, (q, k, v, *mask), *mask)
        same_dtype(self, (q, k, v))
        if v.shape[:-1] != k.shape[:-1]:
            self.reject(f"keys {list(k.shape)} and values {list(v.shape)} differ before the last axis", (q, k, v))
        return (*q.shape[:-1], v.shape[-1]), q.dtype

    def expand(self, q: Node, k: Node, v: Node, *mask: Node) -> Node:
        """The result as ordinary nodes, block by block: what a compiler without a kernel of its own runs."""
        parts: list[Node] = []
        done: list[Node] = []
        for block in blocks_of(self, q, k, v, mask, self.rows, done):
            weights, _, count = exponentials(block)
            done.append(count)
            parts.append(div(times(self, weights, block.value), columns(count, v.shape[-1])))
        return joined(parts)

    def vjp(self, node, cotangent, needed):
        """Scores and weights of each block again, then the gradients of the three products.

        With P the weights and c the cotangent: dv = P^T c, dP = c v^T, dS = P (dP - rowsum(c out)), dq = dS k,
        dk = dS^T q.
        """
        q, k, v, *mask = node.inputs
        inner = total(mul(cotangent, node), (len(q.shape) - 1,))
        found = Gradients(node.inputs, needed)
        lse = self._lse(q, k, mask)
        done: list[Node] = []
        for block in blocks_of(self, q, k, v, mask, half(self.rows), done):
            weights = block_weights(block, lse)
            c = rows_of(cotangent, block.first, block.last)
            if needed[2]:
                done.append(found.values.add(block, transposed_times(self, weights, c)))
            if any(needed[i] for i in range(len(needed)) if i != 2):
                shift = columns(rows_of(inner, block.first, block.last, 1), block.keys)
                done.append(found.scores(block, mul(weights, sub(scores_of(self, c, block.value), shift))))
        return found.results()

    def jvp(self, node, tangents):
        """Per block, with T the tangent of the scores: P tv + (P T) v - rowsum(P T) out."""
        q, k, v, *mask = node.inputs
        tq, tk, tv, *tm = tangents
        lse = self._lse(q, k, mask)
        parts: list[Node] = []
        for block in blocks_of(self, q, k, v, mask, half(self.rows), parts):
            weights = block_weights(block, lse)
            moved = score_tangents(block, tq, tk, tm)
            pieces = []
            if moved is not None:
                change = mul(weights, moved)
                out = rows_of(node, block.first, block.last)
                pieces.append(times(self, change, block.value))
                pieces.append(mul(columns(total(change, (len(q.shape) - 1,)), v.shape[-1]), out))
            own = None if tv is None else times(self, weights, rows_of(tv, 0, block.keys))
            part = sum_parts(own, sub(*pieces) if pieces else None)
            assert part is not None
            parts.append(part)
        return joined(parts)

    def batch(self, inputs, batched, size):
        """One more leading axis."""
        return apply(self, _all_lead(inputs, batched, size, 3))

    def _lse(self, q: Node, k: Node, mask) -> Node:
        return self.same("attention_lse", q, k, *mask, attributes=(self.causal, self.rows))

    def numpy(self, q, k, v, *mask):
        """Block of rows of ``softmax(q @ k.T + mask) @ v``."""
        out = np.empty((*q.shape[:-1], v.shape[-1]), q.dtype)
        for first, last, scores in _numpy_scores(self, q, k, *mask):
            weights, _, count = _numpy_exponentials(scores)
            out[..., first:last, :] = np.matmul(self.low(weights), self.low(v)) / count
        return out

    def cost(self, node):
        """Two operations for every score and feature of both products, half of them if causal."""
        q, k, v = node.inputs[:3]
        _, moved = super().cost(node)
        operations = 2 * size(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])
        return (operations // 2 if self.causal else operations), moved


class AttentionLogSumExp(BlockedProduct):
    """log sum_j exp(q k^T + mask) for each query of `attention`, inf for a query that sees no key.

    What the derivatives of `attention` need to compute the weights again: P = exp(scores - this). The largest score is
    taken out first. A primitive for the reason given there; compiled, it shares its work with `attention`.
    """

    name = "attention_lse"

    def infer(self, q, k, *mask):
        """(..., m)."""
        _check_scores(self, q, k, (q, k, *mask), *mask)
        same_dtype(self, (q, k))
        return q.shape[:-1], q.dtype

    def expand(self, q: Node, k: Node, *mask: Node) -> Node:
        """The result as ordinary nodes, block by block."""
        parts: list[Node] = []
        done: list[Node] = []
        for block in blocks_of(self, q, k, None, mask, self.rows, done):
            _, largest, count = exponentials(block)
            done.append(count)
            result = add(largest, emit("log", count))
            if mask:
                infinite = emit("neg", lowest(result))
                result = where(emit("eq", largest, lowest(largest)), infinite, result)
            parts.append(result)
        return joined(parts, 1)

    def vjp(self, node, cotangent, needed):
        """dS = P times the cotangent of the row; dq = dS k, dk = dS^T q."""
        q, k, *mask = node.inputs
        found = Gradients((q, k, None, *mask), (needed[0], needed[1], False, *needed[2:]))
        done: list[Node] = []
        for block in blocks_of(self, q, k, None, mask, half(self.rows), done):
            spread = columns(rows_of(cotangent, block.first, block.last, 1), block.keys)
            done.append(found.scores(block, mul(block_weights(block, node), spread)))
        dq, dk, _, *dm = found.results()
        return (dq, dk, *dm)

    def jvp(self, node, tangents):
        """The mean tangent of the scores under the weights."""
        q, k, *mask = node.inputs
        tq, tk, *tm = tangents
        parts: list[Node] = []
        for block in blocks_of(self, q, k, None, mask, half(self.rows), parts):
            moved = score_tangents(block, tq, tk, tm)
            assert moved is not None
            parts.append(total(mul(block_weights(block, node), moved), (len(q.shape) - 1,)))
        return joined(parts, 1)

    def batch(self, inputs, batched, size):
        """One more leading axis."""
        return apply(self, _all_lead(inputs, batched, size, 2))

    def numpy(self, q, k, *mask):
        """The largest score plus the logarithm of the sum of exponentials above it, block by block."""
        out = np.empty(q.shape[:-1], q.dtype)
        for first, last, scores in _numpy_scores(self, q, k, *mask):
            _, largest, count = _numpy_exponentials(scores)
            found = np.where(np.isneginf(largest), np.inf, largest + np.log(count))
            out[..., first:last] = found[..., 0]
        return out

    def cost(self, node):
        """Two operations for every score and feature, half of them if causal."""
        q, k = node.inputs[:2]
        _, moved = super().cost(node)
        operations = 2 * size(q.shape[:-1]) * k.shape[-2] * q.shape[-1]
        return (operations // 2 if self.causal else operations), moved


def _check_scores(op: BlockedProduct, q: Node, k: Node, operands: tuple[Node, ...], *mask: Node) -> None:
    check_numeric(op, q)
    check_ordered(op, q)
    op.check_precision(operands)
    if len(q.shape) < 2 or len(k.shape) != len(q.shape):
        op.reject(f"queries and keys need the same rank of 2 or more, not {len(q.shape)} and {len(k.shape)}", operands)
    if q.shape[:-2] != k.shape[:-2] or q.shape[-1] != k.shape[-1]:
        op.reject(f"queries {list(q.shape)} and keys {list(k.shape)} differ beside axis -2", operands)
    if 0 in (q.shape[-2], k.shape[-2]):
        op.reject(f"{q.shape[-2]} queries and {k.shape[-2]} keys: a sequence has no elements", operands)
    for node in mask:
        if node.dtype is not bool_ and node.dtype is not q.dtype:
            op.reject(f"a mask is bool or {q.dtype.name}, not {node.dtype.name}", operands, kind=DTypeError)
        scores = (*q.shape[:-1], k.shape[-2])
        if len(node.shape) != len(scores) or any(e not in (1, s) for e, s in zip(node.shape, scores)):
            op.reject(f"the mask {list(node.shape)} does not fit the scores {list(scores)}", operands)


def _all_lead(inputs: tuple[Node, ...], batched: tuple[bool, ...], size: int, operands: int) -> tuple[Node, ...]:
    """`inputs` with the batch axis in front, of extent 1 for a mask (after the `operands`) that all examples share."""
    found = []
    for number, (x, done) in enumerate(zip(inputs, batched)):
        extent = size if number < operands else 1
        found.append(x if done else broadcast(x, (extent, *x.shape), tuple(range(1, len(x.shape) + 1))))
    return tuple(found)


def _numpy_scores(op: BlockedProduct, q, k, mask=None):
    """First and last row of each block, and its scores with -inf where they do not count."""
    m, n = q.shape[-2], k.shape[-2]
    lowest = q.dtype.type(-np.inf)
    for first in range(0, m, op.rows):
        last = min(first + op.rows, m)
        scores = np.matmul(op.low(q[..., first:last, :]), np.swapaxes(op.low(k), -1, -2))
        if mask is not None:
            part = mask if mask.shape[-2] == 1 else mask[..., first:last, :]
            scores = np.where(part, scores, lowest) if mask.dtype == bool else scores + part
        if op.causal:
            scores = np.where(np.arange(first, last)[:, None] >= np.arange(n), scores, lowest)
        yield first, last, scores


def _numpy_exponentials(scores):
    """As `exponentials`, with the row axes kept."""
    largest = scores.max(-1, keepdims=True)
    empty = np.isneginf(largest)
    weights = np.exp(scores - np.where(empty, 0, largest))
    count = weights.sum(-1, keepdims=True, dtype=scores.dtype)
    return weights, largest, np.where(empty, count.dtype.type(1), count)
