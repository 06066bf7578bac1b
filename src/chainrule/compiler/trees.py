"""The order in which reductions and contractions combine their elements: decided by shapes alone.

A reduction whose last axis (of extent above 1) is reduced, and that is longer than 16, runs in 16 virtual lanes: lane
l takes elements l, l + 16, ...; the lanes meet pairwise at the end of every block, and blocks are added in order. Any
other reduction is a chain for each output, in blocks that are added in order. A contraction is a chain of
multiply-adds in blocks of at most 512. "Elements" are those of the reduced axes in row-major order.
"""

from __future__ import annotations

import math

from .kernel import LANES, SHORT_REDUCTION

LANE_BLOCK = 4096
CHAIN_BLOCK = 256
CONTRACTION_BLOCK = 512


def reduction_tree(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int]:
    """Virtual lanes (16 or 1) and block length of a reduction of `shape` over `axes`."""
    length = math.prod(shape[a] for a in axes)
    wide = [a for a, size in enumerate(shape) if size > 1]
    trailing = bool(wide) and wide[-1] in axes
    if trailing and length > SHORT_REDUCTION:
        return LANES, max(LANE_BLOCK, LANES * math.isqrt(length // LANES))
    return 1, max(CHAIN_BLOCK, math.isqrt(length))


def contraction_block(length: int) -> int:
    """Length of the blocks of k."""
    if length <= CONTRACTION_BLOCK:
        return max(length, 1)
    blocks = -(-length // CONTRACTION_BLOCK)
    return -(-length // (blocks * 8)) * 8
