"""Deep graphs: 10,000 operations in a chain, a recurrence of 2,000 unrolled steps, without recursion, in linear time.

Work is counted, in calls of Python functions and in nodes, not timed: the bound is the ratio of a graph to half of it.
"""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import runtime
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import Node, topological

#: how much more than twice the work twice the length may take
GENEROUS = 1.2
CHAIN, STEPS = 10_000, 2_000


def chain(length: int):
    """A function of that many operations one after the other, and its argument."""

    def f(x):
        for _ in range(length // 2):
            x = cr.sin(x) * 1.01
        return x.sum()

    return f, (cr.asarray(np.array([0.3, 0.5, 0.7])),)


def recurrence(length: int):
    """A recurrent network over that many steps, each recorded, and its weights and inputs."""
    generator = np.random.default_rng(0)

    def f(w, u, xs):
        h = cr.zeros((3,), dtype=w.dtype)
        for t in range(length):
            h = cr.tanh(w @ h + u @ xs[t])
        return h.sum()

    shapes = ((3, 3), (3, 2), (length, 2))
    return f, tuple(cr.asarray(generator.normal(0.0, 0.4, shape)) for shape in shapes)


def grad(f):
    return cr.grad(f)


def jvp(f):
    return lambda *args: cr.jvp(f, args, args)[1]


def hvp(f):
    return lambda *args: cr.jvp(cr.grad(f), args, args)[1]


def batch(f):
    return lambda *args: cr.vmap(f)(*[cr.stack([a, a]) for a in args])


TRANSFORMATIONS = {"value": lambda f: f, "grad": grad, "jvp": jvp, "hvp": hvp, "vmap": batch}
GRAPHS = {"chain": chain, "recurrence": recurrence}


def traced(make, transformation: str, length: int) -> Any:
    """The recorded program, not compiled."""
    f, args = make(length)
    function = cr.compile(TRANSFORMATIONS[transformation](f))
    key, _, definition, leaves = function._split(args, {})
    return function._find(key, definition, leaves)


def planned(entry: Any) -> Any:
    """What the compiler makes of a recorded program before it writes machine code."""
    return make_plan(entry.order, entry.nodes, CpuTiles(toolchain.host()), 1, entry.in_place, True)


def calls(action) -> int:
    """How many Python functions `action` calls."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


@pytest.fixture(autouse=True)
def low_recursion_limit():
    """Whatever recurses over a graph fails well below its depth."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(900)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("name", GRAPHS)
def test_recording_and_transforming_take_linear_work(name, transformation):
    make, short = GRAPHS[name], 500 if name == "chain" else 100
    sizes, work = [], []
    for length in (short, 2 * short):
        traced(make, transformation, length)  # what is imported and remembered on first use
        work.append(calls(lambda: sizes.append(len(traced(make, transformation, length).order))))  # noqa: B023
    assert sizes[1] <= 2.05 * sizes[0]
    assert work[1] <= 2 * GENEROUS * work[0]


@pytest.mark.parametrize("transformation", ["value", "grad", "hvp"])
@pytest.mark.parametrize("name", GRAPHS)
def test_compiling_takes_linear_work(name, transformation):
    """All passes up to the plan, without machine code, of which each kernel needs its own."""
    make, short = GRAPHS[name], 300 if name == "chain" else 60
    work = []
    for length in (short, 2 * short):
        entry = traced(make, transformation, length)
        work.append(calls(lambda: planned(entry)))  # noqa: B023
    assert work[1] <= 2 * GENEROUS * work[0]


@pytest.mark.parametrize("name", GRAPHS)
def test_full_length_records_differentiates_and_runs(name, monkeypatch):
    """By NumPy, which takes no time to compile; native code below."""
    monkeypatch.setenv("CHAINRULE_BACKEND", "interpreter")
    f, args = GRAPHS[name](CHAIN if name == "chain" else STEPS)
    value, gradient = cr.value_and_grad(f)(*args)
    assert np.isfinite(float(value)) and np.isfinite(gradient.numpy()).all()
    tangent = cr.jvp(f, args, (args[0], *map(cr.zeros_like, args[1:])))[1]
    slope = (gradient * args[0]).sum()
    np.testing.assert_allclose(float(tangent), float(slope), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", GRAPHS)
def test_backward_of_full_length_and_freeing(name, monkeypatch):
    """Thousands of nodes that hold one another are freed without a crash."""
    monkeypatch.setenv("CHAINRULE_BACKEND", "interpreter")
    f, args = GRAPHS[name](CHAIN if name == "chain" else STEPS)
    w = args[0].detach().requires_grad_()
    loss = f(w, *args[1:])
    loss.backward()
    assert np.isfinite(w.grad.numpy()).all()
    gone = weakref.ref(loss._node)
    del loss
    gc.collect()
    assert gone() is None


def test_200_000_nodes_are_freed_without_a_crash():
    """Pending nodes hold their operands; dropping the last must not recurse through them all in C."""
    node = cr.tensor(0.0)._node
    op = cr.sin(cr.tensor(0.0))._node.op
    for _ in range(200_000):
        node = Node(op, (node,), (), node.dtype)
    assert len(topological([node])) > 200_000
    del node
    gc.collect()


def test_the_chain_compiles_in_full_length():
    f, args = chain(CHAIN)
    x = args[0].numpy().copy()
    for _ in range(CHAIN // 2):
        x = np.sin(x) * 1.01
    np.testing.assert_allclose(float(cr.compile(f)(*args)), x.sum(), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("name", GRAPHS)
def test_full_length_compiled(name, transformation, pytestconfig):
    if not pytestconfig.getoption("--slow"):
        pytest.skip("with --slow; lengths from 60 to 1,000 above always run")
    f, args = GRAPHS[name](CHAIN if name == "chain" else STEPS)
    function = TRANSFORMATIONS[transformation](f)
    found = cr.tree_leaves(cr.compile(function)(*args))
    for result, expected in zip(found, cr.tree_leaves(function(*args)), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-12)


def test_pending_work_is_bounded():
    """Uncompiled, recorded work is evaluated now and then, so that no graph grows without end."""
    x = cr.tensor([0.5])
    for _ in range(12_000):
        x = cr.sin(x) + 1.0
    assert len(topological([x._node])) < 6_000
    assert runtime.MAXIMUM_PROGRAMS > 0
