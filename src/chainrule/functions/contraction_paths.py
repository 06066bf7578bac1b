"""In which order to contract many operands: the cheapest of all orders, or a greedy one.

The cost of a step is the number of multiplications, the product of the extents of all labels of both operands.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..ops.base import message

Labels = frozenset
Extents = dict[Hashable, int]
#: operands up to which every order is tried by default, and up to which it can be asked for
TRIED, MOST = 7, 14


class Step(NamedTuple):
    """The positions contracted in the list of operands, labels of what is read and made, and multiplications."""

    positions: tuple[int, ...]
    labels: Labels
    result: Labels
    cost: int


def contraction_path(terms: Sequence[Labels], result: Labels, extents: Extents, optimize: Any, name: str) -> list[Step]:
    """The steps that make one operand out of `terms`; each result goes to the end of the list."""
    count = len(terms)
    positions: list[tuple[int, ...]]
    if count < 2:
        return []
    if isinstance(optimize, tuple) and len(optimize) == 2 and optimize[0] in ("greedy", "optimal"):
        optimize = optimize[0]  # NumPy's limit of memory, the second part, is not needed
    if not isinstance(optimize, (bool, list, tuple)) and optimize not in ("greedy", "optimal"):
        problem = f"optimize is True, False, 'greedy', 'optimal' or a path, not {optimize!r}"
        raise ConfigError(message(name, problem, ()))
    if isinstance(optimize, (list, tuple)):
        positions = _given(optimize, count, name)
    elif optimize is False or count == 2:
        positions = [(0, 1), *((0, count - 1 - i) for i in range(1, count - 1))]
    elif optimize == "greedy" or (optimize is True and count > TRIED):
        positions = _greedy(terms, result, extents)
    else:
        if count > MOST:
            problem = f"all orders of {count} operands are too many; {MOST} is the most"
            raise ConfigError(message(name, problem, (), "use optimize='greedy'"))
        positions = _optimal(terms, result, extents)
    return _steps(terms, result, extents, positions)


def _volume(labels: Labels, extents: Extents) -> int:
    return math.prod(extents[label] for label in labels)


def _steps(terms: Sequence[Labels], result: Labels, extents: Extents, path: list[tuple[int, ...]]) -> list[Step]:
    left = list(terms)
    steps = []
    for positions in path:
        read: Labels = frozenset().union(*(left[i] for i in positions))
        left = [t for i, t in enumerate(left) if i not in positions]
        made = read & result.union(*left)
        steps.append(Step(tuple(positions), read, made, _volume(read, extents)))
        left.append(made)
    return steps


def _given(path: Sequence[Any], count: int, name: str) -> list[tuple[int, ...]]:
    """A path that the user wrote, checked."""
    entries = list(path[1:]) if path and path[0] == "einsum_path" else list(path)
    checked = []
    left = count
    for entry in entries:
        positions = (entry,) if hasattr(entry, "__index__") else tuple(entry)
        if len(set(positions)) != len(positions) or not positions or min(positions) < 0 or max(positions) >= left:
            problem = f"step {tuple(positions)} of the path does not name different ones of {left} operands"
            raise ConfigError(message(name, problem, ()))
        left -= len(positions) - 1
        checked.append(tuple(sorted(positions)))
    if left > 1:
        checked.append(tuple(range(left)))
    return checked


def _greedy(terms: Sequence[Labels], result: Labels, extents: Extents) -> list[tuple[int, ...]]:
    """At each step the pair whose result is smallest, less the sizes of both; pairs with a common label first."""
    left = list(terms)
    path: list[tuple[int, ...]] = []
    while len(left) > 1:
        best: tuple | None = None
        for i in range(len(left)):
            for j in range(i + 1, len(left)):
                others = result.union(*(t for k, t in enumerate(left) if k not in (i, j)))
                both = left[i] | left[j]
                made = both & others
                grown = _volume(made, extents) - _volume(left[i], extents) - _volume(left[j], extents)
                score = (not left[i] & left[j], grown, _volume(both, extents), i, j)
                if best is None or score < best:
                    best = score
        assert best is not None
        i, j = best[3], best[4]
        others = result.union(*(t for k, t in enumerate(left) if k not in (i, j)))
        made = (left[i] | left[j]) & others
        left = [t for k, t in enumerate(left) if k not in (i, j)] + [made]
        path.append((i, j))
    return path


def _optimal(terms: Sequence[Labels], result: Labels, extents: Extents) -> list[tuple[int, ...]]:
    """The order of least cost, by dynamic programming over the subsets of operands."""
    count = len(terms)
    everything = (1 << count) - 1
    inside: list[Labels] = [frozenset()] * (everything + 1)
    for subset in range(1, everything + 1):
        low = subset & -subset
        inside[subset] = inside[subset ^ low] | terms[low.bit_length() - 1]
    made = [inside[s] & (result | inside[everything ^ s]) for s in range(everything + 1)]
    for i in range(count):
        made[1 << i] = terms[i]
    cost: list[float] = [math.inf] * (everything + 1)
    choice = [0] * (everything + 1)
    for i in range(count):
        cost[1 << i] = 0
    for subset in range(1, everything + 1):
        if subset & (subset - 1) == 0:
            continue
        low = subset & -subset
        part = (subset - 1) & subset
        while part:
            if part & low:  # each split once: the part with the first operand
                other = subset ^ part
                total = cost[part] + cost[other] + _volume(made[part] | made[other], extents)
                if total < cost[subset]:
                    cost[subset], choice[subset] = total, part
            part = (part - 1) & subset
    return _in_order(choice, everything, count)


def _in_order(choice: list[int], everything: int, count: int) -> list[tuple[int, ...]]:
    """The splits of `choice` from the leaves up, as positions in a shrinking list."""
    splits: list[int] = []
    stack = [everything]
    while stack:
        subset = stack.pop()
        if subset & (subset - 1):
            splits.append(subset)
            stack += [choice[subset], subset ^ choice[subset]]
    held = [1 << i for i in range(count)]
    path: list[tuple[int, ...]] = []
    for subset in reversed(splits):
        i, j = sorted((held.index(choice[subset]), held.index(subset ^ choice[subset])))
        path.append((i, j))
        held = [h for k, h in enumerate(held) if k not in (i, j)] + [subset]
    return path


def describe(terms: Sequence[Sequence], result: Sequence, steps: Sequence[Step], extents: Extents) -> str:
    """The steps as text: multiplications of all at once and of the path, and of each step."""
    every: Labels = frozenset().union(*terms)
    whole = _volume(every, extents) * max(1, len(terms) - 1)
    total = sum(s.cost for s in steps)
    largest = max([_volume(s.result, extents) for s in steps], default=_volume(frozenset(result), extents))
    lines = [
        f"multiplications at once: {whole}",
        f"multiplications by steps: {total}",
        f"elements of the largest result: {largest}",
    ]
    for step in steps:
        extent = " ".join(f"{_name(label)}={extents[label]}" for label in sorted(step.labels, key=str))
        lines.append(f"  {step.positions}: {step.cost} over {extent}")
    return "\n".join(lines)


def _name(label: Any) -> str:
    return f"...{label[1]}" if isinstance(label, tuple) else str(label)
