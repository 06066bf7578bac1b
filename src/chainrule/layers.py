"""Which phase and layer recorded a node: read off the trail that modules, optimisers and the reverse sweep leave."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from .ops.base import Credit

#: how the parts of a training step are called, in the order in which they are recorded
PHASES = ("forward", "reverse", "optimiser")


class Recorded(Protocol):
    """A node, or what is kept of one: when and where it was recorded."""

    @property
    def serial(self) -> int: ...

    @property
    def where(self) -> Any: ...


class Spans:
    """Nested ranges of serials; gives the innermost one around a serial in logarithmic time."""

    def __init__(self, credits: Iterable[Credit]):
        self._starts: list[int] = []
        self._inside: list[Credit | None] = []
        edges = [(c.first, 1, c.last - c.first, c) for c in credits] + [(c.last, 0, 0, c) for c in credits]
        active: list[Credit] = []
        for at, opens, _, credit in sorted(edges, key=lambda edge: (edge[0], edge[1], -edge[2])):
            if opens:
                active.append(credit)
            elif any(credit is other for other in active):
                active = [other for other in active if other is not credit]
            innermost = min(active, key=lambda c: c.last - c.first) if active else None
            if self._starts and self._starts[-1] == at:
                self._inside[-1] = innermost
            else:
                self._starts.append(at)
                self._inside.append(innermost)

    def around(self, serial: int) -> Credit | None:
        """The shortest range ``(first, last]`` that holds `serial`."""
        place = bisect_right(self._starts, serial - 1) - 1
        return self._inside[place] if place >= 0 else None


class Layers:
    """The phase and the layer of each node that was recorded while `trail` was kept.

    A node of the reverse sweep belongs to the layer of the node that it differentiates: the sweep hands on that node's
    place in the source, the very same object.
    """

    def __init__(self, trail: Sequence[Credit], order: Iterable[Recorded]):
        self.modules = [c for c in trail if c.kind == "module" and c.owner is not None and c.owner() is not None]
        self._module = Spans([c for c in self.modules if c.last > c.first])
        self._reverse = Spans([c for c in trail if c.kind == "reverse" and c.last > c.first])
        self._optimiser = Spans([c for c in trail if c.kind == "optimiser" and c.last > c.first])
        self._layers: dict[int, str] = {}
        self._places: dict[int, Recorded] = {}
        for node in sorted(order, key=lambda node: node.serial):
            if node.where is not None:
                self._places.setdefault(id(node.where), node)
        roots = self.roots()
        several = sum(any(True for _ in root.parameters()) for root in roots) > 1
        self.prefixes = [(root, f"{type(root).__name__}." if several else "") for root in roots]
        for root, prefix in self.prefixes:
            for path, module in root.named_modules():
                label = type(module).__name__
                self._layers.setdefault(id(module), f"{label} {prefix}{path}" if path else label)

    def roots(self) -> list[Any]:
        """The modules that were called by no other module."""
        found: dict[int, Any] = {}
        end = -1
        for credit in sorted(self.modules, key=lambda c: (c.first, -c.last)):
            if credit.first >= end:
                end = credit.last
                assert credit.owner is not None
                module = credit.owner()
                if module is not None:
                    found[id(module)] = module
        inside = {id(m) for root in found.values() for m in root.modules() if m is not root}
        return [module for key, module in found.items() if key not in inside]

    def phase(self, node: Recorded) -> str:
        """ "forward", "reverse" or "optimiser"."""
        if self._optimiser.around(node.serial):
            return "optimiser"
        return "reverse" if self._reverse.around(node.serial) else "forward"

    def layer(self, node: Recorded) -> str:
        """The innermost module whose call recorded the node, or the node that it is the derivative of; "" if none."""
        credit = self._optimiser.around(node.serial)
        if credit is not None:
            owner = None if credit.owner is None else credit.owner()
            return "" if owner is None else type(owner).__name__
        found = self._inside(node)
        if not found and node.where is not None:
            found = self._inside(self._places[id(node.where)])
        return found

    def _inside(self, node: Recorded) -> str:
        credit = self._module.around(node.serial)
        if credit is None or credit.owner is None:
            return ""
        module = credit.owner()
        return "" if module is None else self._layers.get(id(module), type(module).__name__)
