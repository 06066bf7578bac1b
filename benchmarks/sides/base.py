"""`Candidate`: one way in which one system runs a workload's steps; `Order`: rows in shuffled epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..workloads import Workload


@dataclass
class Candidate:
    """A way to run training steps.

    `check(steps)` gives the first losses, from the initial weights, over the data set's rows in order; it is called
    once, before `run`. `run(steps)` trains on for at least `steps` steps, waits for the result, and returns how many
    it ran. `smallest` is the least number of steps that `run` can do.
    """

    name: str
    check: Callable[[int], np.ndarray]
    run: Callable[[int], int]
    smallest: int = 1


class Order:
    """Row indices of batch after batch, a new shuffled order each epoch, the incomplete last batch dropped."""

    def __init__(self, workload: Workload, permutation: Callable[[int], Any]):
        self.batch, self.rows, self.permutation = workload.batch, workload.rows, permutation
        self.position, self.order = self.rows, permutation(0)

    def take(self, steps: int) -> Any:
        """Indices of the next `steps` batches as one array of ``steps * batch``, or fewer at the end of an epoch."""
        if self.position + self.batch > self.rows:
            self.order, self.position = self.permutation(self.rows), 0
        count = min(steps, (self.rows - self.position) // self.batch) * self.batch
        start, self.position = self.position, self.position + count
        return self.order[start : start + count]
