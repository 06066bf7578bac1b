"""`Node`: one processing node of the computation graph, and iterative walks over nodes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dtypes import DType
from ..lines import PACKAGE, describe_line

if TYPE_CHECKING:
    from ..ops.base import Primitive

_serial = 0
_getframe = sys._getframe


class Node:
    """The result of applying one primitive to nodes: a value that is pending or present.

    Attributes:
        op: the primitive, with its attributes.
        inputs: operand nodes; emptied when the node is evaluated and needs no history.
        shape, dtype: the type of the value, known when recorded.
        value: the value as a read-only C-contiguous array, or None while pending.
        requires_grad: whether history is kept for differentiation.
        serial: recording order; operands have smaller serials than their results.
        where: (code object, instruction offset) of the user's line, see `location`. The line number
            is looked up only when it is asked for: finding it costs more than recording the node.
        address: where the value lies in memory; set by `locate` when first asked for.
        owner: weak reference to the tensor whose `.grad` this node's gradient goes to, or None.
    """

    __slots__ = (
        "__weakref__", "address", "dtype", "inputs", "op", "owner", "requires_grad", "serial", "shape", "value",
        "where",
    )  # fmt: skip
    address: int

    def __init__(
        self,
        op: Primitive,
        inputs: tuple[Node, ...],
        shape: tuple[int, ...],
        dtype: DType,
        value: np.ndarray | None = None,
        requires_grad: bool = False,
        where: tuple[CodeType, int] | None = None,
    ):
        global _serial
        _serial = serial = _serial + 1
        self.op = op
        self.inputs = inputs
        self.shape = shape
        self.dtype = dtype
        self.value = value
        self.requires_grad = requires_grad
        self.serial = serial
        self.owner: Any = None
        if where is None:
            frame: Any = _getframe(1)
            while frame is not None:
                code = frame.f_code
                if not code.co_filename.startswith(PACKAGE):
                    where = (code, frame.f_lasti)
                    break
                frame = frame.f_back
        self.where = where

    def __repr__(self) -> str:
        return f"%{self.serial} = {self.op!r} : {self.dtype.name}{list(self.shape)}"

    @property
    def location(self) -> str:
        """``file:line`` of the user's code that recorded this node."""
        return describe_line(self.where)


def recorded() -> int:
    """How many nodes were recorded so far: the serial of the last one."""
    return _serial


def locate(node: Node) -> int:
    """Address of the first element of a present value, which never moves."""
    try:
        return node.address
    except AttributeError:
        assert node.value is not None
        node.address = found = node.value.__array_interface__["data"][0]
        return found


def topological(roots: Iterable[Node], stop_at_values: bool = True) -> list[Node]:
    """All nodes that `roots` depend on, operands before results, iteratively.

    With `stop_at_values`, nodes that already have a value are included but not walked through.
    """
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[Any] = list(roots)  # nodes, and None above one whose operands follow
    stack.reverse()
    while stack:
        node = stack.pop()
        if node is None:  # the operands of the node below are done
            order.append(stack.pop())
        elif node not in seen:
            seen.add(node)
            if not node.inputs or (stop_at_values and node.value is not None):
                order.append(node)
            else:
                stack += (node, None)
                for operand in node.inputs[::-1]:
                    if operand not in seen:
                        stack.append(operand)
    return order
