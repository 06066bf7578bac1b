"""Copies of right operands in panels of vectors: right for every shape and dtype, and one function for all shapes."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import runtime
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.codegen import kernel_module
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler import tiling
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

SHAPES = [(3, 1, 5), (2, 2, 17), (5, 3, 1), (4, 4, 4), (7, 5, 33), (37, 41, 53), (8, 19, 16), (20, 130, 31)]


def packs(m: int, k: int, n: int, dtype=np.float32):
    """Keys and kernels of the copies that ``a @ b.T`` makes."""
    a, b = constant(np.zeros((m, k), dtype)), constant(np.zeros((n, k), dtype))
    product = emit("contract", a, b, attributes=((0, 1), (2, 1), (0, 2)))
    plan = make_plan(topological([product]), [product], CpuTiles(toolchain.host()), 1, None, True)
    return [(key, kernel) for key, kernel in zip(plan.keys, plan.kernels) if kernel.kind == "pack"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_products_with_transposed_operands(shape, dtype):
    m, k, n = shape
    generator = np.random.default_rng(k)
    a, b = (generator.integers(-9, 9, s).astype(dtype) for s in ((3, m, k), (3, n, k)))
    if dtype.startswith("float"):
        a, b = (a / 7).astype(dtype), (b / 3).astype(dtype)
    expected = a.astype(np.float64) @ b.astype(np.float64).swapaxes(1, 2)
    straight = np.ascontiguousarray(b.swapaxes(1, 2))
    plain = cr.compile(lambda a, b: a @ b)(cr.asarray(a), cr.asarray(straight)).numpy()
    for turned in (lambda a, b: a @ b.mT, lambda a, b: a[0] @ b[0].T):
        got = cr.compile(turned)(cr.asarray(a), cr.asarray(b)).numpy()
        want = expected if got.ndim == 3 else expected[0]
        np.testing.assert_allclose(got, want, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6 * k)
        np.testing.assert_array_equal(got, plain if got.ndim == 3 else plain[0])


def test_one_function_copies_operands_of_all_shapes():
    found = {key: kernel for shape in ((8, 19, 16), (37, 41, 53), (128, 512, 512)) for key, kernel in packs(*shape)}
    assert len(found) == 1
    (kernel,) = found.values()
    assert not kernel.baked and kernel.static[2]


@pytest.mark.skipif(toolchain.host().architecture != "x86_64", reason="instructions of x86-64")
def test_columns_are_transposed_in_registers():
    ((_, kernel),) = packs(37, 41, 53)
    text = toolchain.assembly(kernel_module([("k", kernel)], toolchain.host()))
    assert "unpck" in text


@pytest.mark.parametrize("shape", [(128, 64, 32, 64), (40, 33, 19, 21)], ids=str)
def test_a_batch_is_copied_and_multiplied_chunk_by_chunk(shape):
    """What a chunk of the batch copies is still in cache when it is multiplied; unless it is the same for all."""
    batch, m, k, n = shape
    a, b = (constant(np.zeros(s, np.float32)) for s in ((batch, m, k), (batch, n, k)))
    product = emit("contract", a, b, attributes=((0, 1, 2), (0, 3, 2), (0, 1, 3)))
    plan = make_plan(topological([product]), [product], CpuTiles(toolchain.host()), 1, None, True)
    tasks = [task for region in plan.regions for task in region.tasks]
    kinds = [[plan.kernels[call.kernel].kind for call in task.calls] for task in tasks]
    assert kinds == [["pack", "contract"]]
    assert batch != 128 or tasks[0].chunk < batch
    generator = np.random.default_rng(k)
    a, b = (generator.normal(size=s).astype(np.float32) for s in ((batch, m, k), (batch, n, k)))
    got = cr.compile(lambda a, b: a @ b.mT)(cr.asarray(a), cr.asarray(b)).numpy()
    np.testing.assert_allclose(got, a @ b.swapaxes(1, 2), rtol=1e-4, atol=1e-5 * k)
    one = cr.compile(lambda a, b: a @ b.T)(cr.asarray(a[7]), cr.asarray(b[7])).numpy()
    np.testing.assert_array_equal(got[7], one)


@pytest.mark.parametrize("kind", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("shape", [(100, 512, 96), (3, 97, 640, 128), (120, 300, 1000)], ids=str)
def test_operands_that_lie_far_apart_are_copied_where_vectors_are_short(shape, kind, monkeypatch) -> None:
    """Wherever both operands lie, and whether or not they are copied, the bits are the same."""
    *lead, m, k, n = shape
    generator = np.random.default_rng(m)
    a, b = (generator.normal(size=(*lead, *sides)).astype(np.float32) for sides in ((m, k), (k, n)))
    stored = (np.ascontiguousarray(x.swapaxes(-1, -2)) if turned == "T" else x for x, turned in zip((a, b), kind))
    left, right = map(cr.asarray, stored)

    results = []
    for size, copies in ((0, kind[1] == "T"), (1 << 20, 1 + (kind[0] == "T"))):  # no vector is short, every one is
        monkeypatch.setattr(tiling, "SHORT_VECTOR", size)
        runtime._programs.clear()
        function = cr.compile(lambda x, y: (x.mT if kind[0] == "T" else x) @ (y.mT if kind[1] == "T" else y) * 2.0)
        results.append(function(left, right).numpy())
        assert len(function.programs[0].plan.kernels) == 1 + copies
    runtime._programs.clear()
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], 2 * (a.astype(np.float64) @ b), rtol=0, atol=1e-6 * k)
