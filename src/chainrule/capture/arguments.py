"""Arguments of compiled functions: which are inputs of the program, and where their elements lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import runtime
from ..dtypes import BY_NAME, default_complex, default_float
from ..errors import CompileError, DTypeError, ShapeError
from ..graph.node import Node
from ..ops.base import mode
from ..tensor import Tensor, placeholder_below, state

DTYPES = frozenset(d.numpy for d in BY_NAME.values())


class Differentiated(CompileError):
    """An argument is being differentiated or batched: the function itself is recorded, for programs keep no history."""

    def __init__(self):
        super().__init__(
            "an argument requires gradients, or is a placeholder; a native loop keeps no history\n"
            "help: detach the argument, or write the loop in Python"
        )


def evaluated(node: Node) -> np.ndarray:
    """The value of an argument."""
    if placeholder_below(node) is not None:
        raise Differentiated
    runtime.evaluate([node])
    assert node.value is not None
    return node.value


def argument_array(leaf: Any) -> np.ndarray | None:
    """The array of an argument that is an input of the program; None for one that is part of its structure."""
    if isinstance(leaf, Tensor):
        node = leaf._node
        if node.requires_grad and mode.grad_enabled and state.trace is None:
            raise Differentiated
        return evaluated(node) if node.value is None else node.value
    if isinstance(leaf, (np.ndarray, np.generic)):
        if leaf.dtype not in DTYPES:
            raise DTypeError(f"an argument has dtype {leaf.dtype}, which Chainrule does not have")
        return np.asarray(leaf, order="C")  # ascontiguousarray would give a number an axis
    if isinstance(leaf, (float, complex)):
        return np.array(leaf, (default_float if isinstance(leaf, float) else default_complex).numpy)
    return None


def rows_array(value: Any) -> np.ndarray:
    array = argument_array(value)
    if array is None or not array.ndim:
        raise ShapeError("epochs: each of arrays must be an array or tensor with rows along its first axis")
    return array
