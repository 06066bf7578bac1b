"""The primitive `branch`: one result of a choice among regions."""

from __future__ import annotations

import numpy as np

from ..dtypes import int64
from . import branch_rules
from .base import JointRules, Sibling
from .branches import Branches
from .control import evaluate_region


class Branch(Sibling):
    """Result `index` of the region whose number is the first operand.

    The number is int64 and has to be in range, which whoever records it sees to; the further operands are the regions'
    inputs.
    """

    name = "branch"
    family = "control"
    attributes = ("branches", "index")
    joint = True
    rules = JointRules(branch_rules.vjp, branch_rules.jvp, branch_rules.batch)
    shared = False  # `control.results` keeps the last ones

    @property
    def joined(self) -> Branches:
        """What siblings have in common besides their operands."""
        found: Branches = self.branches
        return found

    def infer(self, *operands):
        """The type of the result, the same in all regions."""
        inputs = self.branches.inputs
        if len(operands) != len(inputs) + 1:
            self.reject(f"{len(inputs) + 1} operands are needed, there are {len(operands)}", operands)
        if operands[0].shape or operands[0].dtype is not int64:
            self.reject("the number of the region must be int64[]", operands[:1])
        for number, (inner, operand) in enumerate(zip(inputs, operands[1:]), 1):
            if operand.shape != inner.shape or operand.dtype is not inner.dtype:
                self.reject(f"operand {number} must be {inner.dtype.name}{list(inner.shape)}", (operand,))
        result = self.branches.outputs[0][self.index]
        return result.shape, result.dtype

    def numpy(self, *arrays):
        """The region of that number."""
        return self.numpy_all(*arrays)[self.index]

    def numpy_all(self, number, *arrays) -> list[np.ndarray]:
        """The values of all siblings."""
        branches, chosen = self.branches, int(number)
        values = dict(zip(branches.inputs, arrays))
        evaluate_region(branches.orders[chosen], values)
        return [np.array(values[node]) for node in branches.outputs[chosen]]

    def cost(self, node):
        """That of the dearest region; what siblings share is counted once, with the first."""
        if self.index:
            return 0, 0
        first = len(self.branches.inputs)
        costs = []
        for order in self.branches.orders:
            parts = [n.op.cost(n) for n in order[first:]]
            costs.append((sum(p[0] for p in parts), sum(p[1] for p in parts)))
        return max(costs)
