"""Attention that native code computes as a whole, forwards and backwards: primitives of one kernel each.

What they mean is what `attention` means, of which they take every derivative beyond the first: that primitive is made
of ordinary nodes, this one only of shapes that its kernels are made for (`fits`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..dtypes import DType, bfloat16, converted, float32, float64, widened
from ..graph.node import Node
from ..shapes import size
from .attention_blocks import causal_mask, columns
from .base import JointRules, Primitive, Sibling, apply, emit, mode, primitive, same_dtype
from .rules import broadcast, full_like, mul, permute, reshape, sub, sum_parts, total, where

#: scores of a head, and keys, up to which the exponentials are kept for the derivatives; more are computed again
KEPT_SCORES, KEPT_KEYS = 1 << 18, 512
#: queries that lie side by side in the kept exponentials
QUERIES = 64
#: queries and keys that are worth a kernel, and features that it has room for
LEAST, MOST_FEATURES = 16, 256
#: queries in a block of the primitive that gives further derivatives
ROWS = 128


def fits(q_shape: tuple[int, ...], k_shape: tuple[int, ...], v_shape: tuple[int, ...], dtype: DType) -> bool:
    """Whether the kernels are made for operands of these shapes."""
    if min(q_shape[-2], k_shape[-2]) < LEAST or max(q_shape[-1], v_shape[-1]) > MOST_FEATURES:
        return False
    if dtype is bfloat16:
        return keeps_all(q_shape[-2], k_shape[-2]) and q_shape[-1] % 2 == v_shape[-1] % 2 == 0
    return dtype in (float32, float64)


def keeps_all(queries: int, keys: int) -> bool:
    """Whether the exponentials are kept, not the log-sum-exp alone."""
    return keys <= KEPT_KEYS and queries * keys <= KEPT_SCORES


class Fused(Primitive):
    """Family base: softmax(scale q k^T) v for q (..., m, e), k (..., n, e), v (..., n, f) with equal leading axes.

    With `causal`, query i sees the keys 0 to i. Of bfloat16 operands the weights, and the gradients of the scores, are
    rounded before they are multiplied, and products are added up in float32.
    """

    family = "contraction"
    attributes: ClassVar[tuple[str, ...]] = ("causal", "scale")

    def _check(self, q: Node, k: Node, v: Node) -> None:
        same_dtype(self, (q, k, v))
        if len(q.shape) < 2 or q.shape[:-2] != k.shape[:-2] or q.shape[-1] != k.shape[-1]:
            self.reject(f"queries {list(q.shape)} and keys {list(k.shape)} differ beside axis -2", (q, k, v))
        if v.shape[:-1] != k.shape[:-1]:
            self.reject(f"keys {list(k.shape)} and values {list(v.shape)} differ before the last axis", (q, k, v))
        if not fits(q.shape, k.shape, v.shape, q.dtype):
            help = f"at least {LEAST} queries and keys, at most {MOST_FEATURES} features, float32 or float64, or"
            help += f" bfloat16 with even numbers of features, at most {KEPT_KEYS} keys and {KEPT_SCORES} scores"
            self.reject("the kernel is not made for these shapes", (q, k, v), help)

    def _operations(self, q: Node, k: Node, v: Node, products: int) -> int:
        operations = products * size(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])
        return operations // 2 if self.causal else operations

    def twin(self, q: Node, k: Node, v: Node) -> Node:
        """The same of ordinary nodes; of bfloat16 operands in float32, with products in bfloat16."""
        low = (q.dtype,) if q.dtype.is_half else ()
        q, k, v = map(_wide, (q, k, v))
        return emit("attention", mul(q, full_like(q, self.scale)), k, v, attributes=(self.causal, ROWS, *low))

    def _exponentials(self, q, k):
        """exp(scores - largest), the largest scores, and the sums."""
        scores = np.matmul(q, np.swapaxes(k, -1, -2)) * q.dtype.type(self.scale)
        if self.causal:
            seen = np.arange(scores.shape[-2])[:, None] >= np.arange(scores.shape[-1])
            scores = np.where(seen, scores, scores.dtype.type(-np.inf))
        largest = scores.max(-1, keepdims=True)
        weights = np.exp(scores - largest)
        return weights, largest, weights.sum(-1, keepdims=True, dtype=scores.dtype)


class FusedAttention(Fused):
    """softmax(scale q k^T) v, with kernels of its own forwards and backwards.

    A primitive, not a composite, so that scores stay in the nearest cache (Dao et al., FlashAttention: fast and
    memory-efficient exact attention with IO-awareness, NeurIPS 2022).
    """

    name = "fused_attention"

    def infer(self, q, k, v):
        """(..., m, f)."""
        self._check(q, k, v)
        return (*q.shape[:-1], v.shape[-1]), q.dtype

    def vjp(self, node, cotangent, needed):
        """By `fused_attention_grad`, from the result and what `fused_attention_kept` keeps."""
        kept = emit("fused_attention_kept", *node.inputs, attributes=(self.causal, self.scale))
        operands = (*node.inputs, node, kept, cotangent)
        return tuple(
            emit("fused_attention_grad", *operands, attributes=(self.causal, self.scale, index)) if wanted else None
            for index, wanted in enumerate(needed)
        )

    def jvp(self, node, tangents):
        """By the weights where the exponentials are kept, else that of `attention`."""
        q, k, v = node.inputs
        tq, tk, tv = (None if t is None else _wide(t) for t in tangents)
        if keeps_all(q.shape[-2], k.shape[-2]) and not q.dtype.is_half:
            weights = emit("fused_attention_weights", q, k, v, attributes=(self.causal, self.scale))
            change = None if tq is tk is None else weights.op.jvp(weights, (tq, tk, None))
            return sum_parts(
                None if change is None else _product(change, v, (0, 1), (1, 2)),
                None if tv is None else _product(weights, tv, (0, 1), (1, 2)),
            )
        twin = self.twin(q, k, v)
        tangent = twin.op.jvp(twin, (None if tq is None else mul(tq, full_like(tq, self.scale)), tk, tv))
        return _like(tangent, q)

    def batch(self, inputs, batched, size):
        """One more leading axis."""
        return apply(self, _all_lead(inputs, batched, size))

    def numpy(self, q, k, v):
        """softmax(scale q k^T) v."""
        weights, _, count = self._exponentials(q, k)
        return np.matmul(weights, v) / count

    def cost(self, node):
        """Two operations for every score and feature of both products, half of them if causal."""
        return self._operations(*node.inputs, 2), super().cost(node)[1]


class FusedAttentionKept(Fused):
    """What the derivatives of `fused_attention` need of its softmax.

    If the exponentials are kept: of each block of `QUERIES` queries those of all keys, exp(scores - largest) as
    (keys, queries), and behind them a row of the inverses of their sums; of bfloat16 operands the weights, without
    such a row. Else the log-sum-exp of each query. Zeros stand for queries beyond the last (which compiled programs
    only write where the user is given the array).
    """

    name = "fused_attention_kept"
    differentiable = False

    def infer(self, q, k, v):
        """(..., blocks, n + 1, QUERIES), of bfloat16 n, or (..., blocks * QUERIES)."""
        self._check(q, k, v)
        blocks = -(-q.shape[-2] // QUERIES)
        whole = keeps_all(q.shape[-2], k.shape[-2])
        rows = k.shape[-2] + (not q.dtype.is_half)
        return (*q.shape[:-2], *((blocks, rows, QUERIES) if whole else (blocks * QUERIES,))), q.dtype

    def evaluate(self, dtype, operands):
        """By NumPy."""
        if not dtype.is_half:
            return super().evaluate(dtype, operands)
        kept = self.numpy(*map(widened, operands))
        return converted(kept[..., :-1, :] * kept[..., -1:, :], dtype)

    def batch(self, inputs, batched, size):
        """One more leading axis."""
        return apply(self, _all_lead(inputs, batched, size))

    def numpy(self, q, k, v):
        """Zeros beyond the last query."""
        weights, largest, count = self._exponentials(q, k)
        m, n = q.shape[-2], k.shape[-2]
        blocks = -(-m // QUERIES)
        behind = [(0, 0)] * (q.ndim - 2) + [(0, blocks * QUERIES - m)]
        if not keeps_all(m, n):
            return np.pad((largest + np.log(count))[..., 0], behind)
        rows = np.pad(np.concatenate([weights, 1 / count], -1), [*behind, (0, 0)])
        return np.ascontiguousarray(np.swapaxes(rows.reshape(*q.shape[:-2], blocks, QUERIES, n + 1), -1, -2))

    def cost(self, node):
        """Two operations for every score and feature, half of them if causal."""
        return self._operations(*node.inputs, 1), super().cost(node)[1]


class FusedAttentionWeights(Fused):
    """softmax(scale q k^T) from the exponentials that `fused_attention_kept` keeps, where it keeps them.

    Its derivatives are made of itself: with p the weights and s the scores, the tangent of p is
    p (ds - rowsum(p ds)).
    """

    name = "fused_attention_weights"

    def infer(self, q, k, v):
        """(..., m, n)."""
        self._check(q, k, v)
        if q.dtype.is_half or not keeps_all(q.shape[-2], k.shape[-2]):
            help = f"at most {KEPT_KEYS} keys and {KEPT_SCORES} scores, float32 or float64"
            self.reject("the exponentials are not kept for these shapes", (q, k, v), help)
        return (*q.shape[:-1], k.shape[-2]), q.dtype

    def expand(self, q, k, v):
        """The rows of exponentials times the row of inverses, with the queries in front of the keys again."""
        kept = emit("fused_attention_kept", q, k, v, attributes=(self.causal, self.scale))
        (*lead, blocks, behind, lanes), rank = kept.shape, len(q.shape)
        m, n = q.shape[-2], behind - 1

        def rows(first: int, last: int) -> Node:
            starts = (0,) * rank + (first, 0)
            return emit("slice", kept, attributes=(starts[1:], (*lead, blocks, last, lanes), (1,) * (rank + 1)))

        inverses = broadcast(rows(n, behind), (*lead, blocks, n, lanes), tuple(range(rank + 1)))
        turned = permute(mul(rows(0, n), inverses), (*range(rank - 1), rank, rank - 1))
        whole = reshape(turned, (*lead, blocks * lanes, n))
        weights = emit("slice", whole, attributes=((0,) * rank, (*lead, m, n), (1,) * rank))
        if not self.causal:
            return weights
        seen = broadcast(causal_mask(0, m, n), weights.shape, (rank - 2, rank - 1))
        return where(seen, weights, full_like(weights, 0.0))

    def _centred(self, weights: Node, change: Node) -> Node:
        """p (change - rowsum(p change)), scaled: both the tangent of p and the cotangent of the scores."""
        n = weights.shape[-1]
        common = columns(total(mul(weights, change), (len(weights.shape) - 1,)), n)
        return mul(mul(weights, sub(change, common)), full_like(weights, self.scale))

    def vjp(self, node, cotangent, needed):
        """Through the scores."""
        q, k, _ = node.inputs
        change = self._centred(node, cotangent)
        return (
            _product(change, k, (0, 1), (1, 2)) if needed[0] else None,
            _product(change, q, (1, 0), (1, 2)) if needed[1] else None,
            None,
        )

    def jvp(self, node, tangents):
        """Through the scores; the values change nothing."""
        q, k, _ = node.inputs
        tq, tk, _ = tangents
        change = sum_parts(
            None if tq is None else _product(tq, k, (0, 1), (2, 1)),
            None if tk is None else _product(q, tk, (0, 1), (2, 1)),
        )
        return None if change is None else self._centred(node, change)

    def batch(self, inputs, batched, size):
        """One more leading axis."""
        return apply(self, _all_lead(inputs, batched, size))

    def numpy(self, q, k, v):
        """softmax(scale q k^T)."""
        weights, _, count = self._exponentials(q, k)
        return weights / count

    def cost(self, node):
        """Two operations for every score and feature, half of them if causal."""
        return self._operations(*node.inputs, 1), super().cost(node)[1]


class FusedAttentionGrad(Sibling, Fused):
    """Gradient of `fused_attention` for the queries, keys or values (`index` 0, 1, 2), given the result's cotangent.

    Operands: q, k, v, the result, what `fused_attention_kept` keeps, the cotangent c. With p the weights:
    dv = p^T c, ds = scale p (c v^T - rowsum(c * result)), dq = ds k, dk = ds^T q.
    """

    name = "fused_attention_grad"
    attributes = ("causal", "scale", "index")

    @property
    def joined(self) -> tuple:
        """What the three gradients have in common besides their operands."""
        return self.causal, self.scale

    def infer(self, q, k, v, result, kept, cotangent):
        """That of the operand."""
        self._check(q, k, v)
        same_dtype(self, (q, result, kept, cotangent))
        if result.shape != cotangent.shape or result.shape != (*q.shape[:-1], v.shape[-1]):
            self.reject(f"result {list(result.shape)}, cotangent {list(cotangent.shape)}", (q, k, v, result, cotangent))
        return (q, k, v)[self.index].shape, q.dtype

    def numpy(self, q, k, v, result, kept, cotangent):
        """One of the gradients."""
        weights, _, count = self._exponentials(q, k)
        weights = weights / count
        if self.index == 2:
            return np.matmul(np.swapaxes(weights, -1, -2), cotangent)
        inner = (cotangent * np.matmul(weights, v)).sum(-1, keepdims=True)  # of the result, which is known to follow
        change = weights * (np.matmul(cotangent, np.swapaxes(v, -1, -2)) - inner) * q.dtype.type(self.scale)
        return np.matmul(np.swapaxes(change, -1, -2), q) if self.index else np.matmul(change, k)

    def cost(self, node):
        """A third of five products, or of four if the exponentials were kept."""
        q, k, v = node.inputs[:3]
        products = 4 if keeps_all(q.shape[-2], k.shape[-2]) else 5
        return self._operations(q, k, v, products) // 3, super().cost(node)[1]


def _wide(x: Node) -> Node:
    """`x` in float32 if it is narrower."""
    return emit("cast", x, attributes=(float32,)) if x.dtype.is_half else x


def _like(x: Node, operand: Node) -> Node:
    """`x` in the dtype of an operand."""
    return x if x.dtype is operand.dtype else emit("cast", x, attributes=(operand.dtype,))


def _product(a: Node, b: Node, left: tuple[int, int], right: tuple[int, int]) -> Node:
    """A product of matrices: of the axes (-2, -1) those that are called 1 are summed, 0 and 2 stay."""
    lead = tuple(range(3, len(a.shape) + 1))
    return emit("contract", a, b, attributes=((*lead, *left), (*lead, *right), (*lead, 0, 2)))


def _all_lead(inputs: tuple[Node, ...], batched: tuple[bool, ...], size: int) -> tuple[Node, ...]:
    """`inputs` with the batch axis in front."""
    return tuple(
        x if done else broadcast(x, (size, *x.shape), tuple(range(1, len(x.shape) + 1)))
        for x, done in zip(inputs, batched)
    )


def _ordinary(node: Node) -> tuple[list[Node], list[Node]]:
    """Stand-ins for q, k, v and the cotangent, and the three gradients as ordinary nodes of those."""
    op: Any = node.op
    given = (*node.inputs[:3], node.inputs[5])
    before, mode.grad_enabled = mode.grad_enabled, True
    try:
        q, k, v, c = starts = [Node(primitive("alias"), (x,), x.shape, x.dtype, None, True, mode.where) for x in given]
        twin = op.twin(q, k, v)
        parts: Any = twin.op.vjp(twin, _wide(c), (True, True, True))
        gradients = mul(parts[0], full_like(parts[0], op.scale)), *parts[1:]
        return starts, [_like(gradient, x) for gradient, x in zip(gradients, (q, k, v))]
    finally:
        mode.grad_enabled = before


def _pull(nodes, cotangents, needed, sweep):
    """The reverse sweep over the gradients of `attention`."""
    starts, gradients = _ordinary(nodes[0])
    found = sweep([gradients[node.op.index] for node in nodes], list(cotangents), starts)
    return (*found[:3], None, None, found[3])


def _push(node, tangents, push):
    """The forward sweep over the gradients of `attention`."""
    starts, gradients = _ordinary(node)
    return push(gradients, starts, [*tangents[:3], tangents[5]])


def _spread(joined, operands, batched, size, spread):
    """One more leading axis."""
    wide = _all_lead(operands, batched, size)
    return [emit("fused_attention_grad", *wide, attributes=(*joined, index)) for index in range(3)]


FusedAttentionGrad.rules = JointRules(_pull, _push, _spread)
