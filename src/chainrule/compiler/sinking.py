"""Steps that need nothing of the program run as late as they can: what they write lives no longer than it must."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .lowering import Step
    from .schedule import Region

#: bytes from which on a task is worth moving
WORTH = 16 << 10


def sink(
    regions: list[Region], steps: Sequence[Step], predecessors: Sequence[Set[int]], arena: Mapping[int, int]
) -> None:
    """Move steps that read no intermediate value to the region before the first that needs them.

    Regions are filled with whatever is ready, so that panels of weights and cleared borders would all be made in the
    first one and stay until they are used. A task is moved if it reads nothing of the arena but what it writes there.

    Args:
        predecessors: for each step, the numbers of those that it must follow.
        arena: bytes of each buffer of the arena, by number.
    """
    number_of = {id(step): number for number, step in enumerate(steps)}
    home = {number_of[id(step)]: n for n, region in enumerate(regions) for step in region.steps()}
    followers: list[list[int]] = [[] for _ in steps]
    for number, needed in enumerate(predecessors):
        for before in needed:
            followers[before].append(number)
    native = [all(step.kernel is not None for step in region.steps()) for region in regions]
    for place in reversed(range(len(regions))):
        for task in list(regions[place].tasks):
            numbers = {number_of[id(step)] for step in task.steps}
            reads = set().union(*(step.reads for step in task.steps))
            writes = set().union(*(step.writes for step in task.steps))
            if any(step.kernel is None for step in task.steps) or not writes <= arena.keys():
                continue
            if (reads - writes) & arena.keys() or sum(arena[b] for b in writes) < WORTH:
                continue
            after = {follower for number in numbers for follower in followers[number]} - numbers
            if not after:
                continue
            first = min(home[follower] for follower in after)
            target = next((n for n in range(first - 1, place, -1) if native[n]), place)
            if target != place:
                regions[place].tasks = [other for other in regions[place].tasks if other is not task]
                regions[target].tasks.append(task)
                home.update(dict.fromkeys(numbers, target))
    regions[:] = [region for region in regions if region.tasks]
