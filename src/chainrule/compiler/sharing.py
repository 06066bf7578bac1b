"""Memory inside a task: values of a chain of kernels that one chunk of rows after another passes through.

All kernels of a task run on one chunk before the next, so that to the plan all its buffers live at the same time. But
where every kernel that touches two buffers works row by row, the rows of a chunk are all that matters: a buffer may lie
exactly where another one lies whose last kernel comes before its first, if their rows have the same length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lowering import Buffer
    from .schedule import Region


def shared_places(regions: list[Region], buffers: dict[int, Buffer]) -> dict[int, int]:
    """For each arena buffer that takes another's place, the number of the first buffer there."""
    home: dict[int, int] = {}  # buffer -> its task, -1 if there are several or one that is not row by row
    number = 0
    for region in regions:
        for task in region.tasks:
            number += 1
            for step in task.steps:
                for b in step.reads | step.writes:
                    inside = len(task.steps) > 1 and step.row_elements.get(b, 0) > 0 and home.get(b, number) == number
                    home[b] = number if inside else -1
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
            free: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (bytes, of a row) -> (last use, first buffer)
            for b in sorted(first, key=lambda b: (first[b], b)):
                known = free.setdefault((buffers[b].bytes, rows[b]), [])
                found = min(known, default=None)
                if found is not None and found[0] < first[b]:
                    known.remove(found)
                    place[b] = found[1]
                known.append((last[b], place.get(b, b)))
    return place
