"""The bits of a node depend on nothing but itself: random graphs evaluated in many ways give the same bytes.

More graphs than a test run has time for: ``python -m tests.compiler.test_bits FIRST LAST``.
"""

from __future__ import annotations

import contextlib
import sys
from unittest import mock

import numpy as np
import pytest

import chainrule as cr
from chainrule import runtime
from chainrule.compiler import cache, code, schedule
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


def same_bits(expected: list[np.ndarray], got: list[np.ndarray], nodes: list[Node], how: str) -> None:
    """Fail at the first node whose bytes differ; NaN counts as one value (see `test_...`)."""
    for number, (a, b, node) in enumerate(zip(expected, got, nodes, strict=True)):
        assert a.dtype == b.dtype and a.shape == b.shape, how
        if a.tobytes() != b.tobytes():
            where = np.argwhere(a.view(f"u{a.itemsize}") != b.view(f"u{b.itemsize}"))
            first = tuple(where[0]) if a.ndim else ()
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
        with mock.patch.object(schedule, "SERIAL_NS", 1.0), mock.patch.object(schedule, "CHUNK_NS", 1.0):
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
            near = np.abs(got - expected) <= room
            near |= (got == expected) | (np.isnan(got) & np.isnan(expected)) | ~np.isfinite(room)
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
