"""The printer and the verifier."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from chainrule.dtypes import float32
from chainrule.graph import Node
from chainrule.graph.printer import format_graph
from chainrule.graph.verify import verify
from chainrule.ops import emit, primitive
from chainrule.ops.leaf import constant, placeholder


def test_printed_graph() -> None:
    first = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
    x = placeholder(0, (2, 3), float32)
    y = emit("mul", x, emit("full", attributes=(0.5, (2, 3), float32)))
    z = emit("sum", y, attributes=((1,),))
    w = emit("add", z, constant(np.array([1, 2], "float32")))
    expected = f"""\
%0 : float32[2, 3] = placeholder index=0  # test_graph.py:{first}
%1 : float32[2, 3] = full value=0.5       # test_graph.py:{first + 1}
%2 : float32[2, 3] = mul %0, %1           # test_graph.py:{first + 1}
%3 : float32[2] = sum %2, axes=(1,)       # test_graph.py:{first + 2}
%4 : float32[2] = constant [1.0, 2.0]     # test_graph.py:{first + 3}
%5 : float32[2] = add %3, %4              # test_graph.py:{first + 3}
return %5, %3"""
    assert format_graph([w, z]) == expected


def test_printing_nothing() -> None:
    assert format_graph([]) == "return "


def test_verify_counts_nodes() -> None:
    x = constant(np.ones(3))
    assert verify([emit("add", x, x)]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda node: setattr(node, "shape", (4,)), "type rule"),
        (lambda node: setattr(node, "dtype", float32), "type rule"),
        (lambda node: setattr(node, "shape", (3.0,)), "tuple of non-negative"),
        (lambda node: setattr(node, "inputs", (node,)), "younger"),
        (lambda node: setattr(node, "value", np.ones(3)), "read-only"),
        (lambda node: setattr(node, "value", np.ones(2)), "another type"),
        (lambda node: setattr(node, "op", primitive("constant")), "leaf has operands"),
    ],
)
def test_verify_refuses(change, message: str) -> None:
    node: Node = emit("exp", constant(np.ones(3)))
    change(node)
    with pytest.raises(AssertionError, match=message):
        verify([node])
