"""Long runs in bounded memory, and no compilation for a new shape: short forms of what benchmarks/memory measures."""

from __future__ import annotations

import gc
import tracemalloc
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, runtime
from chainrule.backends.cpu import toolchain
from chainrule.graph.node import Node

RANDOM = np.random.default_rng(2)


@pytest.fixture
def compiled(monkeypatch):
    """Lists the modules that are compiled from here on; the disk cache is off."""
    from chainrule.compiler import cache, code

    calls = []
    before = toolchain.compile_ir
    monkeypatch.setattr(toolchain, "compile_ir", lambda *a, **k: calls.append(a[0]) or before(*a, **k))
    monkeypatch.setattr(cache, "folder", lambda: None)
    monkeypatch.setattr(code, "_addresses", {})
    return calls


def nodes() -> int:
    gc.collect()
    return sum(isinstance(thing, Node) for thing in gc.get_objects())


def training(size: int = 16):
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 3))
    optimiser = optim.Adam(model.parameters(), lr=0.01)
    x = cr.asarray(RANDOM.normal(size=(size, 4)).astype(np.float32))
    y = cr.asarray(RANDOM.integers(0, 3, size))

    def step():
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        return loss

    return step


def test_uncompiled_training_in_bounded_memory(compiled):
    step = training()
    for _ in range(150):  # beyond the specialisation of what comes back
        step().item()
    modules, live, programs = len(compiled), nodes(), len(runtime._programs)
    tracemalloc.start()
    try:
        for _ in range(100):
            step().item()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            step().item()
        gc.collect()
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert growth < 20_000
    assert abs(nodes() - live) < 50
    assert len(compiled) == modules and len(runtime._programs) == programs


def test_training_without_reading_the_loss_in_bounded_memory():
    step = training()
    for _ in range(150):
        step()
    live, kept = nodes(), []
    for n in range(300):
        loss = step()
        if n % 100 == 0:
            kept.append(loss)
    assert abs(nodes() - live) < 150  # the losses that are kept hold their own step at most
    assert np.isfinite([loss.item() for loss in kept]).all()


def test_a_running_sum_that_nobody_reads_is_evaluated_in_between():
    total = cr.zeros((8,))
    one = cr.asarray(np.full(8, 0.5, np.float32))
    most = 0
    for n in range(60_000):
        total = total + one
        if n % 5000 == 4999:
            most = max(most, nodes())
    assert most < 45_000
    assert total.tolist() == [30_000.0] * 8


def test_random_shapes_compile_nothing_and_memory_is_bounded(compiled, monkeypatch):
    monkeypatch.setattr(runtime, "MAXIMUM_PROGRAMS", 40)

    def work(rows: int, inner: int, columns: int) -> float:
        a = cr.asarray(np.full((rows, inner), 0.1, np.float32))
        b = cr.asarray(np.full((inner, columns), 0.2, np.float32))
        c = cr.tanh(a @ b + 0.3)
        return (c.sum(axis=0).max() + c.mean(axis=1).sum() + cr.concat([c, c], axis=1).sum()).item()

    def call() -> None:
        rows, inner, columns = (int(n) for n in RANDOM.integers(2, 90, 3))
        expected = np.tanh(np.full((rows, columns), inner * 0.02 + 0.3))
        wanted = expected[:, 0].sum() + expected[:, 0].sum() + 2 * expected.sum()
        np.testing.assert_allclose(work(rows, inner, columns), wanted, rtol=1e-4)

    for _ in range(60):
        call()
    modules = len(compiled)
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(45):
            call()
        gc.collect()
        before, live = tracemalloc.get_traced_memory()[0], nodes()
        for _ in range(150):
            call()
        gc.collect()
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(compiled) == modules
    assert len(runtime._programs) <= 40
    assert growth < 1_500_000 and nodes() - live < 300


def test_a_new_batch_size_of_a_compiled_step_compiles_nothing(compiled):
    w = cr.asarray(RANDOM.normal(size=(40, 24)).astype(np.float32))
    f = cr.compile(lambda x: cr.tanh(x @ w).mean(axis=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rows in (64, 63):
            f(np.ones((rows, 40), np.float32))
        modules = len(compiled)
        for rows in (62, 33, 100, 257, 128, 31, 20):
            assert f(np.ones((rows, 40), np.float32)).shape == (rows,)
    assert len(compiled) == modules


def test_compiled_calls_in_bounded_memory():
    w = cr.asarray(np.zeros((30, 30), np.float32))

    def f(x):
        w._rebind((w + x)._node)
        return (w * x).sum()

    g = cr.compile(f)
    x = cr.asarray(np.ones((30, 30), np.float32))
    for _ in range(20):
        g(x)
    live = nodes()
    tracemalloc.start()
    try:
        g(x)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2000):
            g(x)
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert growth < 10_000 and abs(nodes() - live) < 10
    assert w.numpy()[0, 0] == 2021
