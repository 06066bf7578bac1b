"""Native loops over the mini-batches of epochs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ops.base import emit
from ..tensor import Tensor
from .compiled import Compiled


class EpochLoop:
    """The native loops over epochs of one `epochs` call."""

    def __init__(self, owner: Any, data: list[np.ndarray], whole: int, batch: int, tail: int, total: int):
        self.owner = owner
        self.data = data
        self.whole, self.batch, self.tail, self.total = whole, batch, tail, total
        self.done = 0
        self.stacked: list[np.ndarray | None] = []
        self.entry: Compiled | None = None
        count = len(data)

        def gathered(rows: Tensor, *arrays: Tensor) -> Any:
            return owner._function(*(Tensor(emit("take", a._node, rows._node, attributes=(0,))) for a in arrays))

        loops = owner.__dict__.setdefault("_loops", {})
        if count not in loops:
            loops[count] = type(owner)(gathered, owner._keep_grads, tune=owner._tune)
            loops[count]._names = owner._names
        self.gathering = loops[count]

    def run(self, orders: list[np.ndarray | None]) -> None:
        """Some epochs: all whole batches, then the rest of each."""
        if orders[0] is None:
            for _ in orders:
                self._steps(None, 0, self.whole, self.batch)
                if self.tail:
                    self._steps(None, self.whole * self.batch, 1, self.tail)
            return
        rows = self.whole * self.batch
        main = np.concatenate([order[:rows] for order in orders if order is not None])
        self._steps(main, 0, self.whole * len(orders), self.batch)
        if self.tail and orders[0] is not None:
            self._steps(orders[0][rows:], 0, 1, self.tail)

    def _steps(self, order: np.ndarray | None, first: int, steps: int, batch: int) -> None:
        done = 0
        while done < steps:
            start = first + done * batch
            if order is None:
                function = self.owner
                arrays = [array[start : start + batch] for array in self.data]
                moves = tuple((n, array.strides[0] * batch) for n, array in enumerate(self.data))
            else:
                function = self.gathering
                arrays = [order[start : start + batch], *self.data]
                moves = ((0, 8 * batch),)
            key, bound, definition, leaves = function._split(tuple(arrays), {})
            entry = function._find(key, definition, leaves)
            count = entry.steps(steps - done)
            if not self.stacked:
                self.stacked = stacks(entry, self.total)
            else:
                check_stack("epochs", entry, self.stacked)
            places = {argument: leaf for leaf, argument in entry.arguments}
            advances = tuple(("leaf", places[n], step) for n, step in moves if n in places) if count > 1 else ()
            entry.execute(bound, count, self.stacked, self.done, advances)
            self.done += count
            done += count
            self.entry = entry

    def results(self) -> Any:
        assert self.entry is not None
        return self.entry.results([array for array in self.stacked if array is not None])


def stacks(entry: Compiled, steps: int) -> list[np.ndarray | None]:
    """Arrays for the results of `steps` steps."""
    entry.program()
    outputs = entry.plan.outputs[: entry.num_returned]
    return [np.empty((steps, *shape), dtype.numpy) for shape, dtype in outputs]


def check_stack(name: str, entry: Compiled, stacked: list[np.ndarray | None]) -> None:
    """Raise ShapeError if the results of a step do not fit those of the steps before it."""
    entry.program()
    for (shape, dtype), array in zip(entry.plan.outputs, stacked):
        if array is not None and (array.shape[1:] != shape or array.dtype != dtype.numpy):
            raise ShapeError(
                f"{name}: a result is {array.dtype}{list(array.shape[1:])} in the first step"
                f" and {dtype.name}{list(shape)} in a later one\n"
                "help: return per-batch summaries; if only the last batch is smaller, pass drop_last=True"
            )
