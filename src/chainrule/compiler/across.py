"""Light values that both sides of a reduction need are computed on both sides, instead of being stored in between.

Centred rows are such: their squares are summed, and what they are divided by follows from the sum. What they are made
from lies in memory at any rate and is read as fast as they would be; storing them would cost as much as a pass.
"""

from __future__ import annotations

import math

from .canonical import MOVEMENTS, Item
from .kernel import TRANSCENDENTAL
from .recompute import LATE, is_reduction, ordered, shown, stored_bytes, times

#: operations that take less than storing their result
LIGHT = frozenset("add sub mul neg square abs maximum minimum relu".split())
#: bytes of what is reduced to one element, beyond which it is not near any more when it is read again
LONGEST = 8 << 10
#: items between a value and the reductions that are looked for behind it
NEAR = 8


def recompute_across(items: list[Item], outputs: list[Item]) -> list[Item]:
    """`items`, operands first, with copies of light ones for their users behind a reduction of them."""
    if not any(is_reduction(item) for item in items):
        return items
    across = _Across(items, outputs)
    return ordered(items, outputs) if across.copied else items


class _Across:
    def __init__(self, items: list[Item], outputs: list[Item]):
        self.copied = False
        self._kept = {id(item) for item in outputs}
        self._time = times(items)
        self._users: dict[int, list[Item]] = {}
        self._own: dict[int, int] = {}  # a bit for each reduction
        self._behind: dict[int, int] = {}  # those that an item follows from, itself included
        for item in items:
            found = 0
            for operand in item.inputs:
                found |= self._behind[id(operand)]
                self._users.setdefault(id(operand), []).append(item)
            if is_reduction(item):
                own = self._own[id(item)] = 1 << len(self._own)
                found |= own
            self._behind[id(item)] = found
        pending = list(items)
        for item in pending:  # grows by the operands of copies, which have a user more
            later = self._later(item)
            if not later or not self._is_light(item):
                continue
            copy = Item(item.kind, item.op, item.inputs, item.shape, item.dtype)
            copy.node, copy.value, copy.late = item.node, item.value, item.late
            for user in later:
                user.inputs = tuple(copy if x is item else x for x in user.inputs)
            self._users[id(item)] = [user for user in self._users[id(item)] if user not in later]
            self._users[id(copy)] = later
            self._behind[id(copy)], self._time[id(copy)] = self._behind[id(item)], self._time[id(item)]
            for operand in copy.inputs:
                self._users[id(operand)].append(copy)
            pending += [copy, *copy.inputs]
            self.copied = True

    def _later(self, item: Item) -> list[Item]:
        """The users of an item that wait for a reduction of it as well."""
        users = self._users.get(id(item), [])
        mine = self._reductions(item) if len(users) > 1 else 0
        return [user for user in users if self._behind[id(user)] & mine and not is_reduction(user)]

    def _reductions(self, item: Item) -> int:
        """The reductions of what follows from an item element by element."""
        mine, seen, near = 0, {id(item)}, [item]
        for x in near:
            for user in self._users.get(id(x), ()):
                if is_reduction(user):
                    mine |= self._own[id(user)] if _reduced_bytes(user) <= LONGEST else 0
                elif len(near) < NEAR and id(user) not in seen and _is_walked(user):
                    seen.add(id(user))
                    near.append(user)
        return mine

    def _is_light(self, item: Item) -> bool:
        """Whether storing an item can be spared, and it follows from one operand of its size that is stored anyway."""
        users = self._users[id(item)]
        if item.kind not in LIGHT or id(item) in self._kept or not all(_is_walked(u) or is_reduction(u) for u in users):
            return False
        if any(user.kind in TRANSCENDENTAL for user in users):  # a pass of such has time to store
            return False
        if any(self._time[id(user)] - self._time[id(item)] > LATE for user in users):
            return False  # it is kept for these
        size = stored_bytes(item)
        large = [shown(x) for x in item.inputs if stored_bytes(x) * 8 > size]
        if len(large) != 1:
            return False
        (x,) = large
        return x.kind == "leaf" or id(x) in self._kept or bool(self._behind[id(item)] & self._reductions(x))


def _is_walked(item: Item) -> bool:
    """Whether an item is computed element by element, or shows elements elsewhere."""
    return item.kind in MOVEMENTS or (item.op is not None and item.op.family == "elementwise")


def _reduced_bytes(item: Item) -> float:
    """Bytes of what a reduction reads for one element of its result."""
    (x,) = item.inputs
    return math.prod(x.shape) * x.dtype.itemsize / max(math.prod(item.shape), 1)
