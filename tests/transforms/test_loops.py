"""Derivatives of loops over random regions are those of their iterations one behind the other; checkpoints in loops."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.interpreter import run
from chainrule.graph.node import Node
from chainrule.graph.verify import verify
from chainrule.ops.base import emit
from chainrule.ops.control import Loop, close, replay, results
from chainrule.ops.leaf import constant
from chainrule.transforms import jvp, vjp
from tests.compiler.test_loop_bits import Differentiable, region


def unrolled(loop: Loop, constants: list[Node], first: list[Node], stacks: list[Node]) -> list[Node]:
    """The results of a loop without a loop."""
    carry = list(first)
    rows: list[list[Node]] = [[] for _ in loop.outputs[len(first) :]]
    for step in range(loop.length):
        at = loop.length - 1 - step if loop.reverse else step
        bound = dict(zip(loop.constants, constants)) | dict(zip(loop.carries, carry))
        for inner, stack in zip(loop.slices, stacks):
            bounds = ((at, *(0 for _ in inner.shape)), (at + 1, *inner.shape), (1,) * (len(inner.shape) + 1))
            bound[inner] = emit("reshape", emit("slice", stack, attributes=bounds), attributes=(inner.shape,))
        values = replay(loop.outputs, bound)
        carry = values[: len(first)]
        for row, value in zip(rows, values[len(first) :]):
            row.append(emit("reshape", value, attributes=((1, *value.shape),)))
    return carry + [emit("concat", *(row[::-1] if loop.reverse else row), attributes=(0,)) for row in rows]


def waves(node: Node, function) -> Node:
    """Weights in the type of a node."""
    count = int(np.prod(node.shape))
    return constant(function(np.arange(count)).reshape(node.shape).astype(node.dtype.numpy))


@pytest.mark.parametrize("seed", range(20))
def test_random_loops(seed: int) -> None:
    outputs, carries, slices, first, replaced = region(seed, Differentiable)
    leaf_of = {inner: leaf for leaf, inner in replaced.items()}
    length = 2 + seed % 4
    loop, constants = close(outputs, carries, slices, length, seed % 4 >= 2, replaced)
    stacks = []
    for inner in slices:
        value = leaf_of[inner].value
        assert value is not None
        rows = [value * (1 - 0.1 * k) if value.dtype.kind == "f" else value for k in range(length)]
        stacks.append(constant(np.stack(rows).astype(value.dtype), inner.requires_grad))
    found = results(loop, (*constants, *first, *stacks), range(len(loop.outputs)))
    plain = unrolled(loop, constants, first, stacks)
    wrt = list(dict.fromkeys(n for n in (*constants, *first, *stacks) if n.requires_grad))
    cotangents = [waves(n, np.cos) if n.requires_grad else None for n in found]
    tangents = [waves(n, np.sin) for n in wrt]
    pairs = [*zip(vjp(found, cotangents, wrt), vjp(plain, cotangents, wrt))]
    pairs += [*zip(jvp(found, wrt, tangents), jvp(plain, wrt, tangents))]
    verify([node for node, _ in pairs if node is not None])
    for ours, other in pairs:
        if ours is None and other is None:
            continue
        a, b = (np.zeros(()) if node is None else run([node])[0].astype("float64") for node in (ours, other))
        assert (np.isfinite(a) == np.isfinite(b)).all()
        inside = np.isfinite(b)
        scale = np.abs(b[inside]).max(initial=1e-3)
        assert (np.abs(a - b)[np.broadcast_to(inside, a.shape)] <= 1e-3 * scale).all()


def test_checkpointed_blocks_take_less_memory() -> None:
    random = np.random.default_rng(0)
    w, xs, first = (cr.asarray(random.normal(size=s) * 0.3) for s in ((16, 16), (256, 8, 16), (8, 16)))

    def steps(w, h, xs):
        return cr.scan(lambda h, x: (cr.tanh(h @ w + x), None), h, xs)

    def plain(w, xs):
        return (steps(w, first, xs)[0] ** 2).sum()

    def blocks(w, xs):
        whole = cr.scan(lambda h, part: cr.checkpoint(steps, w, h, part), first, xs.reshape((16, 16, 8, 16)))
        return (whole[0] ** 2).sum()

    memory = []
    expected = cr.value_and_grad(plain, argnums=(0,))(w, xs)
    for f in (plain, blocks):
        gradients = cr.compile(cr.value_and_grad(f, argnums=(0,)))
        value, parts = gradients(w, xs)
        np.testing.assert_allclose(value.numpy(), expected[0].numpy(), rtol=1e-13)
        for part, other in zip(parts, expected[1]):
            np.testing.assert_allclose(part.numpy(), other.numpy(), rtol=1e-10, atol=1e-12)
        memory.append(gradients.trace(w, xs).plan.arena_bytes)
    assert memory[1] < 0.2 * memory[0]


def test_a_loop_inside_a_checkpoint() -> None:
    x, xs = cr.asarray([0.3, 0.7]), cr.asarray(np.random.default_rng(0).normal(size=(5, 2)).astype("float32"))

    def loop(x):
        return cr.scan(lambda c, s: (cr.sin(c * x) + s, c), x, xs)[1].sum()

    expected = cr.grad(loop)(x)
    found = cr.grad(lambda x: cr.checkpoint(loop, x))(x)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)
