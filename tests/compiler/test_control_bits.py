"""Choices among random regions, and loops over them that a condition ends, have the bits of what they run."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.backends.interpreter import run
from chainrule.dtypes import bool_, int64
from chainrule.graph.node import Node
from chainrule.graph.verify import verify
from chainrule.ops.base import emit
from chainrule.ops.branches import close as close_branches
from chainrule.ops.control import close, replay, results
from chainrule.ops.leaf import constant, placeholder
from chainrule.transforms import jvp, vjp

from .graphs import Generator
from .test_bits import native, same_bits
from .test_loop_bits import Differentiable, region

SEEDS = range(16)


def regions(seed: int, kind: type[Generator] = Generator) -> list[list[Node]]:
    """Nodes of one random graph, in three lists of the same types."""
    graph = kind(seed, count=14 + seed % 4 * 5, special=seed % 2 == 1 and kind is Generator)
    random = np.random.default_rng(seed)
    found: list[list[Node]] = [[], [], []]
    for node in graph.results[:4]:
        fitting = [n for n in graph.nodes if n.shape == node.shape and n.dtype is node.dtype]
        found[0].append(node)
        for place in (1, 2):
            found[place].append(fitting[int(random.integers(len(fitting)))])
    return found


def everything(node: Node) -> bool:
    """All nodes belong to the regions; their leaves have values."""
    return True


@pytest.mark.parametrize("seed", SEEDS)
def test_random_branches(seed: int) -> None:
    outputs = regions(seed)
    closed = close_branches(outputs, everything)
    for number, expected in enumerate(outputs):
        found = results(closed.branches, (constant(np.int64(number)), *closed.operands), range(len(expected)))
        verify(found)
        values = native(expected, False)
        for baked in (False, True):
            same_bits(values, native(found, baked), found, f"branch {number}, baked {baked}")


@pytest.mark.parametrize("seed", SEEDS)
def test_derivatives_of_random_branches(seed: int) -> None:
    outputs = regions(seed, Differentiable)
    closed = close_branches(outputs, everything)
    wrt = [node for node in closed.operands if node.requires_grad]
    for number, plain in enumerate(outputs):
        found = results(closed.branches, (constant(np.int64(number)), *closed.operands), range(len(plain)))
        cotangents = [
            constant(np.cos(np.ones(n.shape)).astype(n.dtype.numpy)) if n.requires_grad else None for n in found
        ]
        tangents = [constant(np.sin(np.ones(n.shape)).astype(n.dtype.numpy)) for n in wrt]
        pairs = [*zip(vjp(found, cotangents, wrt), vjp(plain, cotangents, wrt))]
        pairs += [*zip(jvp(found, wrt, tangents), jvp(plain, wrt, tangents))]
        verify([node for node, _ in pairs if node is not None])
        for ours, other in pairs:
            if ours is None:
                assert other is None
                continue
            a, b = (
                np.zeros(ours.shape) if node is None else run([node])[0].astype("float64") for node in (ours, other)
            )
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_while_loops(seed: int) -> None:
    outputs, carries, _, first, replaced = region(seed)
    times = seed % 5
    if not carries:
        pytest.skip("nothing is carried")
    flag, count = placeholder(8, (), bool_), placeholder(9, (), int64)
    inside = {leaf: inner for leaf, inner in replaced.items() if inner in carries}
    plus = emit("add", count, emit("full", attributes=(1, (), int64)))
    going = emit("lt", plus, constant(np.int64(times)))
    following = outputs[: len(carries)]
    loop, constants = close([going, *following, plus], [flag, *carries, count], [], 0, False, inside)
    operands = (*constants, constant(np.asarray(times > 0)), *first, constant(np.int64(0)))
    found = results(loop, operands, range(1, len(carries) + 2))
    verify(found)
    carry = list(first)
    for _ in range(times):
        bound = dict(zip(loop.constants, constants)) | dict(zip(loop.carries[1:], [*carry, constant(np.int64(0))]))
        values = native(replay(loop.outputs[1:-1], bound), baked=False)
        carry = [constant(value.copy()) for value in values]
    expected = [node.value for node in carry] + [np.asarray(times)]
    for baked in (False, True):
        same_bits(expected, native(found, baked), found, f"{times} iterations, baked {baked}")
