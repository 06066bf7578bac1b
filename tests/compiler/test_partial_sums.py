"""Products of many terms whose blocks are outside of the panels: sums in memory, and the epilogue on the last block."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.codegen import kernel_module
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

EPILOGUES = {"stored": lambda y: y, "light": lambda y: y * 2.0 + 1.0, "heavy": lambda y: cr.tanh(y * 0.01)}


@pytest.mark.parametrize("epilogue", EPILOGUES)
@pytest.mark.parametrize("shape", [(3, 1030, 20), (37, 1100, 53), (64, 2048, 96), (130, 700, 33)], ids=str)
def test_sums_of_blocks_in_memory(shape, epilogue):
    m, k, n = shape
    after = EPILOGUES[epilogue]
    generator = np.random.default_rng(k)
    a, b = (generator.normal(size=s).astype(np.float32) for s in ((k, m), (k, n)))
    got = cr.compile(lambda a, b: after(a.T @ b))(cr.asarray(a), cr.asarray(b)).numpy()
    expected = after(cr.asarray(a.T.astype(np.float64) @ b)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-3)
    straight = cr.asarray(np.ascontiguousarray(a.T))
    np.testing.assert_array_equal(got, after(straight @ cr.asarray(b)).numpy())
    once = cr.compile(lambda a, b: after(a @ b))(straight, cr.asarray(b)).numpy()
    np.testing.assert_array_equal(got, once)


def fetches_later_rows(shape: tuple[int, ...], axes: tuple[int, int]) -> bool:
    """Whether a product with a left operand of `shape` asks the second-level cache for rows of later tiles."""
    a, b = constant(np.zeros(shape, np.float32)), constant(np.zeros((shape[axes[1]], 48), np.float32))
    product = emit("contract", a, b, attributes=(axes, (1, 2), (0, 2)))
    plan = make_plan(topological([product]), [product], CpuTiles(toolchain.host()), 1, None, True)
    text = kernel_module([("k", kernel) for kernel in plan.kernels if kernel.kind == "contract"], toolchain.host())
    return "i32 0, i32 2, i32 1)" in text


def test_terms_that_lie_far_apart_ask_for_rows_of_later_tiles():
    assert fetches_later_rows((1100, 64), (1, 0))
    assert not fetches_later_rows((300, 64), (1, 0)) and not fetches_later_rows((64, 1100), (0, 1))


def test_left_operands_that_lie_across_have_sums_in_memory():
    a, b = constant(np.zeros((1100, 37), np.float32)), constant(np.zeros((1100, 29), np.float32))
    product = emit("contract", a, b, attributes=((1, 0), (1, 2), (0, 2)))
    (kernel,) = make_plan(topological([product]), [product], CpuTiles(toolchain.host()), 1, None, True).kernels
    assert kernel.static.blocks == "outside"
