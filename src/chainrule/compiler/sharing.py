"""Memory inside a task: values of a chain of kernels that one chunk of rows after another passes through.

All kernels of a task run on one chunk before the next, so that to the plan all its buffers live at the same time. But
where every kernel that touches two buffers works row by row, the rows of a chunk are all that matters: a buffer may lie
exactly where another one lies whose last kernel comes before its first, if their rows have the same length, or is its
first, if that is a map that replaces each element. In the same way a value may lie in the buffer of a result that
replaces it, so that a chunk of rows that leaves the cache is written once.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lowering import Buffer, Step
    from .schedule import Region


def shared_places(regions: list[Region], buffers: dict[int, Buffer]) -> dict[int, int]:
    """For each arena buffer that takes another's place, the number of the first buffer there."""
    home = _homes(regions)
    place: dict[int, int] = {}
    number = 0
    for region in regions:
        for task in region.tasks:
            number += 1
            first: dict[int, int] = {}
            last: dict[int, int] = {}
            rows: dict[int, int] = {}
            for position, step in enumerate(task.steps):
                for b in sorted(step.reads | step.writes):
                    if home[b] == number and b in buffers and buffers[b].kind == "arena":
                        first.setdefault(b, position)
                        last[b] = position
                        rows[b] = step.row_elements[b] * buffers[b].dtype.itemsize
            # (bytes, of a row) -> heap of (last use, first buffer, last buffer)
            free: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
            for b in sorted(first, key=lambda b: (first[b], b)):
                known = free.setdefault((buffers[b].bytes, rows[b]), [])
                begin = first[b]
                step = task.steps[begin]
                skipped = []
                while known and known[0][0] <= begin:
                    found = heappop(known)
                    if found[0] < begin or _replaces(step, found[2], b):
                        place[b] = found[1]
                        break
                    skipped.append(found)
                for entry in (*skipped, (last[b], place.get(b, b), b)):
                    heappush(known, entry)
    return place


def _homes(regions: list[Region]) -> dict[int, int]:
    """For each buffer the number of its task, -1 if there are several, or one that is not row by row."""
    home: dict[int, int] = {}
    number = 0
    for region in regions:
        for task in region.tasks:
            number += 1
            for step in task.steps:
                for b in step.reads | step.writes:
                    inside = len(task.steps) > 1 and step.row_elements.get(b, 0) > 0 and home.get(b, number) == number
                    home[b] = number if inside else -1
    return home


def _replaces(step: Step, old: int, new: int) -> bool:
    """Whether a step is a map that writes an element of `new` where it has read the same one of `old`."""
    kernel = step.kernel
    if kernel is None or kernel.kind != "map" or kernel.static or old in step.writes or new in step.reads:
        return False
    if step.row_elements.get(old) != step.row_elements.get(new):
        return False
    if any(i[0] == "take" and kernel.accesses[i[1]].buffer == old for i in kernel.body.code):
        return False
    places = {(a.offset, a.strides, a.dtype.name) for a in kernel.accesses if a.buffer in (old, new)}
    return len(places) == 1


def replaced_by_results(regions: list[Region], arena: dict[int, Buffer], results: dict[int, Buffer]) -> dict[int, int]:
    """Arena buffers that may lie in the buffer of one of `results`, whose elements replace theirs."""
    home = _homes(regions)
    writers: dict[int, list[Step]] = {}
    last: dict[int, Step] = {}
    for region in regions:
        for step in region.steps():
            last |= dict.fromkeys(step.reads | step.writes, step)
            for b in step.writes & results.keys():
                writers.setdefault(b, []).append(step)
    found: dict[int, int] = {}
    for b, steps in writers.items():
        for old in sorted(steps[0].reads & arena.keys()):
            same = arena[old].bytes == results[b].bytes and home[old] == home[b] > 0
            if same and len(steps) == 1 and last[old] is steps[0] and _replaces(steps[0], old, b):
                found[old] = b
                break
    return found
