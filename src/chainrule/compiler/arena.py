"""Where the values of a program lie in its arena: buffers whose lives do not overlap share memory."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..alignment import ALIGNMENT
from .lowering import Buffer
from .sharing import shared_places

if TYPE_CHECKING:
    from .schedule import Region

#: bytes of an arena from which on other orders of placing buffers are tried
LARGE_ARENA = 1 << 20
#: buffers beyond which the search for the best place of each would take too long
MANY = 4096


class Arena(NamedTuple):
    """The offset of each buffer, the bytes of them all, and what the buffers would take without sharing."""

    offsets: dict[int, int]
    bytes: int
    total: int


def plan_arena(regions: list[Region], buffers: Sequence[Buffer]) -> Arena:
    """Places for those of `buffers` that are used and lie in the arena.

    First fit, large ones first; for a large arena those that live long, or begin early, first where that is better.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    time = 0
    for region in regions:
        for task in region.tasks:
            for step in task.steps:
                for number in step.reads | step.writes:
                    first.setdefault(number, time)
                    last[number] = time
            if not region.parallel and len(task.steps) > 0:
                time += 1
        time += 1
    arena = [b for b in buffers if b.kind == "arena" and b.number in first]
    total = sum(b.bytes for b in arena)
    shared = shared_places(regions, {b.number: b for b in arena})
    arena = [b for b in arena if b.number not in shared]
    spans = {b.number: (first[b.number], last[b.number]) for b in arena}
    if len(arena) > MANY:
        offsets, size = _swept(sorted(arena, key=lambda b: (spans[b.number], b.number)), spans)
    else:
        offsets, size = _placed(sorted(arena, key=lambda b: (-b.bytes, b.number)), spans)
    if size >= LARGE_ARENA and len(arena) <= MANY:
        others = (
            sorted(arena, key=lambda b: (spans[b.number][0] - spans[b.number][1], -b.bytes, b.number)),
            sorted(arena, key=lambda b: (spans[b.number], -b.bytes, b.number)),
            sorted(arena, key=lambda b: (-b.bytes * (1 + spans[b.number][1] - spans[b.number][0]), b.number)),
        )
        for order in others:
            tried, smaller = _placed(order, spans, size)
            if smaller < size:
                offsets, size = tried, smaller
    offsets.update({number: offsets[home] for number, home in shared.items()})
    return Arena(offsets, size, total)


def _swept(order: list[Buffer], spans: dict[int, tuple[int, int]]) -> tuple[dict[int, int], int]:
    """Offsets of buffers in the order of their first use, each where one of its size has lain, in linear time."""
    free: dict[int, list[int]] = {}
    living: list[tuple[int, int, int]] = []  # heap of (last use, size, offset)
    offsets: dict[int, int] = {}
    total = 0
    for buffer in order:
        size = _aligned(buffer)
        begin, end = spans[buffer.number]
        while living and living[0][0] < begin:
            _, room, offset = heappop(living)
            free.setdefault(room, []).append(offset)
        places = free.get(size)
        if places:
            offset = places.pop()
        else:
            offset = total
            total += size
        offsets[buffer.number] = offset
        heappush(living, (end, size, offset))
    return offsets, total


def _aligned(buffer: Buffer) -> int:
    """Bytes of a buffer in whole cache lines."""
    return -(-max(buffer.bytes, 1) // ALIGNMENT) * ALIGNMENT


def _placed(
    order: list[Buffer], spans: dict[int, tuple[int, int]], enough: int | None = None
) -> tuple[dict[int, int], int]:
    """Offsets of buffers that are placed one after another, each at the lowest place that is free while it lives.

    Ends before the last one when they take `enough` bytes.
    """
    lives = np.empty((4, len(order)), np.int64)  # first use, last use, offset and end of the buffers placed so far
    offsets: dict[int, int] = {}
    total = 0
    for count, buffer in enumerate(order):
        size = _aligned(buffer)
        begin, end = spans[buffer.number]
        placed = lives[:, :count]
        taken = placed[2:, (placed[0] <= end) & (placed[1] >= begin)]
        offset = _first_gap(taken[:, np.argsort(taken[0])], size)
        lives[:, count] = (begin, end, offset, offset + size)
        offsets[buffer.number] = offset
        total = max(total, offset + size)
        if enough is not None and total >= enough:
            break
    return offsets, total


def _first_gap(taken: np.ndarray, size: int) -> int:
    """The lowest offset at which `size` bytes are free, given (offsets, ends) in the order of offsets."""
    if not taken.shape[1]:
        return 0
    ends = np.maximum.accumulate(taken[1])
    fits = np.flatnonzero(taken[0] - np.concatenate(([0], ends[:-1])) >= size)
    if len(fits):
        return int(ends[fits[0] - 1]) if fits[0] else 0
    return int(ends[-1])
