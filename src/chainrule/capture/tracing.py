"""`Trace`: records what a function reads and writes of the state around it while it is run on placeholders.

Every tensor that exists outside is a cell: reading it makes it an input of the program, writing it an output; the cell
itself is untouched until the program has run. Hyperparameters are lifted (read anew at each call), flags are guarded (a
change makes another program).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from .. import runtime
from ..dtypes import float64
from ..errors import DifferentiationError
from ..graph.node import Node
from ..ops.base import Credit, message, mode
from ..ops.leaf import placeholder
from ..tensor import NOT_STORED, Tensor, evaluate_node, placeholder_below


class Cell:
    """One place of state: the value of `tensor`, or with `is_grad` its gradient slot.

    `input` is the placeholder of the value before, `current` the node of the value now.
    """

    __slots__ = (
        "consumed", "current", "current_grad", "initial", "input", "is_grad", "overwritten", "tensor", "written",
    )  # fmt: skip

    def __init__(self, tensor: Tensor, is_grad: bool):
        self.tensor = tensor
        self.is_grad = is_grad
        self.input: Node | None = None
        self.current: Node | None = None
        self.current_grad: Tensor | None = None
        self.initial: Any = None  # gradient slots: what was there when the trace began
        self.written = False
        self.overwritten = False  # written before it was read
        self.consumed = False  # read after it was written

    def holder(self) -> Tensor | None:
        """The tensor whose node holds the value."""
        return self.tensor._grad if self.is_grad else self.tensor


class Trace:
    """See the module. `placeholders` counts the inputs made so far."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, bool], Cell] = {}
        self.lifted: list[tuple[Callable[[], float], Node]] = []
        self.guards: list[tuple[Callable[[], Any], Any]] = []
        self.trail: list[Credit] = []
        self.root = self  # the trace of the whole function, as a loop's region has one
        self._count = 0

    def new_input(self, shape: tuple[int, ...], dtype: Any, requires_grad: bool = False) -> Node:
        """A placeholder for the next input."""
        self._count += 1
        return placeholder(self._count - 1, shape, dtype, requires_grad)

    # --- values -----------------------------------------------------------------------------------

    def _cell(self, tensor: Tensor) -> Cell:
        cell = self.cells.get((id(tensor), False))
        if cell is None:
            node = tensor._node
            if node.requires_grad and not tensor._leaf and mode.grad_enabled:
                if placeholder_below(node) is not None:
                    evaluate_node(node, "compile")  # raises: it has left the body of a loop
                problem = "a tensor from outside the compiled function is the result of recorded operations"
                help = "compute it inside, or .detach() it outside: a program keeps no history of what it is given"
                raise DifferentiationError(message("compile", problem, (node,), help))
            if node.value is None:
                runtime.evaluate([node])
            cell = self.cells[id(tensor), False] = Cell(tensor, False)
            cell.input = self.new_input(node.shape, node.dtype, tensor._leaf)
            if tensor._leaf:
                cell.input.owner = weakref.ref(tensor)
            cell.current = cell.input
        return cell

    def read(self, tensor: Tensor) -> Node:
        """The node of a tensor from outside."""
        node = self._cell(tensor).current
        assert node is not None
        return node

    def write(self, tensor: Tensor, node: Node) -> None:
        """Give a tensor from outside another value."""
        cell = self._cell(tensor)
        cell.current = node
        cell.written = True

    # --- gradients --------------------------------------------------------------------------------

    def _grad_cell(self, tensor: Tensor) -> Cell:
        cell = self.cells.get((id(tensor), True))
        if cell is None:
            cell = self.cells[id(tensor), True] = Cell(tensor, True)
            cell.initial = tensor._grad
        return cell

    def read_grad(self, tensor: Tensor) -> Any:
        """What is in the gradient slot of a tensor from outside."""
        cell = self._grad_cell(tensor)
        if cell.written:
            cell.consumed = True
            return cell.current_grad
        if cell.input is None:
            old = cell.initial
            if old is None or old is NOT_STORED:
                return old
            if old._node.value is None:
                runtime.evaluate([old._node])
            cell.input = self.new_input(old.shape, old.dtype)
            cell.current_grad = Tensor(cell.input)
        return cell.current_grad

    def write_grad(self, tensor: Tensor, value: Tensor | None) -> None:
        """Fill or empty the gradient slot of a tensor from outside."""
        cell = self._grad_cell(tensor)
        if not cell.written and cell.input is None and value is None:
            cell.overwritten = True
        cell.written = True
        cell.consumed = False
        cell.current_grad = value

    # --- numbers ----------------------------------------------------------------------------------

    def lift(self, getter: Callable[[], float]) -> Node:
        """A hyperparameter as an input of the program."""
        node = self.new_input((), float64)
        self.lifted.append((getter, node))
        return node

    def guard(self, getter: Callable[[], Any]) -> Any:
        """A flag on which the recorded graph depends."""
        value = getter()
        self.guards.append((getter, value))
        return value
