"""What is computed where it is used: cheap values of a product's result that reductions, or kernels behind them, read.

An elementwise operation joins the epilogue of the product whose result it reads. Its result then has to be stored if
something else needs it, and the epilogue of a normalisation's backward pass would store four arrays where one, the
product itself or the gradient that follows from it, says it all. Each such user gets a copy of its own instead, with
the same bits.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ops.base import primitive
from .canonical import CONVOLUTIONS, MOVEMENTS, Item
from .kernel import TRANSCENDENTAL
from .recompute import (
    CHEAP,
    HEAVY,
    LATE,
    LEAST_BYTES,
    example_bytes,
    is_reduction,
    ordered,
    shown,
    stored_bytes,
    times,
)

#: operations that a copy may take, and large operands that it may read
MOST_OPERATIONS, MOST_READ = 4, 3
#: results of an epilogue that others read, from which on it pays to store the product itself for them all
MANY = 3


def compute_at_use(items: list[Item], outputs: list[Item]) -> list[Item]:
    """`items`, operands first, with copies of what epilogues would store for others."""
    if any(item.kind == "bmm" for item in items):
        items = _of_products(items, outputs)
    if any(item.kind == "bmm" or item.kind in CONVOLUTIONS for item in items):
        items = _of_results(items, outputs)
    return items


def _of_products(items: list[Item], outputs: list[Item]) -> list[Item]:
    """With copies that read the product itself."""
    search = _Search(items, outputs)
    wanted: dict[int, list[tuple[Item, list[Item]]]] = {}  # by product: what is stored of it, and how it is computed
    for item in items:
        if search.leaves_epilogue(item):
            found = search.from_product(item)
            if found is not None:
                wanted.setdefault(id(found[0]), []).append((item, found[1]))
    changed = False
    for product, results in wanted.items():
        if product in search.stored or len(results) >= MANY:
            changed = True
            for item, chain in results:
                for view, reader in search.outside(item):
                    copy = _copied(chain, view.shape)
                    reader.inputs = tuple(copy if x is view else x for x in reader.inputs)
    return ordered(items, outputs) if changed else items


def _of_results(items: list[Item], outputs: list[Item]) -> list[Item]:
    """With copies that read what of the epilogue of a product or a convolution is stored for others anyway."""
    search = _Search(items, outputs)
    stored = set(search.needed)
    depth: dict[int, int] = {}  # products, convolutions and reductions that an item needs one after another
    anchors: dict[int, Item | None] = {}  # the product or convolution of whose epilogue an item is
    for item in items:
        heavy = item.kind in HEAVY or is_reduction(item)
        depth[id(item)] = level = max((depth[id(x)] for x in item.inputs), default=0) + heavy
        before = (anchors[id(x)] for x in item.inputs if _is_elementwise(item) and depth[id(x)] == level)
        multiplies = item.kind == "bmm" or item.kind in CONVOLUTIONS
        anchors[id(item)] = item if multiplies else next(filter(None, before), None)
    found: list[tuple[Item, Item, Item]] = []
    for item in items:
        if item.kind in MOVEMENTS or len(item.shape) < 2 or example_bytes(item) < LEAST_BYTES:
            continue
        anchor, level = anchors[id(item)], depth[id(item)]
        readers = [user for user in search.users[id(item)] if anchor is None or anchors[id(user)] is not anchor]
        behind = [user for user in readers if user.kind == "sum" or _is_elementwise(user)]
        matrix = anchor is not None and anchor.kind == "bmm"
        behind = [user for user in behind if depth[id(user)] > level and (matrix or anchors[id(user)] is None)]
        chain = None
        if _is_simple(item) and id(item) not in search.needed and len(behind) == len(readers) > 0:
            chain = search.from_stored(item, stored)
        if chain is not None:
            found += [(reader, item, _copied(chain, item.shape)) for reader in behind]
        elif anchor is not None and readers:
            stored.add(id(item))
    for reader, item, copy in found:
        reader.inputs = tuple(copy if x is item else x for x in reader.inputs)
    return ordered(items, outputs) if found else items


class _Search:
    """What is read from memory by whom."""

    def __init__(self, items: list[Item], outputs: list[Item]):
        self.time = times(items)
        self.place = {id(item): place for place, item in enumerate(items)}  # copies have no index yet
        self.users: dict[int, list[Item]] = {id(item): [] for item in items}
        self.needed = {id(shown(item)) for item in outputs} | {id(item) for item in outputs}
        self.stored = set(self.needed)  # with products that are reduced
        for user in items:
            for operand in user.inputs:
                self.users[id(operand)].append(user)
                if user.kind not in MOVEMENTS and not _is_elementwise(user):
                    self.stored.add(id(shown(operand)))
                    if not is_reduction(user):
                        self.needed.add(id(shown(operand)))

    def outside(self, item: Item) -> list[tuple[Item, Item]]:
        """The readers of an item that are not in the epilogue that computes it, each with the view that it reads."""
        found = []
        for user in self.users[id(item)]:
            if is_reduction(user):
                found.append((item, user))
            elif user.kind == "reshape":
                found += [(user, reader) for reader in self.users[id(user)]]
        return found

    def leaves_epilogue(self, item: Item) -> bool:
        """Whether an item is stored for nothing but reductions and elementwise operations in another shape."""
        if not _is_simple(item) or id(item) in self.needed or example_bytes(item) < LEAST_BYTES:
            return False
        readers = self.outside(item)
        alike = all(view.shape[-1:] == item.shape[-1:] for view, _ in readers)
        return bool(readers) and alike and all(is_reduction(user) or _is_elementwise(user) for _, user in readers)

    def from_product(self, item: Item) -> tuple[Item, list[Item]] | None:
        """A product, and the few cheap items that lead from it and from what lies in memory to `item`, operands first.

        None if that is not how it is computed.
        """
        found = self._chain(
            item, lambda x: x.kind in ("bmm", "leaf") or id(x) in self.needed or self._is_early(x, item)
        )
        if found is None:
            return None
        products = [x for x in found[1] if x.kind == "bmm" and not self._is_early(x, item)]
        return (products[0], found[0]) if len(products) == 1 else None

    def from_stored(self, item: Item, stored: set[int]) -> list[Item] | None:
        """The few cheap items that lead to `item` from what is stored, operands first; None if others do."""
        found = self._chain(
            item,
            lambda x: x.kind == "leaf" or id(x) in stored or (self._is_early(x, item) and not _is_simple(x)),
        )
        return None if found is None else found[0]

    def _is_early(self, x: Item, item: Item) -> bool:
        """Whether `x` was made long before `item`, and so lies in memory."""
        return self.time[id(item)] - self.time[id(x)] > LATE

    def _chain(self, item: Item, is_read: Callable[[Item], bool]) -> tuple[list[Item], list[Item]] | None:
        """The items that lead to `item` from large ones that are read, operands first, and these; None if too many."""
        large = example_bytes(item) // 8
        inside: dict[int, Item] = {}
        read: dict[int, Item] = {}
        stack = [item]
        while stack:
            x = stack.pop()
            if id(x) in inside:
                continue
            inside[id(x)] = x
            if len(inside) > MOST_OPERATIONS:
                return None
            for operand in x.inputs:
                source = operand.inputs[0] if operand.kind == "reshape" else operand
                if stored_bytes(operand) <= large:
                    continue
                if is_read(shown(operand)):
                    read[id(shown(operand))] = shown(operand)
                elif _is_simple(source):
                    stack.append(source)
                else:
                    return None
        if len(read) > MOST_READ:
            return None
        return sorted(inside.values(), key=lambda x: self.place[id(x)]), [*read.values()]


def _is_elementwise(item: Item) -> bool:
    return item.op is not None and item.op.family == "elementwise"


def _is_simple(item: Item) -> bool:
    return item.kind in CHEAP and item.kind not in TRANSCENDENTAL and _is_elementwise(item)


def _copied(chain: list[Item], shape: tuple[int, ...]) -> Item:
    """A copy of the last item, and of those before it, in another shape."""
    copies: dict[int, Item] = {}

    def shaped(x: Item) -> Item:
        source = x.inputs[0] if x.kind == "reshape" else x
        if id(source) in copies:
            return copies[id(source)]
        if x.shape == shape or source.shape == shape:
            return x if x.shape == shape else source
        if x.kind in ("full", "scalar"):
            same = Item(x.kind, None, (), shape, x.dtype)
            same.value, same.number, same.node = x.value, x.number, x.node
            return same
        view = Item("reshape", primitive("reshape", (shape,)), (x,), shape, x.dtype)
        view.node = x.node
        return view

    for item in chain:
        copy = Item(item.kind, item.op, tuple(map(shaped, item.inputs)), shape, item.dtype)
        copy.node, copy.value, copy.own = item.node, item.value, True
        copies[id(item)] = copy
    return copies[id(chain[-1])]
