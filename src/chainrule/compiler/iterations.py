"""Loops whose iterations each thread runs by itself, on rows of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .chunks import step_cost

if TYPE_CHECKING:
    from .repeat import Repetition
    from .schedule import Region

#: estimated nanoseconds of a loop at most: nothing interrupts it
LONGEST_NS = 1e8


def rows_apart(loop: Repetition, regions: Sequence[Region]) -> bool:
    """Whether rows of the body need, of the iterations before, nothing but what these computed for the same rows.

    A recurrent layer over a batch is such a loop: no thread has to wait for another between its iterations, which are
    often shorter than the waiting.
    """
    if loop.when is not None or loop.count < 2 or len(regions) != 1 or len(regions[0].tasks) != 1:
        return False
    (task,) = regions[0].tasks
    steps = task.steps
    if task.rows < 2 or any(step.kernel is None for step in steps):
        return False
    if loop.count * sum(map(step_cost, steps)) > LONGEST_NS:
        return False
    for read, write in loop.carried:
        taken = {step.row_elements.get(read, 0) for step in steps if read in step.reads}
        put = {step.row_elements.get(write, 0) for step in steps if write in step.writes}
        if taken and (0 in taken or taken != put or len(put) > 1):
            return False
    return True
