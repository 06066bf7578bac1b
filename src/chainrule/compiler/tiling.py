"""How a contraction kernel walks its space: register tile, panels of columns, order of loops; by a cost model.

Nothing here changes a bit of any result: the order of the terms of each output is fixed in `trees.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

from .kernel import LINE, SHORT_CHAIN, Tiling

#: bytes of a panel of b that stay in the second-level cache while tiles pass over it
PANEL_BYTES = 256 << 10
#: tiles that one panel should serve before the next one is loaded
TILES_PER_PANEL = 4
#: an extent of axis 0 that counts as small, and what stands for others and for the terms of a long matrix product
SMALL_BATCH, EXAMPLE_BATCH, EXAMPLE_TERMS = 16, 128, 256
#: vectors of a tile whose chains are short
SHORT_TILE = 16
#: widths of panels, in vectors; wide ones are for tiles of one row, whose b is read once: long runs of each of its rows
WIDTHS = (4, 3, 2, 1, 8, 6, 16)
#: vectors of a panel of packed columns at most
MOST_STREAMS = 8

#: bytes below which a vector is short: a tile reads a line of a row, or two, and no processor foresees which
SHORT_VECTOR = LINE
#: terms of a piece of a chain, about
PIECE_TERMS = 64
#: vectors of a panel whose columns are transposed in registers: two chains hide one another's latency
ACROSS_WIDTH = 2
#: registers for each of them that tiles of several rows leave to what is transposed
ACROSS_HELD = 3


@lru_cache(maxsize=4096)
def tile_and_panels(
    registers: int,
    lanes: int,
    extents: tuple[int, ...],
    free: tuple[int, ...],
    columns: int,
    terms: int,
    along: bool,
    packed: bool = False,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The register tile over axes with `extents`, of which those in `free` may take part, and the panels of columns.

    Estimated cycles decide: two multiply-adds and two loads a cycle, at least 4 cycles for a chain's next link, and a
    fixed price for each tile. `along`: a is loaded as vectors, not broadcast. `packed`: the vectors of a panel are
    as many streams, which drive one another out of a cache where they are many.
    """
    vectors = -(-columns // lanes)
    best: tuple[float, tuple[int, ...], tuple[int, ...]] | None = None
    for width in WIDTHS:
        if packed and width > MOST_STREAMS:
            continue
        if width > vectors and width != min(w for w in WIDTHS if w >= min(vectors, 4)):
            continue
        panels = split_panels(vectors, width)
        widest = max(panels)
        limit = (registers - widest - 1) // widest
        if widest + 2 <= registers:  # the vectors of b may stay in memory
            limit = max(limit, 1)
        if terms <= SHORT_CHAIN:
            limit = min(limit, SHORT_TILE // widest)
        if limit < 1:
            continue
        for tile in _tiles(extents, free, min(limit, 28)):
            cost = _cycles(tile, extents, panels, terms, along)
            if best is None or cost < best[0]:
                best = cost, tile, panels
    assert best is not None
    return best[1], best[2]


def is_short(lanes: int, itemsize: int) -> bool:
    """Whether vectors are shorter than `SHORT_VECTOR`."""
    return lanes * itemsize < SHORT_VECTOR


def split_panels(vectors: int, width: int) -> tuple[int, ...]:
    """`vectors` in panels of at most `width`, as even as possible, wide ones first."""
    count = -(-vectors // width)
    base, more = divmod(vectors, count)
    return (base + 1,) * more + (base,) * (count - more)


def _tiles(extents: tuple[int, ...], free: tuple[int, ...], limit: int) -> list[tuple[int, ...]]:
    """Boxes of at most `limit` positions: some axes whole, at most one of them in part, evenly."""
    found: dict[tuple[int, ...], None] = {}  # in order of preference
    # the range of axis 0 is an argument and cut into chunks: its tiles are ones that divide them
    sizes = [[-(-extent // parts) for parts in range(1, min(extent, 64) + 1)] for extent in extents]
    if extents:
        half = -(-extents[0] // 2) if extents[0] < SMALL_BATCH else 1
        sizes[0] = [
            extents[0],
            *sorted({half, *(size for size in (16, 8, 4, 2, 1) if size < extents[0])}, reverse=True),
        ]
    for first in range(len(free)):
        whole = [1] * len(extents)
        for axis in (*free[first:], *free[:first]):
            room = limit // math.prod(whole)
            for size in sizes[axis]:
                if size <= room:
                    found.setdefault((*whole[:axis], size, *whole[axis + 1 :]))
                    if size * 2 < room or size == 1:
                        break
            if extents[axis] > room:
                break
            whole[axis] = extents[axis]
    return list(found) or [(1,) * len(extents)]


def _cycles(tile: tuple[int, ...], extents: tuple[int, ...], panels: tuple[int, ...], terms: int, along: bool) -> float:
    parts = []  # (how many, positions) along every axis
    for size, extent in zip(tile, extents):
        whole, rest = divmod(extent, size)
        parts.append([(whole, size)] + ([(1, rest)] if rest else []))
    total = 0.0
    for combination in product(*parts):
        count = math.prod(n for n, _ in combination)
        rows = math.prod(size for _, size in combination)
        for width in set(panels):
            loads = (rows * width if along else rows) + width
            step = max(rows * width / 2, loads * 0.515, 4.5)
            total += count * panels.count(width) * (terms * step + rows * width + 16)
    return total


def loops_outside(tile: Sequence[int], extents: Sequence[int], blocks: str, least: int) -> int:
    """How many of the first axes are walked outside of the panels; `least` at any rate."""
    if blocks == "outside":
        return least
    inside = len(tile)
    tiles = 1
    while inside > least and (any(size > 1 for size in tile[:inside]) or tiles < TILES_PER_PANEL):
        inside -= 1
        tiles *= -(-extents[inside] // tile[inside])
        if inside == 1 and tile[0] == 1:
            break
    return inside


def tiling(
    registers: int,
    lanes: int,
    extents: tuple[int, ...],
    columns: int,
    reduced: tuple[int, ...],
    chain: tuple[int, int],
    *,
    free: tuple[int, ...],
    fixed: int,
    itemsize: int,
    strided: bool,
    along: bool,
    packed: bool,
    across: bool = False,
) -> Tiling:
    """The tiling of a contraction.

    Args:
        registers: vector registers of the target.
        lanes: elements of a vector.
        extents: of the axes m; axis 0's is only an example.
        columns: extent of n.
        reduced: extents of the summed axes.
        chain: first summed axis of a chain, and how many of its indices are in one.
        free: axes m that a tile may extend along, innermost preference first.
        fixed: axes that are outside of the panels at any rate.
        itemsize: bytes of an element.
        strided: whether a's terms lie far from one another, so that a tile should not run through all of them.
        along: whether a moves along n.
        packed: whether b is packed.
        across: whether b is transposed in registers, for the few rows that there are, or those of a tile.
    """
    terms = math.prod(reduced)
    if extents[0] >= SMALL_BATCH:  # another batch size should find the kernel
        extents = (EXAMPLE_BATCH, *extents[1:])
    priced = EXAMPLE_TERMS if len(reduced) == 1 and terms > 32 else terms
    if across and len(reduced) > 1:
        held = registers - ACROSS_WIDTH * ACROSS_HELD
        tile, panels = tile_and_panels(held, lanes, extents, free, columns, priced, along, packed)
    elif across:
        tile = tuple(extent if axis in free else 1 for axis, extent in enumerate(extents))
        panels = split_panels(-(-columns // lanes), ACROSS_WIDTH)
    else:
        tile, panels = tile_and_panels(registers, lanes, extents, free, columns, priced, along, packed)
    first, chunk = chain
    blocks = "one"
    if math.prod(reduced[:first]) > 1 or chunk < reduced[first]:
        panel = terms * max(panels) * lanes * itemsize
        blocks = "outside" if not across and (strided or panel > PANEL_BYTES) else "inside"
    outside = loops_outside(tile, extents, blocks, fixed)
    shapes = tuple(None if n == 0 and terms > 32 else extent for n, extent in enumerate(reduced))
    pieces = None
    several = any(extent > size for extent, size in zip(extents[outside:], tile[outside:]))
    if blocks == "outside" and len(reduced) > 1 and several and is_short(lanes, itemsize) and not packed:
        pieces = _pieces(reduced, first, chunk)  # what is packed comes fast enough from the second-level cache
    return Tiling(lanes, tile, panels, outside, shapes, first, blocks, packed, across=across, pieces=pieces)


def _pieces(reduced: tuple[int, ...], first: int, chunk: int) -> tuple[int, int] | None:
    """Where chains of `chunk` indices of the axis `first` are interrupted: see `Tiling.pieces`."""
    axis = first
    while axis < len(reduced) - 1 and math.prod(reduced[axis + 1 :]) > PIECE_TERMS:
        axis += 1
    extent = chunk if axis == first else reduced[axis]
    count = max(PIECE_TERMS // math.prod(reduced[axis + 1 :]), 1)
    count = -(-extent // -(-extent // count))  # as even as possible
    return None if axis == first and count >= chunk else (axis, count)
