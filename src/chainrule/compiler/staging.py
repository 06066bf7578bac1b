"""Results of convolutions that are wanted in another order of axes than they are computed in: they are turned.

A register tile has vectors of channels, or of positions. Where these are far apart each lane would be stored by itself,
several times slower than storing the vectors and copying them in blocks that are transposed in registers.
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
def turned(lowering: Lowering, group: Group, axis: int) -> Iterator[None]:
    """Inside, what `group` stores has `axis`, 1 or -1, innermost; afterwards it is copied to where it belongs."""
    assert group.anchor is not None
    staged = []
    for item in (group.anchor, *group.items):
        own, rank = lowering.views[item], len(item.shape)
        if item.index not in lowering.stored or math.prod(item.shape) < ENOUGH:
            continue
        if own.base is not item or item.shape[axis] == 1 or own.strides[axis] == 1:
            continue
        order = (0, *range(2, rank), 1) if axis == 1 else tuple(range(rank))
        layout = Layout(item.shape, order, (0,) * rank, (0,) * rank)
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
        label = "channels second" if axis == 1 else "channels last"
        lowering.add_map(bodies, Body([("load", source)], [(0, place)]), item.shape, label)
