"""What is computed again instead of being stored: cheap values that are needed long after they were made.

A backward pass asks for many values that cost one operation on something that is stored anyway: a difference from a mean, a
product with a scale. Keeping each takes memory, and writing and reading it takes longer than computing it. Such
an item gets a copy that belongs to its late users. Its bits are the same, wherever it is computed.
"""

from __future__ import annotations

import math
from itertools import accumulate

from .canonical import MOVEMENTS, Item

#: operations that cost about as much as writing and reading their result
CHEAP = frozenset(
    "add sub mul div neg square cast relu where le lt ge gt eq ne abs maximum minimum logical_not erf exp tanh sigmoid".split()
)
#: products, convolutions and reductions between an item and a use of it that make the use a late one
LATE = 6
#: bytes below which an item is not worth it
LEAST_BYTES = 64 << 10
HEAVY = frozenset(("bmm", "convolution", "convolution_input_grad", "convolution_weight_grad", "loop"))


def recompute_late(items: list[Item], outputs: list[Item]) -> list[Item]:
    """`items`, operands first, with copies of cheap ones in front of their late users."""
    heavy = list(accumulate(item.kind in HEAVY or _reduces(item) for item in items))
    if not items or heavy[-1] <= LATE:
        return items
    time = {id(item): count for item, count in zip(items, heavy)}
    kept = {id(item) for item in outputs} | _needed_in_memory(items)
    candidates = {id(item) for item in items if id(item) not in kept and _is_cheap(item)}
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
                    copy.node, copy.value = operand.node, operand.value
                    users.append(copy)
                time[id(copy)] = time[id(user)]  # that of the first user, which comes last here
                user.inputs = tuple(copy if x is operand else x for x in user.inputs)
    return _ordered(items, outputs) if copies else items


def _reduces(item: Item) -> bool:
    return item.op is not None and item.op.family == "reduction"


def _is_cheap(item: Item) -> bool:
    """Whether an item is one cheap operation on at most one operand of its size."""
    size = math.prod(item.shape) * item.dtype.itemsize
    if item.kind not in CHEAP or item.op is None or size < LEAST_BYTES:
        return False
    return sum(_stored_bytes(operand) * 8 > size for operand in item.inputs) <= 1


def _stored_bytes(item: Item) -> int:
    """Bytes of what an operand shows a view of."""
    while item.kind in MOVEMENTS:
        item = item.inputs[0]
    if item.kind in ("full", "scalar", "iota"):
        return 0
    return math.prod(item.shape) * item.dtype.itemsize


def _needed_in_memory(items: list[Item]) -> set[int]:
    """Items that others than elementwise operations and reductions read."""
    return {
        id(operand)
        for user in items
        if user.op is None or not (user.op.family == "elementwise" or _reduces(user))
        for operand in user.inputs
    }


def _ordered(items: list[Item], outputs: list[Item]) -> list[Item]:
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
