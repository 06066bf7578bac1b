"""The order of rows in an epoch: the one that loaders and native loops share."""

from __future__ import annotations

import numpy as np

from .ops.base import primitive


def epoch_order(rows: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of ``0..rows-1`` that belongs to (`seed`, `epoch`): int64, by stable sorting of Philox draws."""
    key = np.array([seed % 2**64, epoch % 2**64], np.uint64)
    bits = primitive("random_bits", ((2 * rows,),)).numpy(key)
    return np.argsort(bits.view(np.uint64), kind="stable").astype(np.int64, copy=False)
