"""Loops over random regions have the bits of their iterations evaluated one by one."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.dtypes import DType
from chainrule.graph.node import Node
from chainrule.ops.base import emit
from chainrule.ops.control import close, replay, results
from chainrule.ops.leaf import constant, placeholder

from .graphs import Generator
from .test_bits import native, same_bits

SEEDS = range(24)


class Differentiable(Generator):
    """Random graphs on leaves that require gradients."""

    def leaf(self, shape: tuple[int, ...], dtype: DType) -> Node:
        node = constant(np.array(self.array(shape, dtype)), dtype.kind == "f")
        self.nodes.append(node)
        return node


def region(
    seed: int, kind: type[Generator] = Generator
) -> tuple[list[Node], list[Node], list[Node], list[Node], dict[Node, Node]]:
    """Outputs, placeholders of carries and slices, first carries, and which leaf each placeholder stands for."""
    graph = kind(seed, count=14 + seed % 4 * 5, special=seed % 2 == 1 and kind is Generator)
    random = np.random.default_rng(seed)
    leaves = [n for n in graph.nodes if n.op.name == "constant" and n.value is not None]
    random.shuffle(leaves)  # type: ignore[arg-type]
    chosen = leaves[: 2 + seed % 3]
    carries, slices, first, outputs, replaced = [], [], [], [], {}
    for number, leaf in enumerate(chosen):
        inner = replaced[leaf] = placeholder(number, leaf.shape, leaf.dtype, leaf.requires_grad)
        fitting = [n for n in graph.nodes if n.shape == leaf.shape and n.dtype is leaf.dtype and n is not leaf]
        fitting += [emit("neg", leaf)] if leaf.dtype.kind in "if" else [leaf]
        if number % 3 != 2 and leaf.dtype.kind != "i":
            carries.append(inner)
            first.append(leaf)
            outputs.append(fitting[int(random.integers(len(fitting)))])
        else:
            slices.append(inner)
    outputs += graph.results[:3]
    if carries and seed % 3 == 0:  # what iterations begin with is wanted too
        outputs.append(first[0])
    return outputs, carries, slices, first, replaced


@pytest.mark.parametrize("seed", SEEDS)
def test_random_loops(seed: int) -> None:
    outputs, carries, slices, first, replaced = region(seed)
    length, reverse = 1 + seed % 5, seed % 4 >= 2
    loop, constants = close(outputs, carries, slices, length, reverse, replaced)
    random = np.random.default_rng(seed + 100)
    leaf_of = {inner: leaf for leaf, inner in replaced.items()}
    stacks = []
    for inner in slices:
        value = leaf_of[inner].value
        assert value is not None
        stacks.append(constant(np.stack([np.roll(value, int(random.integers(5))) for _ in range(length)])))
    found = results(loop, (*constants, *first, *stacks), range(len(loop.outputs)))
    carry, rows = list(first), [[] for _ in loop.outputs[len(carries) :]]
    for step in range(length):
        at = length - 1 - step if reverse else step
        bound = dict(zip(loop.constants, constants)) | dict(zip(loop.carries, carry))
        bound |= {inner: constant(np.array(stack.value[at])) for inner, stack in zip(loop.slices, stacks)}
        values = native(replay(loop.outputs, bound), baked=False)
        carry = [constant(value.copy()) for value in values[: len(carries)]]
        for row, value in zip(rows, values[len(carries) :]):
            row.append(value)
    expected = [node.value for node in carry] + [np.stack(row[::-1] if reverse else row) for row in rows]
    for baked in (False, True):
        same_bits(expected, native(found, baked), found, f"loop of {length}, baked {baked}")
