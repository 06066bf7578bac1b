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
