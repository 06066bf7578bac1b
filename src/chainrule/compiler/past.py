"""Results that are written past the caches: large ones, which are not in a cache any more when they are read again.

A line that is written whole need not be read before, which is a third of what a copy moves, and drives nothing out.
"""

from __future__ import annotations

import math

from .kernel import LANES, LINE, Kernel
from .lowering import Step

#: bytes of a result from which on none of it is in a cache when it is read again
FAR = 16 << 20


def write_past(steps: list[Step]) -> None:
    """Let the maps of a task write large results past the caches, if no other kernel of the task touches them."""
    for step in steps:
        kernel = step.kernel
        if kernel is None or not kernel.baked or not (kernel.stages or kernel.kind == "map"):
            continue
        others = set().union(*(other.reads | other.writes for other in steps if other is not step))
        kernel.past = tuple(n for n in _results(kernel) if kernel.accesses[n].buffer not in others)
        kernel.past = tuple(n for n in kernel.past if _streams(kernel, n))


def _results(kernel: Kernel) -> list[int]:
    """The accesses that a kernel stores, along rows if it is a chain in step, of buffers that it does not read."""
    walks = [walk for walk in kernel.stages or (kernel,) if not walk.for_each_row]
    stored = [n for walk in walks if walk.kind == "map" for _, n in walk.body.stores]
    bodies = [body for walk in kernel.stages or (kernel,) for body in (walk.inner, walk.body)]
    read = {kernel.accesses[i[1]].buffer for body in bodies for i in body.code if i[0] in ("load", "take")}
    buffers = [kernel.accesses[n].buffer for body in bodies for _, n in body.stores]
    once = {buffer for buffer in buffers if buffers.count(buffer) == 1} - read
    return sorted(n for n in set(stored) if kernel.accesses[n].buffer in once)


def _streams(kernel: Kernel, number: int) -> bool:
    """Whether a large result is written in whole cache lines along the vectors, if it begins with one."""
    access, along = kernel.accesses[number], kernel.vector
    line = LINE // access.dtype.itemsize
    if LANES % line or access.dtype.kind == "b" or access.strides[along] != 1 or access.offset % line:
        return False
    rows = [size for axis, size in enumerate(kernel.sizes) if access.strides[axis] or axis == along]
    if math.prod(rows) * access.dtype.itemsize < FAR:
        return False
    return all(stride % line == 0 for axis, stride in enumerate(access.strides) if axis != along)
