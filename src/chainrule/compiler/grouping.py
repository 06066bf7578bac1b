"""Fusion: which items one kernel computes together.

Walking the items in order, an elementwise item joins the group of one of its operands with the same
iteration space, or several such groups merge, unless that would make two groups need each other. A reduction or a
contraction opens a group, whose epilogue later elementwise items join; a reduction takes in the elementwise group that
feeds it if it is along the last axes, or if it keeps the last axis ("down columns") and nothing else needs that group.

Groups are opened in stretches: nothing joins a group of an earlier stretch, which so needs no group of a later one.
What needs what has to be known within a stretch only, and the time is linear in the number of items.
"""

from __future__ import annotations

import math

from .attention import KINDS
from .canonical import Item
from .kernel import LANES, TRANSCENDENTAL
from .recompute import LEAST_BYTES, example_bytes
from .trees import reduction_tree
from .views import Views

REDUCTIONS = frozenset(("sum", "prod", "max", "min", "any", "all", "argmax", "argmin"))
SCATTERS = frozenset(("scatter_add", "scatter_add_along"))
#: elementwise kinds are those of no other class; "copy" is the identity, for operands and results that need a buffer
ASSEMBLED = frozenset(("concat", "pad"))
#: how many first operands an elementwise kind reads at other points than its own
GATHERED = {"take": 2, "take_along": 1, "random_bits": 1}
#: items that each place of a window computes at most, where windows are added up
MAXIMUM_FOLDED = 12
#: nanoseconds of an element: of most operations, of storing and reading it, and of operations that take longer
OPERATION_NS, STORING_NS = 0.01, 0.15
SLOW_NS = dict.fromkeys(TRANSCENDENTAL, 0.2) | {"random_bits": 2.0, "remainder": 0.1, "sqrt": 0.1, "rsqrt": 0.1}
SLOW_NS |= {"div": 0.05, "reciprocal": 0.05}
#: results of a reduction down columns below which threads had better share hard operations of what it reads
FEW_RESULTS = 128
#: items in one group at most: a longer chain is cut, which bounds code size and registers
MAXIMUM_ITEMS = 96
#: groups after which one is no longer recent
RECENT = 12
#: groups in a stretch
STRETCH = 512


class Group:
    """Items computed by one kernel. `anchor` is a reduction, contraction or other non-elementwise item."""

    __slots__ = ("ancestors", "anchor", "deps", "index", "items", "kind", "latest", "needed", "prologue", "shape")

    def __init__(self, index: int, kind: str, shape: tuple[int, ...], anchor: Item | None):
        self.index = index
        self.kind = kind  # "map", "reduce", "bmm", "scatter", "assemble", "copy", "host"
        self.shape = shape
        self.anchor = anchor
        self.items: list[Item] = []  # elementwise items after the anchor
        self.prologue: list[Item] = []  # elementwise items before the anchor of a reduction
        self.deps: set[int] = set()
        self.needed = False  # whether another group may have this one among its ancestors
        self.latest = index  # how many groups there were when something joined
        self.ancestors = 0  # bit set of all groups of its stretch that this one needs, directly or not


class Grouping:
    """Groups of all items, in an order that respects dependencies after `ordered`."""

    def __init__(self, items: list[Item], views: Views, outputs: list[Item], fuse_products: bool = True):
        self.views = views
        self._fuse_products = fuse_products
        self.groups: list[Group | None] = []
        self.of: dict[int, Group] = {}
        self._first = 0  # of the stretch
        self._outputs = {item.index for item in outputs}
        for item in items:
            if len(self.groups) - self._first >= STRETCH:
                self._first = len(self.groups)
            self._place(item)

    def _place(self, item: Item) -> None:
        kind = item.kind
        if kind in ("leaf", "full", "scalar", "iota"):
            return
        if item.index in self.views.copied:
            self._open("copy", item.inputs[0].shape, item)
        elif self.views[item].base is not item:
            return
        elif kind in REDUCTIONS:
            self._reduction(item)
        elif kind in ("bmm", "convolution", "convolution_input_grad"):
            self._open("bmm", item.shape, item)
        elif kind == "convolution_weight_grad":
            self._open("weights", item.shape, item)
        elif kind == "loop":
            self._open("loop", item.shape, item)
        elif kind in KINDS:
            self._open("attention", item.shape, item)
        elif kind == "part":
            self.of[item.index] = self.of[item.inputs[0].index]
        elif kind in SCATTERS:
            self._open("scatter", item.shape, item)
        elif kind == "csr_matmul":
            self._open("csr", item.shape, item)
        elif kind == "host":
            self._open("host", item.shape, item)
        elif kind == "fold":
            self._fold(item)
        elif kind in ASSEMBLED:
            self._open("assemble", item.shape, item)
        else:
            self._elementwise(item)

    def sources(self, item: Item) -> list[Group]:
        """The groups that compute the operands of `item`."""
        found = []
        for operand in item.inputs:
            group = self.of.get(self.views[operand].base.index)
            if group is not None and group not in found:
                found.append(group)
        return found

    def _open(self, kind: str, shape: tuple[int, ...], anchor: Item | None) -> Group:
        group = Group(len(self.groups), kind, shape, anchor)
        self.groups.append(group)
        if anchor is not None:
            self.of[anchor.index] = group
            self._depend(group, self.sources(anchor))
        return group

    def _is_open(self, group: Group) -> bool:
        """Whether a group belongs to the present stretch."""
        return group.index >= self._first

    def _bit(self, group: Group) -> int:
        """The place of a group of this stretch in a bit set."""
        return 1 << (group.index - self._first)

    def _stretch(self) -> list[Group]:
        return [group for group in self.groups[self._first :] if group is not None]

    def _depend(self, group: Group, needed: list[Group]) -> None:
        added = 0
        for other in needed:
            if other is not group:
                group.deps.add(other.index)
                other.needed = True
                if self._is_open(other):
                    added |= other.ancestors | self._bit(other)
        self._inherit(group, added)

    def _inherit(self, group: Group, added: int) -> None:
        if added & ~group.ancestors:
            group.ancestors |= added
            bit = self._bit(group)
            for other in self._stretch() if group.needed else ():
                if other.ancestors & bit:
                    other.ancestors |= added

    def _elementwise(self, item: Item) -> None:
        sources = self.sources(item)
        direct = []
        for operand in item.inputs:
            group = self.of.get(operand.index)
            if group is not None and group not in direct and self._joinable(group, item) and self._is_near(group, item):
                direct.append(group)
        direct.sort(key=lambda g: -g.index)
        able = [g for g in direct if self._reads_aligned(item, g) and not any(self._needs(o, g) for o in sources)]
        chosen = min(able, key=lambda g: self._waits(g, sources)) if able else self._open("map", item.shape, None)
        self._depend(chosen, sources)
        chosen.items.append(item)
        chosen.latest = len(self.groups)
        self.of[item.index] = chosen
        for other in direct:
            if other is not self.of[item.index]:
                self._merge(self.of[item.index], other)

    def _waits(self, group: Group, sources: list[Group]) -> int:
        """How many groups of this stretch a group, and what needs it, would have to wait for with these in addition."""
        needed = group.ancestors | self._bit(group)
        for other in sources:
            if self._is_open(other):
                needed |= other.ancestors | self._bit(other)
        return (needed & ~(group.ancestors | self._bit(group))).bit_count()

    def _needs(self, other: Group, group: Group) -> bool:
        """Whether `other` needs `group`, which is of this stretch, directly or not."""
        return other is not group and self._is_open(other) and bool(other.ancestors & self._bit(group))

    def _is_near(self, group: Group, item: Item) -> bool:
        """Whether a group is recent: what a later use asks of an old value is computed there, not kept until then."""
        return len(self.groups) - group.latest <= RECENT or example_bytes(item) < LEAST_BYTES

    def _joinable(self, group: Group, item: Item) -> bool:
        if group.shape != item.shape or len(group.items) >= MAXIMUM_ITEMS or group.kind not in ("map", "reduce", "bmm"):
            return False
        if not self._is_open(group):
            return False
        if group.kind == "bmm" and (item.own or not self._fuse_products):
            return False
        last = group.anchor
        if group.kind == "reduce" and last is not None and last.inputs[0].kind == "convolution_weight_grad":
            return False  # its channels are last, those of the weights that are updated first
        return group.kind == "map" or last is None or last.shape == item.shape

    def _reads_aligned(self, item: Item, group: Group) -> bool:
        """Whether everything that `item` reads of `group` is there, at the same point, when the epilogue runs."""
        gathered = GATHERED.get(item.kind, 0)
        for number, operand in enumerate(item.inputs):
            base = self.views[operand].base
            if self.of.get(base.index) is not group:
                continue
            if number < gathered or base is not operand or operand.shape != item.shape:
                return False
            if base is not group.anchor and base not in group.items:
                return False
        return True

    def _merge(self, a: Group, b: Group) -> None:
        """Make one group of two with the same space, if neither needs the other through a third."""
        if a.kind != "map" and b.kind != "map":
            return
        if len(a.items) + len(b.items) > MAXIMUM_ITEMS:
            return
        keep, gone = (a, b) if b.kind == "map" else (b, a)
        if self._between(keep, gone) or self._between(gone, keep) or self._opens_with(keep, gone):
            return
        if not all(self._reads_aligned(i, gone) for i in keep.items) or not all(
            self._reads_aligned(i, keep) for i in gone.items
        ):
            return
        keep.items = sorted(keep.items + gone.items, key=lambda item: item.index)
        for item in gone.items:
            self.of[item.index] = keep
        keep.deps |= gone.deps
        keep.deps.discard(gone.index)
        keep.deps.discard(keep.index)
        gone_bit, keep_bit = self._bit(gone), self._bit(keep)
        self.groups[gone.index] = None
        added = (keep.ancestors | gone.ancestors) & ~(gone_bit | keep_bit)
        keep.ancestors = added
        keep.needed |= gone.needed
        for other in self._stretch() if keep.needed else ():
            if other is keep:
                continue
            if gone.index in other.deps:
                other.deps.discard(gone.index)
                other.deps.add(keep.index)
            if other.ancestors & (gone_bit | keep_bit):
                other.ancestors = (other.ancestors & ~gone_bit) | keep_bit | added

    def _opens_with(self, group: Group, other: Group) -> bool:
        """Whether the anchor or prologue of `group` reads what `other` computes."""
        first = group.prologue + ([group.anchor] if group.anchor is not None else [])
        return any(self.of.get(self.views[o].base.index) is other for item in first for o in item.inputs)

    def _between(self, low: Group, high: Group) -> bool:
        """Whether `high` needs `low` through a third group."""
        needed = (self.groups[number] for number in high.deps)
        return any(other is not None and self._needs(other, low) for other in needed)

    def _reduction(self, item: Item) -> None:
        x = item.inputs[0]
        feeding = self.of.get(x.index)
        absorbed = feeding is not None and self._absorbs(item, x, feeding)
        group = self._open("reduce", item.shape, item)
        if absorbed:
            assert feeding is not None
            self._take_in(group, feeding)

    def _take_in(self, group: Group, feeding: Group) -> None:
        """Let `group`, which only `feeding` feeds, compute that as well."""
        group.prologue = feeding.items
        for inner in feeding.items:
            self.of[inner.index] = group
        group.deps = set(feeding.deps)
        group.ancestors = feeding.ancestors
        self.groups[feeding.index] = None
        old, new = self._bit(feeding), self._bit(group)
        group.needed = feeding.needed
        for other in self._stretch() if feeding.needed else ():
            if other is not group and other.ancestors & old:
                other.ancestors = (other.ancestors & ~old) | new | group.ancestors
                if feeding.index in other.deps:
                    other.deps.discard(feeding.index)
                    other.deps.add(group.index)

    def _fold(self, item: Item) -> None:
        x = item.inputs[0]
        feeding = self.of.get(x.index)
        group = self._open("fold", item.shape, item)
        if feeding is None or feeding.kind != "map" or feeding.shape != x.shape or len(feeding.items) > MAXIMUM_FOLDED:
            return
        if not self._is_open(feeding):
            return
        plain = not any(inner.kind in GATHERED or inner.kind == "check_index" for inner in feeding.items)
        if plain and self._serves_only(feeding, item):
            self._take_in(group, feeding)

    def _absorbs(self, item: Item, x: Item, feeding: Group) -> bool:
        if feeding.kind != "map" or feeding.shape != x.shape or item.kind in ("argmax", "argmin"):
            return False
        if not self._is_open(feeding):
            return False
        axes = item.op.axes  # type: ignore[union-attr]
        if all(inner.own for inner in feeding.items):
            return self._serves_only(feeding, item)
        last = len(x.shape) - 1
        if not axes or last in axes:
            if axes != tuple(range(len(x.shape) - len(axes), len(x.shape))):
                return False
            if len(axes) < len(x.shape):
                return True
        elif not self._lies_along(feeding, x.shape[-1], math.prod(item.shape)):
            return False
        return self._serves_only(feeding, item)

    def _lies_along(self, feeding: Group, columns: int, results: int) -> bool:
        """Whether vectors along the last axis, of `columns` elements, suit a group that a reduction may take in.

        Operands that lie along another axis are read faster by a kernel that transposes blocks. Lanes that the columns
        leave idle must not cost more than storing what the group computes, nor threads be left without hard work.
        """
        for item in feeding.items:
            for operand in item.inputs[GATHERED.get(item.kind, 0) :]:
                view = self.views[operand]
                if self.of.get(view.base.index) is not feeding and view.strides and view.strides[-1] not in (0, 1):
                    return False
        kinds = [item.kind for item in feeding.items]
        if not results or (results < FEW_RESULTS and not TRANSCENDENTAL.isdisjoint(kinds)):
            return False
        cost = sum(SLOW_NS.get(kind, OPERATION_NS) for kind in kinds)
        idle = -(-columns // LANES) * LANES / columns - 1
        return cost * idle < STORING_NS

    def _serves_only(self, feeding: Group, item: Item) -> bool:
        """Whether nothing but `item` needs what a group computes."""
        inside = {inner.index for inner in feeding.items} | {item.index}
        return all(user.index in inside for inner in feeding.items for user in inner.users) and not (
            self._outputs & inside - {item.index}
        )

    def live(self) -> list[Group]:
        """The groups, operands first."""
        done: set[int] = set()
        order: list[Group] = []
        stack: list[tuple[int, bool]] = [(g.index, False) for g in reversed(self.groups) if g is not None]
        while stack:
            number, expanded = stack.pop()
            group = self.groups[number]
            if group is None or number in done:
                continue
            if expanded:
                done.add(number)
                order.append(group)
                continue
            stack.append((number, True))
            stack.extend((d, False) for d in sorted(group.deps, reverse=True) if d not in done)
        return order


def tree_of(item: Item) -> tuple[int, int]:
    """Lanes and block of a reduction item (see trees.py)."""
    x = item.inputs[0]
    axes = (item.op.axis,) if item.kind in ("argmax", "argmin") else item.op.axes  # type: ignore[union-attr]
    return reduction_tree(x.shape, axes)
