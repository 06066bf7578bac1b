"""Adding up overlapping windows, each element of the result once.

Position p of the result is reached by the places k of a window with ``p = o * stride + k * dilation``. Which they are
depends on the remainder of p by the stride, and, near the ends, on where windows begin and end: along every axis the
positions fall into a few ranges, for each of which the places are a static list. A product of ranges is one map, which
adds up what lies there in row-major order of the places, computed on the spot if elementwise items feed it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..dtypes import int64
from ..ops.base import primitive
from .canonical import Item
from .elements import Bodies
from .grouping import Group
from .kernel import Body

if TYPE_CHECKING:
    from .lowering import Lowering


class Range(NamedTuple):
    """Positions ``first, first + stride, ...`` of an axis, and the (place, window at the first one) that reach them."""

    first: int
    extent: int
    reached: tuple[tuple[int, int], ...]


def ranges(extent: int, windows: int, size: int, stride: int, dilation: int) -> list[Range]:
    """The ranges of an axis; together they are all its positions."""
    result = []
    for first in range(min(stride, extent)):
        count = -(-(extent - first) // stride)
        places = [k for k in range(size) if (first - k * dilation) % stride == 0]
        moves = {k: (first - k * dilation) // stride for k in places}  # the window of the first position, may be < 0
        ends = {0, count}
        for move in moves.values():
            ends |= {min(max(-move, 0), count), min(max(windows - move, 0), count)}
        cuts = sorted(ends)
        for begin, end in itertools.pairwise(cuts):
            reached = tuple((k, begin + moves[k]) for k in places if 0 <= begin + moves[k] < windows)
            result.append(Range(first + begin * stride, end - begin, reached))
    return result


def lower_fold(lowering: Lowering, group: Group) -> None:
    """Add the maps of a `fold`, with the elementwise items that feed it."""
    item = group.anchor
    assert item is not None
    if 0 in item.shape:
        return
    op: Any = item.op
    y, count = item.inputs[0], len(op.spatial)
    lead = len(item.shape) - count
    windows, sizes = y.shape[lead : lead + count], y.shape[lead + count :]
    target, view = lowering.buffer(item), lowering.views[item]
    steps = (*view.strides[:lead], *(s * stride for s, stride in zip(view.strides[lead:], op.strides)))
    axes = [ranges(*each) for each in zip(op.spatial, windows, sizes, op.strides, op.dilations)]
    largest = max(math.prod(r.extent for r in box) for box in itertools.product(*axes))
    for box in itertools.product(*axes):
        shape = (*item.shape[:lead], *(r.extent for r in box))
        bodies = Bodies(lowering, shape, [])
        taps = _Taps(lowering, bodies, group.prologue, lead)
        total = taps.push("const", 0, item.dtype)
        for places in itertools.product(*(r.reached for r in box)):
            taken = taps.at(y, tuple(o for _, o in places), tuple(k for k, _ in places))
            total = taps.push("op", primitive("add"), (total, taken), item.dtype)
        offset = view.offset + sum(r.first * s for r, s in zip(box, view.strides[lead:]))
        taps.body.stores.append((total, bodies.access(target.number, item.dtype, offset, steps)))
        small = math.prod(r.extent for r in box) * 8 < largest  # the code of borders is the same for many shapes
        label = lowering.label([*group.prologue, item])
        lowering.add_map(bodies, taps.body, shape, label, baked=False if small else None)


@dataclass(slots=True)
class _Place:
    """Windows of the first position, and places in the window."""

    windows: tuple[int, ...]
    places: tuple[int, ...]


class _Taps:
    """The code of one map: what goes into the sum from each place of the windows."""

    def __init__(self, lowering: Lowering, bodies: Bodies, prologue: list[Item], lead: int):
        self._lowering = lowering
        self._bodies = bodies
        self._prologue = prologue
        self._lead = lead
        self._known: dict[tuple, int] = {}
        self.body = Body()

    def push(self, *instruction: Any) -> int:
        self.body.code.append(instruction)
        return len(self.body.code) - 1

    def at(self, item: Item, windows: tuple[int, ...], places: tuple[int, ...]) -> int:
        """The value of an item with the shape of the windows, where the iteration starts at `windows`."""
        here: dict[int, int] = {}
        place = _Place(windows, places)
        for inner in self._prologue:
            ids = tuple(self._operand(operand, here, place) for operand in inner.inputs)
            here[inner.index] = ids[0] if inner.kind == "copy" else self.push("op", inner.op, ids, inner.dtype)
        return self._operand(item, here, place)

    def _operand(self, item: Item, here: dict[int, int], place: _Place) -> int:
        if item.index in here:
            return here[item.index]
        if item.kind == "full":
            return self._once(("full", repr(item.value), item.dtype.name), "const", item.value, item.dtype)
        if item.kind == "scalar":
            key = ("scalar", item.number)
            if key not in self._known:
                self._known[key] = self.push("scalar", self._bodies.argument(item.number), item.dtype)
            return self._known[key]
        view = self._lowering.views[item]
        lead, middle = self._lead, self._lead + len(place.places)
        moves = zip((*view.strides[lead:middle], *view.strides[middle:]), (*place.windows, *place.places))
        offset = view.offset + sum(stride * n for stride, n in moves)
        strides = view.strides[:middle]
        if view.base.kind != "iota":
            number = self._lowering.buffer(view.base).number
            access = self._bodies.access(number, view.base.dtype, offset, strides)
            return self._once(("load", access), "load", access)
        if not any(strides):
            return self._once(("full", repr(offset), item.dtype.name), "const", offset, item.dtype)
        access = self._bodies.access(0, int64, offset, strides)
        index = self._once(("index", access), "index", access)
        if item.dtype is int64:
            return index
        return self._once(("cast", access), "op", primitive("cast", (item.dtype,)), (index,), item.dtype)

    def _once(self, key: tuple, *instruction: Any) -> int:
        if key not in self._known:
            self._known[key] = self.push(*instruction)
        return self._known[key]
