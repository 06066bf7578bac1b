"""Loops and branches as the compiler sees them: sibling results gathered, and which buffers they fill.

A carry needs no copying: an iteration reads it where the iteration before has written it. That is one of two places in
turn; or, if its values are stacked, the rows of the stack. If the reverse sweep wants what an iteration *begins* with,
the stack has a row more, for the first carry ("history").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..graph.node import Node
from ..ops.branches import Branches
from ..ops.control import Loop


class Place(NamedTuple):
    """Where a result is: `rows` rows from row `start` of a buffer of `shape`, or (start None) all of it.

    `buffer`: ("history", carry), ("stack", output) or ("final", carry).
    """

    buffer: tuple[str, int]
    shape: tuple[int, ...]
    start: int | None = None
    rows: int = 1


class Repeated:
    """One loop of a graph with the results that are used.

    Attributes:
        loop: what is repeated; `outputs` are the nodes of its region that are computed: all next carries, then those of
            `stacked` that are no carry.
        stacked: nodes of the region of which all iterations are kept.
        history: numbers of the carries of which the first and all further values are kept.
        passing: for a carry without history that is stacked, its number -> which of `stacked` it is.
    """

    def __init__(self, loop: Loop):
        self.loop = loop
        self._wanted: dict[Node, None] = {}

    def want(self, index: int, loop: Loop) -> None:
        """Note that result `index` of this loop, or of one that extends it, is used."""
        if index >= len(loop.carries):
            self._wanted[loop.outputs[index]] = None

    def settle(self) -> None:
        """Decide what is stored where, when all results are known."""
        loop = self.loop
        following = loop.outputs[: len(loop.carries)]
        self.history = [i for i, node in enumerate(loop.carries) if node in self._wanted]
        kept = {following[i] for i in self.history} | set(loop.carries)
        self.stacked = [node for node in self._wanted if node not in kept]
        self.passing: dict[int, int] = {}
        for i, node in enumerate(following):
            if i not in self.history and node in self.stacked:
                number = self.stacked.index(node)
                if number not in self.passing.values():
                    self.passing[i] = number
        passed = set(self.passing.values())
        self.separate = [number for number in range(len(self.stacked)) if number not in passed]
        self.outputs = [*following, *(self.stacked[number] for number in self.separate)]

    def place(self, index: int, extension: Loop) -> Place:
        """Where result `index` of this loop or of an extension is."""
        loop = self.loop
        node = extension.outputs[index]
        length, back = loop.length, loop.reverse
        following = loop.outputs[: len(loop.carries)]
        if index < len(loop.carries):
            if index in self.history:
                return Place(("history", index), (length + 1, *node.shape), 0 if back else length)
            if index in self.passing:
                return Place(("stack", self.passing[index]), (length, *node.shape), 0 if back else length - 1)
            return Place(("final", index), node.shape)
        for i in self.history:
            if node is loop.carries[i]:
                return Place(("history", i), (length + 1, *node.shape), 1 if back else 0, length)
            if node is following[i]:
                return Place(("history", i), (length + 1, *node.shape), 0 if back else 1, length)
        return Place(("stack", self.stacked.index(node)), (length, *node.shape))


class Chosen:
    """One choice of a graph with the results that are used: `wanted` are their numbers."""

    def __init__(self, branches: Branches):
        self.branches = branches
        self.wanted: list[int] = []

    def want(self, index: int, branches: Branches) -> None:
        """Note that result `index` is used."""
        if index not in self.wanted:
            self.wanted.append(index)

    def settle(self) -> None:
        """All results are known."""

    def place(self, index: int, branches: Branches) -> Place:
        """Where result `index` is: in a buffer of its own."""
        return Place(("final", index), self.branches.outputs[0][index].shape)


def gather(order: Sequence[Node]) -> dict[Node, Repeated | Chosen]:
    """The loop or choice of each pending result of one in `order`; siblings, and those of extensions, share one."""
    found: dict[tuple, Any] = {}
    of: dict[Node, Repeated | Chosen] = {}
    for node in order:
        if node.op.joint and node.value is None:
            joined: Any = node.op.joined
            key = (id(joined.root), node.inputs)
            if key not in found:
                found[key] = Chosen(joined) if isinstance(joined, Branches) else Repeated(joined.root)
            found[key].want(node.op.index, joined)
            of[node] = found[key]
    for repeated in found.values():
        repeated.settle()
    return of
