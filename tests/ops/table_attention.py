"""Rows of attention over long sequences."""

from __future__ import annotations

import numpy as np

from chainrule.dtypes import bfloat16
from chainrule.errors import DTypeError

from .table import bools, case, floats, row, wrong


def scores(causal, rows, q, k, mask=None):
    """All scores, and their largest for each query, 0 where there is none."""
    result = np.einsum("...me,...ne->...mn", q, k)
    if mask is not None:
        result = np.where(mask, result, -np.inf) if mask.dtype == bool else result + mask
    if causal:
        result = np.where(np.tri(*result.shape[-2:], dtype=bool), result, -np.inf)
    largest = result.max(-1, keepdims=True)
    return result.astype(q.dtype), np.where(np.isneginf(largest), 0, largest).astype(q.dtype)


def attention(causal, rows, q, k, v, mask=None):
    """The softmax written out."""
    found, largest = scores(causal, rows, q, k, mask)
    weights = np.exp(found - largest)
    total = weights.sum(-1, keepdims=True)
    return np.einsum("...mn,...nf->...mf", weights / np.where(total == 0, 1, total), v)


def log_sum_exp(causal, rows, q, k, mask=None):
    """The logarithm of the sum of all exponentials, inf of none."""
    found, largest = scores(causal, rows, q, k, mask)
    total = np.exp(found - largest).sum(-1)
    return np.where(total == 0, np.inf, np.log(np.where(total == 0, 1, total)) + largest[..., 0]).astype(q.dtype)


def operands(*lead, m=5, n=6, dtype="float64", values=True):
    """Queries, keys and values."""
    shapes = [(*lead, m, 3), (*lead, n, 3), (*lead, n, 2)][: 3 if values else 2]
    return [floats(*shape, dtype=dtype, seed=i) for i, shape in enumerate(shapes)]


def some(*shape):
    """A bool mask whose first row holds nothing."""
    mask = bools(*shape)
    mask[..., 0, :] = False
    return mask


def cases(values):
    """The same cases for both primitives."""
    return [
        case(*operands(values=values), attributes=(False, 2), smooth=True),
        case(*operands(2, values=values), attributes=(True, 2), smooth=True, tag="causal"),
        case(*operands(m=7, n=4, values=values), attributes=(True, 3), smooth=True, tag="more queries"),
        case(*operands(2, 3, dtype="float32", values=values), attributes=(False, 8)),
        case(*operands(2, values=values), some(2, 5, 6), attributes=(False, 2), smooth=values, tag="mask"),
        case(*operands(2, values=values), bools(1, 1, 6) | True, attributes=(True, 4), smooth=True, tag="keys"),
        case(*operands(2, values=values), floats(1, 5, 6, seed=7), attributes=(True, 2), smooth=True, tag="bias"),
        case(*operands(2, values=values), floats(2, 5, 1, seed=7), attributes=(False, 2), smooth=True, tag="rows"),
        case(*operands(m=1, n=1, values=values), attributes=(True, 1), smooth=True, tag="one"),
    ]


def refused(values):
    """Wrong operands of both."""
    q, k, *v = operands(values=values)
    return [
        wrong(q[0], k[0], *v, attributes=(False, 2), message="the same rank of 2 or more, not 1 and 1"),
        wrong(q, k[:, :2], *v, attributes=(False, 2), message="queries [5, 3] and keys [6, 2] differ beside axis -2"),
        wrong(q[:0], k, *v, attributes=(False, 2), message="0 queries and 6 keys: a sequence has no elements"),
        wrong(q, k, *v, bools(6, 5), attributes=(False, 2), message="the mask [6, 5] does not fit the scores [5, 6]"),
        wrong(q, k, *v, floats(5, 6, dtype="float32"), attributes=(False, 2), error=DTypeError,
              message="a mask is bool or float64, not float32"),
        wrong(q, k, *v, attributes=(False, 2, bfloat16), error=DTypeError, message="are for float32 operands"),
    ]  # fmt: skip


row(
    "attention",
    attention,
    cases(True),
    [
        *refused(True),
        wrong(*operands()[:2], floats(5, 2), attributes=(False, 2), message="keys [6, 3] and values [5, 2] differ"),
    ],
)
row("attention_lse", log_sum_exp, cases(False), refused(False))


def fused(causal, scale, q, k, v):
    """The same with a factor of the scores."""
    return attention(causal, 0, q * q.dtype.type(scale), k, v)


def kept(causal, scale, q, k, v):
    """Exponentials of blocks of 64 queries, turned, and the inverses of their sums; or the log-sum-exp."""
    m, n = q.shape[-2], k.shape[-2]
    found, largest = scores(causal, 0, q * q.dtype.type(scale), k)
    weights = np.exp(found - largest)
    total = weights.sum(-1, keepdims=True)
    blocks = -(-m // 64)
    if n > 512:
        result = np.zeros((*q.shape[:-2], blocks * 64), q.dtype)
        result[..., :m] = (largest + np.log(total))[..., 0]
        return result
    result = np.zeros((*q.shape[:-2], blocks, n + 1, 64), q.dtype)
    for i in range(m):
        result[..., i // 64, :n, i % 64] = weights[..., i, :]
        result[..., i // 64, n, i % 64] = 1 / total[..., i, 0]
    return result


def fused_grad(causal, scale, index, q, k, v, result, saved, c):
    """The gradient of sum(c * softmax(scale q k^T) v) by the rule of products."""
    found, largest = scores(causal, 0, q * q.dtype.type(scale), k)
    weights = np.exp(found - largest)
    weights /= weights.sum(-1, keepdims=True)
    if index == 2:
        return np.einsum("...mn,...mf->...nf", weights, c)
    change = np.einsum("...mf,...nf->...mn", c, v)
    change = weights * (change - (weights * change).sum(-1, keepdims=True)) * q.dtype.type(scale)
    return np.einsum("...mn,...ne->...me", change, k) if index == 0 else np.einsum("...mn,...me->...ne", change, q)


def fused_weights(causal, scale, q, k, v):
    """softmax(scale q k^T)."""
    found, largest = scores(causal, 0, q * q.dtype.type(scale), k)
    weights = np.exp(found - largest)
    return weights / weights.sum(-1, keepdims=True)


def fused_cases(function, smooth, *indices):
    """Operands that the kernels are made for."""
    found = []
    for causal, lead, m, n, dtype in (
        (False, (), 16, 17, "float64"), (True, (2,), 19, 16, "float64"), (True, (2, 3), 70, 33, "float32"),
        (False, (2,), 16, 600, "float64"),
    ):  # fmt: skip
        q, k, v = operands(*lead, m=m, n=n, dtype=dtype)
        for index in indices or [()]:
            given = [q, k, v]
            if indices:
                result = fused(causal, 0.5, q, k, v)
                given += [result, kept(causal, 0.5, q, k, v), floats(*result.shape, dtype=dtype, seed=5)]
            found.append(case(*given, attributes=(causal, 0.5, *index), smooth=smooth and dtype == "float64"))
    return found


row(
    "fused_attention",
    fused,
    fused_cases(fused, True),
    [
        wrong(*operands(m=16, n=15), attributes=(False, 1.0), message="the kernel is not made for these shapes"),
        wrong(*operands(m=16, n=16)[:2], floats(17, 2), attributes=(False, 1.0),
              message="keys [16, 3] and values [17, 2] differ"),
        wrong(floats(16, 4), *operands(m=16, n=16)[1:], attributes=(False, 1.0),
              message="queries [16, 4] and keys [16, 3] differ"),
    ],
)  # fmt: skip
row(
    "fused_attention_weights",
    fused_weights,
    fused_cases(fused_weights, True)[:-1],
    [
        wrong(*operands(m=16, n=600), attributes=(False, 1.0), message="the exponentials are not kept"),
    ],
)
row("fused_attention_kept", kept, fused_cases(kept, False))
row(
    "fused_attention_grad",
    fused_grad,
    fused_cases(fused_grad, True, (0,), (1,), (2,)),
    [
        wrong(*operands(m=16, n=16), floats(16, 2), floats(1, 17, 64), floats(16, 3), attributes=(False, 1.0, 0),
              message="result [16, 2], cotangent [16, 3]"),
    ],
)  # fmt: skip
