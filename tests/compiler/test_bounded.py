"""Long runs in bounded memory, and no compilation for a new shape: short forms of what benchmarks/memory measures."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, runtime
from chainrule.backends.cpu import toolchain
from chainrule.compiler import program
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
    return sum(type(thing) is Node for thing in gc.get_objects())


def growth(call, count: int) -> int:
    """Bytes by which memory grows in `count` calls: the least of three times, as tables of the interpreter grow too."""
    tracemalloc.start()
    try:
        sizes = []
        for number in range(4):
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
            for _ in range(count if number < 3 else 0):
                call()
    finally:
        tracemalloc.stop()
    return min(b - a for a, b in itertools.pairwise(sizes))


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
    assert growth(lambda: step().item(), 500) < 20_000
    assert abs(nodes() - live) < 50
    assert len(compiled) == modules and len(runtime._programs) == programs


def test_training_without_reading_the_loss_in_bounded_memory():
    step = training()
    for _ in range(150):
        step()
    counts = []
    for _ in range(3):
        for _ in range(100):
            step()
        counts.append(nodes())
    assert max(counts) - min(counts) < 50


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

    def call(*shape: int) -> None:
        rows, inner, columns = shape or (int(n) for n in RANDOM.integers(2, 90, 3))
        expected = np.tanh(np.full((rows, columns), inner * 0.02 + 0.3))
        wanted = expected[:, 0].sum() + expected[:, 0].sum() + 2 * expected.sum()
        np.testing.assert_allclose(work(rows, inner, columns), wanted, rtol=1e-4)

    for rows, inner, columns in itertools.product((2, 5, 12, 24, 90), repeat=3):  # all kinds of kernels
        call(rows, inner, columns)
    modules, live = len(compiled), nodes()
    assert growth(call, 60) < 500_000
    assert len(compiled) == modules
    assert len(runtime._programs) <= 40 and nodes() - live < 300


def test_memory_that_waits_for_the_next_call_is_bounded(monkeypatch):
    monkeypatch.setattr(program, "IDLE_BYTES", 1 << 20)
    idle = program._Idle()
    monkeypatch.setattr(program, "_idle", idle)
    f = cr.compile(lambda x: cr.tanh(x.T @ x).sum(axis=1) @ x.T)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = [f(np.full((8, n), 0.5, np.float32)).numpy() for n in range(200, 240, 2)]
    assert 0 < idle._bytes <= 1 << 20
    kept = sum(i.arena.nbytes for entry in f.programs for p in entry._programs.values() for i in p.idle)
    assert kept == idle._bytes == sum(size for _, _, size in idle._waiting.values())
    again = [f(np.full((8, n), 0.5, np.float32)).numpy() for n in range(200, 240, 2)]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(results, again))
    del f
    gc.collect()
    assert idle._bytes == 0  # a program that goes takes its memory with it


@pytest.mark.parametrize("shape", [(300, 301), (1100, 1000)])
def test_another_long_reduction_compiles_nothing(compiled, shape):
    def work(rows: int, columns: int) -> None:
        x = cr.asarray(np.full((rows, columns), 0.5, np.float32))
        assert (x.sum().item(), (x @ x.T).sum(axis=0)[0].item()) == (rows * columns / 2, rows * columns / 4)
        assert x.reshape((-1, 2)).sum(axis=0).tolist() == [rows * columns / 4] * 2

    rows, columns = shape
    work(rows, columns)
    modules = len(compiled)
    for more in (2, 30, 60):
        work(rows + more, columns)
    assert len(compiled) == modules


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
    assert growth(lambda: g(x), 700) < 10_000 and abs(nodes() - live) < 10
    assert w.numpy()[0, 0] == 20 + 4 * 700 - 700
