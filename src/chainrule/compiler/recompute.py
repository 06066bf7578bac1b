"""What is computed again instead of being stored: cheap values that are needed long after they were made.

A backward pass asks for many values that cost one operation on something that is stored anyway: a difference from a
mean, a product with a scale. Keeping each takes memory, and writing and reading it takes longer than computing it.
Such an item gets a copy that belongs to its late users. Its bits are the same, wherever it is computed.
"""

from __future__ import annotations

import math
from itertools import accumulate

from .attention import KINDS
from .canonical import MOVEMENTS, Item
from .kernel import TRANSCENDENTAL
from .tiling import EXAMPLE_BATCH, SMALL_BATCH

#: operations that cost about as much as writing and reading their result
CHEAP = frozenset(
    "add sub mul div neg square abs maximum minimum relu where le lt ge gt eq ne logical_not cast pad "
    "erf exp tanh sigmoid".split()
)
#: products, convolutions and reductions between an item and a use of it that make the use a late one
LATE = 6
#: bytes below which an item is not worth it
LEAST_BYTES = 64 << 10
#: bytes from which on an item that lies in memory at any rate is made again for a late use
LARGE_BYTES = 512 << 10
#: operations that making an item again may take
LONGEST = 24
HEAVY = KINDS | frozenset(("bmm", "convolution", "convolution_input_grad", "convolution_weight_grad", "loop"))


def example_bytes(item: Item) -> int:
    """Bytes of an item; a small batch of vectors counts as the usual one, so that it finds the same kernels."""
    rows = item.shape[0] if item.shape else 1
    if len(item.shape) == 2 and SMALL_BATCH <= rows < EXAMPLE_BATCH:
        rows = EXAMPLE_BATCH
    return rows * math.prod(item.shape[1:]) * item.dtype.itemsize


def recompute_late(items: list[Item], outputs: list[Item]) -> list[Item]:
    """`items`, operands first, with copies of cheap ones in front of their late users."""
    time = times(items)
    if not items or time[id(items[-1])] <= LATE:
        return items
    kept = {id(item) for item in outputs}
    inside = kept | _needed_in_memory(items)
    candidates = {id(item) for item in items if id(item) not in inside and _is_cheap(item, LEAST_BYTES)}
    candidates = _without_exchanges(items, time, candidates)
    items = _with_copies(items, outputs, time, candidates)
    items = _with_copies(items, outputs, time, _from_what_stays(items, time, kept))
    return _without_doubles(items, outputs, time)


def _without_doubles(items: list[Item], outputs: list[Item], time: dict[int, int]) -> list[Item]:
    """`items` with one copy for users that are near one another, where two would compute elementary functions twice.

    Of others each kernel has its own, as one for two kernels would have to be stored.
    """
    known: dict[tuple, Item] = {}
    same: dict[int, Item] = {}
    shared: set[int] = set()  # elementary functions of copies, and what they and their users are computed from
    for item in items:
        if item.late and (item.kind in TRANSCENDENTAL or any(id(x) in shared for x in item.inputs)):
            shared.add(id(item))
    for item in reversed(items):
        if id(item) in shared:
            shared.update(id(x) for x in item.inputs if x.late)
    for item in items:
        item.inputs = tuple(same.get(id(x), x) for x in item.inputs)
        if item.late:
            key = (item.kind, id(item.op), item.shape, *map(id, item.inputs))
            first = known.get(key)
            if first is None or time[id(item)] - time[id(first)] > LATE:
                known[key] = item
            elif id(first) in shared or id(item) in shared:
                same[id(item)] = first
    return ordered(items, outputs) if same else items


def _with_copies(items: list[Item], outputs: list[Item], time: dict[int, int], candidates: set[int]) -> list[Item]:
    """`items` with a copy of each candidate for its late users, all together."""
    copies: dict[int, Item] = {}
    users = items[::-1]
    for user in users:  # grows by the copies, whose operands may be late as well
        for operand in user.inputs:
            if id(operand) in candidates and time[id(user)] - time[id(operand)] > LATE:
                copy = copies.get(id(operand))
                if copy is None:
                    copy = copies[id(operand)] = Item(
                        operand.kind, operand.op, operand.inputs, operand.shape, operand.dtype
                    )
                    copy.node, copy.value, copy.late = operand.node, operand.value, True
                    users.append(copy)
                time[id(copy)] = time[id(user)]  # that of the first user, which comes last here
                user.inputs = tuple(copy if x is operand else x for x in user.inputs)
    return ordered(items, outputs) if copies else items


def _without_exchanges(items: list[Item], time: dict[int, int], candidates: set[int]) -> set[int]:
    """Candidates but for those that would only keep one array for another: where computing or storing them is not free.

    Transcendental functions are such, and what lies in memory at any rate, as a sum of columns reads it.
    """
    last = _last_uses(items, time)
    summed = {id(shown(item.inputs[0])) for item in items if is_reduction(item) and not _absorbs(item)}
    until: dict[int, int] = {}  # when an item can last be had without keeping more for it
    found: set[int] = set()
    for item in items:
        until[id(item)] = when = last.get(id(item), 0) if item.kind != "leaf" else time[id(items[-1])]
        if id(item) not in candidates:
            continue
        large = [x for x in map(shown, item.inputs) if stored_bytes(x) * 8 > example_bytes(item)]
        free = min((until[id(x)] for x in large), default=when)
        if free >= when or (item.kind not in TRANSCENDENTAL and id(item) not in summed):
            found.add(id(item))
            until[id(item)] = max(when, free)
    return found


def _from_what_stays(items: list[Item], time: dict[int, int], kept: set[int]) -> set[int]:
    """Large items that a product reads late, and that follow from one that is stored until then at any rate.

    Normalised and rectified activations are such: the input of the normalisation waits for its own backward pass.
    """
    last = _last_uses(items, time)
    found: set[int] = set()
    for item in items:
        wanted = last.get(id(item), 0)
        # what takes half the memory is read as fast as anything that it would be made from
        large = example_bytes(item) >= LARGE_BYTES and not item.dtype.is_half
        if large and item.kind in CHEAP and wanted - time[id(item)] > LATE and id(item) not in found:
            chain = _made_from(item, kept, last, wanted)
            found.update(map(id, chain or ()))
        elif item.kind in MOVEMENTS and id(item.inputs[0]) in found:
            found.add(id(item))
    return found - kept


def _last_uses(items: list[Item], time: dict[int, int]) -> dict[int, int]:
    """When each item is read for the last time, by whatever sees it."""
    last: dict[int, int] = {}
    for user in reversed(items):
        when = last.get(id(user), 0) if user.kind in MOVEMENTS else time[id(user)]
        for operand in user.inputs:
            last[id(operand)] = max(last.get(id(operand), 0), when)
    return last


def _made_from(item: Item, kept: set[int], last: dict[int, int], wanted: int) -> list[Item] | None:
    """The cheap items from which `item` is computed, itself included, starting from what is read then or later anyway.

    None if that is not possible.
    """
    least = example_bytes(item) // 8
    chain: list[Item] = []
    seen: set[int] = set()
    stack = [item]
    while stack:
        x = stack.pop()
        if id(x) in seen or (x is not item and stored_bytes(x) <= least):
            continue
        seen.add(id(x))
        stays = x.kind == "leaf" or (x is not item and x.kind not in MOVEMENTS and last.get(id(x), 0) >= wanted)
        if stays:
            continue
        if id(x) in kept or len(chain) >= LONGEST or (x.kind not in CHEAP and x.kind not in MOVEMENTS):
            return None
        chain.append(x)
        stack.extend(x.inputs)
    return chain


def times(items: list[Item]) -> dict[int, int]:
    """How many products, convolutions and reductions there are up to each item."""
    heavy = accumulate(int(item.kind in HEAVY or is_reduction(item)) for item in items)
    return {id(item): count for item, count in zip(items, heavy)}


def is_reduction(item: Item) -> bool:
    """Whether an item reduces its operand."""
    return item.op is not None and item.op.family == "reduction"


def _absorbs(item: Item) -> bool:
    """Whether a reduction reads its operand element by element, as it is computed: one of the last axes."""
    axes, rank = getattr(item.op, "axes", None), len(item.inputs[0].shape)
    return axes is not None and axes == tuple(range(rank - len(axes), rank))


def _is_cheap(item: Item, least: int) -> bool:
    """Whether an item of at least so many bytes is one cheap operation on at most one operand of its size."""
    size = example_bytes(item)
    if item.kind not in CHEAP or item.op is None or size < least:
        return False
    return sum(stored_bytes(operand) * 8 > size for operand in item.inputs) <= 1


def shown(item: Item) -> Item:
    """What an operand shows a view of."""
    while item.kind in MOVEMENTS:
        item = item.inputs[0]
    return item


def stored_bytes(item: Item) -> int:
    """Bytes of what an operand shows a view of."""
    item = shown(item)
    if item.kind in ("full", "scalar", "iota"):
        return 0
    return example_bytes(item)


def _needed_in_memory(items: list[Item]) -> set[int]:
    """Items that others than elementwise operations and reductions read."""
    return {
        id(operand)
        for user in items
        if user.op is None or not (user.op.family == "elementwise" or is_reduction(user))
        for operand in user.inputs
    }


def ordered(items: list[Item], outputs: list[Item]) -> list[Item]:
    """What `outputs` need, in the order of `items`, each after its operands: a copy right before its first user."""
    result: list[Item] = []
    done: set[int] = set()
    needed, pending = set(map(id, outputs)), list(outputs)
    while pending:
        for operand in pending.pop().inputs:
            if id(operand) not in needed:
                needed.add(id(operand))
                pending.append(operand)
    stack = [(item, False) for item in reversed(items) if id(item) in needed]
    while stack:
        item, expanded = stack.pop()
        if id(item) in done:
            continue
        if expanded:
            done.add(id(item))
            result.append(item)
            continue
        stack.append((item, True))
        stack.extend((operand, False) for operand in reversed(item.inputs) if id(operand) not in done)
    return result
