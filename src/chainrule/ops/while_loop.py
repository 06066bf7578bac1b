"""The primitive `while_loop`: a loop that runs as long as its first carry is true, and its rules.

The loop is a `Loop` of length 0: its region computes the next carries, the first of which says whether there is another
iteration. So the condition is a value like any other, and forward mode is that of every loop. Reverse mode would need
what a number of iterations, known only when they have run, leaves behind: there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..errors import DifferentiationError
from ..graph.node import Node
from . import loop_rules
from .base import JointRules, emit, message
from .control import Loop, close, evaluate_region, replay, results
from .leaf import placeholder
from .loop_rules import reached_by
from .rules import along, lead, where
from .scan import Scan

Spread = Callable[[Sequence[Node], Mapping[Node, Node], int], list[Node]]


class WhileLoop(Scan):
    """Result `index` of a loop that runs as long as its first carry is true: the carry after the last iteration.

    Operands are the loop's constants and first carries.
    """

    name = "while_loop"

    def numpy_all(self, *arrays) -> list[np.ndarray]:
        """The values of all siblings."""
        loop = self.loop
        count = len(loop.constants)
        carries = [np.array(array) for array in arrays[count:]]
        known = dict(zip(loop.constants, arrays[:count]))
        while carries[0]:
            values = known | dict(zip(loop.carries, carries))
            evaluate_region(loop.order, values)
            carries = [np.array(values[node]) for node in loop.outputs]
        return carries

    def cost(self, node):
        """One iteration's: how many there are is not known; what siblings share is counted with the second."""
        if self.index != 1:
            return 0, 0
        parts = [n.op.cost(n) for n in self.loop.inside]
        return sum(p[0] for p in parts), sum(p[1] for p in parts)


def vjp(
    nodes: Sequence[Node], cotangents: Sequence[Node], needed: tuple[bool, ...], sweep: Callable
) -> tuple[Node | None, ...]:
    """None where no gradient flows; otherwise an error that names the cure."""
    loop: Loop = nodes[0].op.loop
    start = {node for node, wanted in zip(loop.inputs, needed) if wanted and node.dtype.kind in "fc"}
    reached = reached_by(loop, start, gradients=True)
    if any(loop.carries[node.op.index] in reached for node in nodes):
        problem = "reverse mode has to know how many iterations there are at most"
        help = "pass max_steps= to while_loop, use scan or fori_loop with a fixed length, or differentiate with jvp"
        raise DifferentiationError(message("while_loop", problem, (), help))
    return (None,) * len(needed)


def batch(
    loop: Loop, operands: tuple[Node, ...], batched: tuple[bool, ...], size: int, spread: Spread
) -> Sequence[Node]:
    """One loop that runs while the condition holds for any example; examples that are done keep their values."""
    inputs, starts = loop.inputs, len(loop.constants)
    start = {node for node, is_ in zip(inputs, batched) if is_}
    if loop.carries[0] not in reached_by(loop, start, gradients=False):
        return loop_rules.batch(loop, operands, batched, size, spread)
    still = [after is before for before, after in zip(loop.carries, loop.outputs)]  # the same in every iteration
    wide: dict[Node, Node] = {}
    for i, (node, is_) in enumerate(zip(inputs, batched)):
        if is_ or (i >= starts and not still[i - starts]):
            wide[node] = placeholder(i, (size, *node.shape), node.dtype, node.requires_grad)
    moved = spread(loop.outputs, wide, size)
    active = wide[loop.carries[0]]
    going = emit("logical_and", active, moved[0])
    outputs = [emit("any", going, attributes=((0,),)), going]
    for node, after, same in zip(loop.carries[1:], moved[1:], still[1:]):
        outputs.append(wide.get(node, node) if same else where(along(active, after), after, wide[node]))
    first = [o if is_ or n not in wide else lead(o, size) for n, o, is_ in zip(inputs, operands, batched)]
    bound = {wide.get(node, node): operand for node, operand in zip(loop.constants, first)}
    flag = placeholder(len(inputs), (), active.dtype)
    closed = close(outputs, [flag, *(wide.get(node, node) for node in loop.carries)], [], 0, False)
    any_lane = emit("any", first[starts], attributes=((0,),))
    given = (*replay(closed.constants, bound), any_lane, *first[starts:])
    found = results(closed.loop, given, range(1, len(outputs)))
    return [node if inner in wide else lead(node, size) for node, inner in zip(found, loop.carries)]


WhileLoop.rules = JointRules(vjp, loop_rules.jvp, batch)
