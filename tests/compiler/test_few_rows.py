"""Products of few rows: right operands that lie across are transposed in registers; a row's bits never depend on how
many rows there are, nor on how the operands lie."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler.kernel import Tiling
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

SHAPES = [(1, 16, 2), (1, 19, 65), (2, 33, 16), (3, 99, 40), (4, 41, 7), (1, 1100, 70), (2, 5, 30), (5, 64, 48)]


def kernels(m: int, k: int, n: int):
    """Kernels of ``a @ b.T``."""
    a, b = constant(np.zeros((m, k), np.float32)), constant(np.zeros((n, k), np.float32))
    product = emit("contract", a, b, attributes=((0, 1), (2, 1), (0, 2)))
    return make_plan(topological([product]), [product], CpuTiles(toolchain.host()), 1, None, True).kernels


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_have_the_same_bits_in_every_product(shape, dtype):
    m, k, n = shape
    generator = np.random.default_rng(n)
    a, b = (generator.normal(size=s) * 9 for s in ((40, k), (n, k)))
    a, b = a.astype(dtype), b.astype(dtype)
    straight, turned = np.ascontiguousarray(b.T), np.ascontiguousarray(a[:m].T)
    expected = a[:m].astype(np.float64) @ b.T.astype(np.float64)
    results = [
        cr.compile(lambda a, b: a @ b.T)(cr.asarray(a[:m]), cr.asarray(b)),
        cr.compile(lambda a, b: a @ b)(cr.asarray(a[:m]), cr.asarray(straight)),
        cr.compile(lambda a, b: a.T @ b.T)(cr.asarray(turned), cr.asarray(b)),
        cr.compile(lambda a, b: a @ b.T)(cr.asarray(a), cr.asarray(b))[:m],
        cr.compile(lambda a, b: a[None] @ b.T)(cr.asarray(a[:m]), cr.asarray(b))[0],
        cr.asarray(a[:m]) @ cr.asarray(b).T,
    ]
    np.testing.assert_allclose(results[0].numpy(), expected, rtol=1e-4, atol=1e-2 if dtype == "float32" else 1e-9)
    for result in results[1:]:
        np.testing.assert_array_equal(results[0].numpy(), result.numpy())


def test_batches_of_few_rows():
    generator = np.random.default_rng(3)
    q, k = (generator.normal(size=s).astype(np.float32) for s in ((5, 2, 36), (5, 43, 36)))
    got = cr.compile(lambda q, k: cr.tanh(q @ k.mT * 0.1))(cr.asarray(q), cr.asarray(k)).numpy()
    np.testing.assert_allclose(got, np.tanh(q @ k.swapaxes(1, 2) * 0.1), rtol=1e-5, atol=1e-6)


def test_few_rows_copy_nothing():
    few, many = kernels(1, 784, 512), kernels(32, 784, 512)
    assert [kernel.kind for kernel in few] == ["contract"]
    assert isinstance(few[0].static, Tiling) and few[0].static.across
    assert [kernel.kind for kernel in many] == ["pack", "contract"]
    assert [kernel.kind for kernel in kernels(1, 8, 40)] == ["pack", "contract"]
