"""The order in which reductions and contractions combine their elements: decided by shapes alone.

A reduction whose last axis (of extent above 1) is reduced, and that is longer than 16, runs in 16 virtual lanes: lane
l takes elements l, l + 16, ...; the lanes meet pairwise at the end of every block, and blocks are added in order. Any
other reduction is a chain for each output, in blocks that are added in order. A contraction is a chain of
multiply-adds in blocks of at most 512; that of a product of few columns and many terms is dealt to several chains:
term k goes to chain k mod 8, and the sums of the chains are added in order. "Elements" are those of the reduced axes in
row-major order.
"""

from __future__ import annotations

import math

from .kernel import DEALT, LANES, SHORT_REDUCTION

LANE_BLOCK = 4096
CHAIN_BLOCK = 256
CONTRACTION_BLOCK = 512
#: columns, at most, and terms, at least, of a product whose terms are dealt to chains
FEW_COLUMNS, MANY_TERMS = 12, 256


def reduction_tree(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int]:
    """Virtual lanes (16 or 1) and block length of a reduction of `shape` over `axes`."""
    length = math.prod(shape[a] for a in axes)
    wide = [a for a, size in enumerate(shape) if size > 1]
    trailing = bool(wide) and wide[-1] in axes
    if trailing and length > SHORT_REDUCTION:
        return LANES, max(LANE_BLOCK, LANES * math.isqrt(length // LANES))
    return 1, max(CHAIN_BLOCK, math.isqrt(length))


def contraction_chain(extents: tuple[int, ...]) -> tuple[int, int]:
    """The chains of a contraction over several axes: the first axis of a chain, and how many of its indices are in one.

    A chain takes all indices of the axes behind its first one.
    """
    if len(extents) == 1:
        return 0, contraction_block(extents[0])
    if 0 in extents:
        return 0, max(extents[0], 1)
    first, inner = len(extents) - 1, 1
    while first > 0 and inner * extents[first] <= CONTRACTION_BLOCK:
        inner *= extents[first]
        first -= 1
    if inner == 1:
        return first, contraction_block(extents[first])
    chains = -(-extents[first] // max(CONTRACTION_BLOCK // inner, 1))
    return first, -(-extents[first] // max(chains, 1))


def product_chains(terms: int, columns: int) -> int:
    """How many chains the terms of a product are dealt to; 1 if they are not."""
    dealt = columns <= FEW_COLUMNS and MANY_TERMS <= terms <= DEALT * CONTRACTION_BLOCK and terms % DEALT == 0
    return DEALT if dealt else 1


def product_blocks(terms: int, columns: int) -> tuple[int, int, int, int]:
    """The chains of a product: terms from the first of one to its end, chains, from one's first term to the next one's,
    from a term of a chain to the next."""
    if product_chains(terms, columns) > 1:
        return terms, DEALT, 1, DEALT
    return blocks_in_order(terms)


def blocks_in_order(terms: int) -> tuple[int, int, int, int]:
    """The same of terms that are in one chain, in blocks."""
    block = contraction_block(terms)
    return block, -(-terms // block), block, 1


def contraction_block(length: int) -> int:
    """Length of the blocks of k."""
    if length <= CONTRACTION_BLOCK:
        return max(length, 1)
    blocks = -(-length // CONTRACTION_BLOCK)
    return -(-length // (blocks * 8)) * 8
