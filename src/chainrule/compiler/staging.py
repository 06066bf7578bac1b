"""Results of convolutions that are wanted in row-major order: computed with their channels last, then turned.

A register tile has vectors of channels. Where channels are far apart each lane would be stored by itself, several times
slower than storing the vectors and copying them in blocks that are transposed in registers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .elements import Bodies
from .grouping import Group
from .kernel import Body
from .views import Layout, View

if TYPE_CHECKING:
    from .lowering import Lowering

#: elements from which on a second kernel is worth while
ENOUGH = 4096


@contextmanager
def channels_last(lowering: Lowering, group: Group) -> Iterator[None]:
    """Inside, what `group` stores has its channels last; afterwards it is copied to where it belongs."""
    assert group.anchor is not None
    staged = []
    for item in (group.anchor, *group.items):
        own, rank = lowering.views[item], len(item.shape)
        if item.index not in lowering.stored or math.prod(item.shape) < ENOUGH:
            continue
        if own.base is not item or item.shape[1] == 1 or own.strides[1] == 1:
            continue
        layout = Layout(item.shape, (0, *range(2, rank), 1), (0,) * rank, (0,) * rank)
        target = lowering.buffer(item)
        buffer = lowering.new_buffer("arena", item.dtype, layout.allocated())
        lowering.place(item, View(item, 0, layout.strides()), buffer)
        staged.append((item, own, target, buffer, layout))
    yield
    for item, own, target, buffer, layout in staged:
        lowering.place(item, own, target)
        bodies = Bodies(lowering, item.shape, [])
        source = bodies.access(buffer.number, item.dtype, 0, layout.strides())
        place = bodies.access(target.number, item.dtype, own.offset, own.strides)
        lowering.add_map(bodies, Body([("load", source)], [(0, place)]), item.shape, "channels second")
