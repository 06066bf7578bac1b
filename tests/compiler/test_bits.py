"""The bits of a node depend on nothing but itself: random graphs evaluated in many ways give the same bytes.

More graphs than a test run has time for: ``python -m tests.compiler.test_bits FIRST LAST``.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from unittest import mock

import numpy as np
import pytest

import chainrule as cr
from chainrule import runtime
from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler import cache, chunks, code
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import Node, topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant
from tests.compiler.graphs import Generator, tolerance

SEEDS = range(14)


def native(outputs: list[Node], baked: bool) -> list[np.ndarray]:
    """Values of nodes by a program of their own."""
    order = topological(outputs)
    program = runtime.compile_nodes(order, outputs, baked)
    _, leaves, scalars = runtime.structure(order, outputs)
    return program.run(leaves, scalars)


def bits(array: np.ndarray) -> np.ndarray:
    """The bits as unsigned integers. All NaN are one value: which operand's sign and payload an instruction passes on
    depends on the order in which LLVM puts them, and no operation on numbers can see the difference."""
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return array.view(f"u{array.itemsize}")


def same_bits(expected: list[np.ndarray], got: list[np.ndarray], nodes: list[Node], how: str) -> None:
    """Fail at the first node whose bits differ."""
    for number, (a, b, node) in enumerate(zip(expected, got, nodes, strict=True)):
        assert a.dtype == b.dtype and a.shape == b.shape, how
        if a.tobytes() != b.tobytes() and not np.array_equal(bits(a), bits(b)):
            where = np.argwhere(bits(a) != bits(b))
            first = tuple(int(n) for n in where[0]) if a.ndim else ()
            raise AssertionError(
                f"{how}: result {number} ({node!r}) differs at {len(where)} of {a.size} places, first {first}:"
                f" {a[first]!r} {a[first].tobytes().hex()} and {b[first]!r} {b[first].tobytes().hex()}"
            )


def with_cuts(graph: Generator, share: float, baked: bool) -> list[np.ndarray]:
    """The results, after random intermediate nodes were evaluated in random groups, in programs of their own."""
    inner = [n for n in graph.nodes if n.value is None and n.op.name != "full"]
    chosen = [n for n in inner if graph.random.random() < share]
    try:
        while chosen:
            count = int(graph.random.integers(1, 5))
            group, chosen = chosen[:count], chosen[count:]
            for node, value in zip(group, native(group, baked)):
                node.value = value
        return [r.value if r.value is not None else native([r], baked)[0] for r in graph.results]
    finally:
        for node in inner:
            node.value = None


@contextlib.contextmanager
def threads(count: int):
    """Many small chunks, claimed by `count` threads."""
    before = cr.get_num_threads()
    cr.set_num_threads(count)
    try:
        with mock.patch.object(chunks, "SERIAL_NS", 1.0), mock.patch.object(chunks, "CHUNK_NS", 1.0):
            yield
    finally:
        cr.set_num_threads(before)


@contextlib.contextmanager
def optimisation(level: int):
    """Kernels compiled anew at another level of LLVM's passes."""
    with (
        mock.patch.object(code, "optimisation", lambda kernels: level),
        mock.patch.object(code, "_addresses", {}),
        mock.patch.object(cache, "folder", lambda: None),
    ):
        yield


def against_interpreter(graph: Generator, nodes: list[Node], values: list[np.ndarray]) -> None:
    """Every primitive on the values that the native code gave for its operands, by NumPy."""
    known = {id(n): n.value for n in graph.nodes if n.value is not None} | {id(n): v for n, v in zip(nodes, values)}
    with np.errstate(all="ignore"):
        for node, got in zip(nodes, values):
            operands = [known[id(operand)] for operand in node.inputs]
            expected = np.asarray(node.op.numpy(*operands))
            assert expected.dtype == got.dtype and expected.shape == got.shape
            if got.dtype.kind != "f":
                np.testing.assert_array_equal(got, expected, err_msg=repr(node))
                continue
            room = tolerance(node, operands, expected) + np.finfo(got.dtype).tiny * 2
            near = (np.abs(got - expected) <= room) | (got == expected) | (np.isnan(got) & np.isnan(expected))
            near |= ~np.isfinite(room)
            assert near.all(), f"{node!r}: {got[~near][:3]} is not {expected[~near][:3]}"


def check(seed: int) -> None:
    """One random graph in all ways."""
    graph = Generator(seed, count=18 + seed % 5 * 6, special=seed % 2 == 1, scale=1 + 16 * (seed % 7 == 6))
    results = graph.results
    with threads(1):
        whole = native(results, True)
        same_bits(whole, native(results, False), results, "generic")
        same_bits(whole, with_cuts(graph, 0.3, False), results, "cut, generic")
        every = [n for n in graph.nodes if n.value is None]
        values = native(every, False)
        place = {id(n): v for n, v in zip(every, values)}
        same_bits(whole, [place[id(r)] for r in results], results, "all nodes as outputs")
        against_interpreter(graph, every, values)
    if seed % 3 == 0:
        with threads(1):
            same_bits(whole, with_cuts(graph, 1.0, True), results, "cut, specialised")
    for count in (2, 3):
        with threads(count):
            for baked in (True, False):
                same_bits(whole, native(results, baked), results, f"{count} threads")
    if seed % 3 == 1:
        for level in (0, 1):
            with optimisation(level):
                same_bits(whole, native(results, True), results, f"optimisation level {level}")


@pytest.mark.parametrize("seed", SEEDS)
def test_random_graphs_have_the_same_bits_however_they_are_evaluated(seed):
    check(seed)


# --- particular graphs --------------------------------------------------------------------------------


def node(array) -> Node:
    return constant(np.array(array))


@pytest.mark.parametrize("baked", [True, False], ids=["specialised", "generic"])
def test_views_inputs_and_duplicates_as_results(baked):
    x = node(np.arange(24.0, dtype=np.float32).reshape(4, 6))
    y = emit("exp", x)
    wide = emit("broadcast", emit("full", attributes=(0.3, (), x.dtype)), attributes=((2, 3), ()))
    count = emit("permute", emit("iota", attributes=((3, 4), 0, x.dtype)), attributes=((1, 0),))
    results = [
        y, y, x, x, emit("permute", y, attributes=((1, 0),)), emit("reshape", x, attributes=((24,),)),
        emit("flip", x, attributes=((1,),)), emit("slice", y, attributes=((1, 0), (4, 6), (2, 3))), wide, count,
        emit("broadcast", y, attributes=((2, 4, 6), (1, 2))), emit("stop_gradient", y), emit("neg", y),
    ]  # fmt: skip
    values = native(results, baked)
    for result, got, expected in zip(results, values, interpreter.run(results)):
        np.testing.assert_allclose(got, expected, rtol=1e-6, err_msg=repr(result))
    for a in range(len(values)):  # no result lies in memory of another, or of an input
        assert not np.shares_memory(values[a], x.value)
        assert not any(np.shares_memory(values[a], other) for other in values[a + 1 :])
        assert values[a].flags.c_contiguous and not values[a].flags.writeable


@pytest.mark.parametrize("baked", [True, False], ids=["specialised", "generic"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (3, 0), (2, 0, 4), (1, 1, 1)])
def test_empty_and_tiny_shapes(shape, baked):
    x, rank = node(np.full(shape, 0.5, np.float32)), len(shape)
    size = int(np.prod(shape))
    y = emit("add", emit("exp", x), x)
    results = [y, emit("reshape", y, attributes=((size, 1),))]
    results.append(emit("permute", y, attributes=(tuple(range(rank))[::-1],)))
    results.append(emit("broadcast", y, attributes=((2, *shape), tuple(range(1, rank + 1)))))
    for axes in {tuple(range(rank)), tuple(range(max(rank - 1, 0))), (rank - 1,) if rank else ()}:
        results += [emit(name, y, attributes=(axes,)) for name in ("sum", "prod")]
        results.append(emit("mul", emit("sum", emit("mul", y, x), attributes=(axes,)), results[-1]))
    if rank:
        zero = emit("full", attributes=(0.25, (), x.dtype))
        results += [emit("concat", y, x, y, attributes=(0,)), emit("flip", y, attributes=((0,),))]
        results.append(emit("pad", y, zero, attributes=((1,) * rank, (0,) * rank, (1,) * rank)))
        results.append(emit("take", y, node(np.zeros((0, 2), np.int64)), attributes=(0,)))
        results.append(emit("scatter_add", y, node(np.zeros(0, np.int64)), zeros(0, *shape[1:]), attributes=(0,)))
    if rank == 2:
        results.append(emit("contract", y, x, attributes=((0, 1), (2, 1), (0, 2))))
        results.append(emit("contract", x, y, attributes=((0, 1), (0, 2), (1, 2))))
    for result, got, expected in zip(results, native(results, baked), interpreter.run(results)):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-6, err_msg=repr(result))


def zeros(*shape: int) -> Node:
    return node(np.zeros(shape, np.float32))


def chain(x: Node, length: int) -> Node:
    one = emit("full", attributes=(0.37, x.shape, x.dtype))
    for n in range(length):
        x = emit(("tanh", "add", "mul", "sub")[n % 4], *((x,) if n % 4 == 0 else (x, one)))
    return x


def wide(x: Node, width: int) -> Node:
    """`width` results of one operand, each with a sum of its own, added up."""
    total = None
    for n in range(width):
        number = emit("full", attributes=(0.1 + n, x.shape, x.dtype))
        part = emit("sum", emit("mul", x, number), attributes=((0,),))
        total = part if total is None else emit("add", total, part)
    return total


def ladder(x: Node, length: int) -> Node:
    """Steps that no kernel can take together: each needs the whole of the one before."""
    for _ in range(length):
        total = emit("sum", x, attributes=((0,),))
        x = emit("div", x, emit("broadcast", emit("add", emit("abs", total), one_of(total)), attributes=(x.shape, ())))
    return x


def one_of(x: Node) -> Node:
    return emit("full", attributes=(1.0, x.shape, x.dtype))


@pytest.mark.parametrize("make", [chain, wide, ladder])
def test_long_and_wide_graphs_compile_in_linear_time(make):
    limit = sys.getrecursionlimit()
    x = node(np.linspace(0.1, 1, 50, dtype=np.float32))
    times = []
    for count in (250, 2000):
        result = make(x, count)
        sys.setrecursionlimit(limit - limit // 3)
        gc.collect()
        gc.disable()  # it would walk through what other tests have left as well
        try:
            start = time.process_time()
            order = topological([result])
            tiles = CpuTiles(toolchain.host())
            make_plan(order, [result], tiles, 2, None, True)
            times.append(time.process_time() - start)
        finally:
            gc.enable()
            sys.setrecursionlimit(limit)
    assert times[1] < 8 * times[0] * 3 + 0.2, times
    got = native([make(x, 600)], False)[0]
    np.testing.assert_allclose(got, interpreter.run([make(x, 600)])[0], rtol=1e-4, atol=1e-6)


if __name__ == "__main__":
    import traceback

    failed = []
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        try:
            check(number)
        except Exception as error:
            failed.append(number)
            print(f"seed {number}: {type(error).__name__}: {str(error)[:600]}")
            if "-v" in sys.argv:
                traceback.print_exc()
    print("failed:", failed)
