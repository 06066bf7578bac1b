"""The primitive `scan`: one result of running a loop of known length."""

from __future__ import annotations

import numpy as np

from . import loop_rules
from .base import JointRules, Sibling
from .control import Loop, evaluate_region


class Scan(Sibling):
    """Result `index` of a loop: its last carries come first, then its stacked outputs.

    Operands are the loop's constants, first carries and stacks (whose axis 0 has the loop's length).
    """

    name = "scan"
    family = "control"
    attributes = ("loop", "index")
    joint = True
    rules = JointRules(loop_rules.vjp, loop_rules.jvp, loop_rules.batch)
    shared = False  # `results` keeps the last ones

    @property
    def joined(self) -> Loop:
        """What siblings have in common besides their operands."""
        found: Loop = self.loop
        return found

    def infer(self, *operands):
        """A carry's type, or that of a stack of the body's output."""
        loop = self.loop
        inputs = loop.inputs
        if len(operands) != len(inputs):
            self.reject(f"{len(inputs)} operands are needed, there are {len(operands)}", operands)
        first_slice = len(inputs) - len(loop.slices)
        for number, (inner, operand) in enumerate(zip(inputs, operands)):
            shape = (loop.length, *inner.shape) if number >= first_slice else inner.shape
            if operand.shape != shape or operand.dtype is not inner.dtype:
                self.reject(f"operand {number} must be {inner.dtype.name}{list(shape)}", (operand,))
        result = loop.outputs[self.index]
        stacked = (loop.length,) if self.index >= len(loop.carries) else ()
        return (*stacked, *result.shape), result.dtype

    def numpy(self, *arrays):
        """One iteration after the other."""
        return self.numpy_all(*arrays)[self.index]

    def numpy_all(self, *arrays) -> list[np.ndarray]:
        """The values of all siblings."""
        loop = self.loop
        count, first = len(loop.constants), len(loop.constants) + len(loop.carries)
        carries = list(arrays[count:first])
        stacks = [np.empty((loop.length, *n.shape), n.dtype.numpy) for n in loop.outputs[len(carries) :]]
        known = dict(zip(loop.constants, arrays[:count]))
        for step in range(loop.length):
            at = loop.length - 1 - step if loop.reverse else step
            values = known | dict(zip(loop.carries, carries))
            values |= dict(zip(loop.slices, (array[at] for array in arrays[first:])))
            evaluate_region(loop.order, values)
            results = [values[node] for node in loop.outputs]
            carries = results[: len(carries)]
            for stack, value in zip(stacks, results[len(carries) :]):
                stack[at] = value
        return [np.array(c) for c in carries] + stacks

    def cost(self, node):
        """The body's, as often as it runs; what siblings share is counted once, with the first."""
        loop = self.loop
        if self.index:
            return 0, 0
        parts = [n.op.cost(n) for n in loop.order if n.op.name not in ("placeholder", "constant")]
        return loop.length * sum(p[0] for p in parts), loop.length * sum(p[1] for p in parts)
