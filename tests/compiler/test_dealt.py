"""Products of few columns and many terms: the terms are dealt to chains, in the same way whatever the layout, the
number of rows and the kernel; in registers side by side where they fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler.dealt import dense_rows, side_by_side
from chainrule.compiler.kernel import DEALT
from chainrule.compiler.plan import make_plan
from chainrule.compiler.trees import product_blocks, product_chains
from chainrule.graph.node import topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

SHAPES = [
    (1, 512, 10),
    (3, 512, 7),
    (128, 256, 10),
    (37, 264, 2),
    (5, 272, 12),
    (17, 1024, 11),
    (9, 520, 1),
    (2, 4096, 3),
]
#: registers for a vector of b and the terms of a
SPARE_AT_LEAST = 4
LAYOUTS = {"NN": (False, False), "NT": (False, True), "TN": (True, False), "TT": (True, True)}


def turned(array: np.ndarray, yes: bool) -> cr.Tensor:
    """The array, laid out the other way round if `yes`."""
    return cr.asarray(np.ascontiguousarray(array.T)).T if yes else cr.asarray(array)


def operands(m: int, k: int, n: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(m + n)
    return (generator.normal(size=(m, k)) * 3).astype(dtype), (generator.normal(size=(k, n)) * 3).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_same_bits_in_every_product(shape, dtype):
    m, k, n = shape
    a, b = operands(m, k, n, dtype)
    many = np.concatenate([a] * (40 // m + 1))
    results = {}
    for name, (left, right) in LAYOUTS.items():
        x, w, rows = turned(a, left), turned(b, right), turned(many, left)
        results[name] = cr.compile(lambda a, b: a @ b)(x, w)
        results[name + " uncompiled"] = x @ w
        results[name + " among others"] = cr.compile(lambda a, b: a @ b)(rows, w)[:m]
        results[name + " in a batch"] = cr.compile(lambda a, b: a[None] @ b[None])(x, w)[0]
    exact = a.astype(np.float64) @ b.astype(np.float64)
    room = {"float32": 1e-6, "float64": 1e-14, "int32": 0}[dtype] * np.abs(a).astype(float) @ np.abs(b).astype(float)
    for name, result in results.items():
        assert (np.abs(result.numpy() - exact) <= room).all(), name
        np.testing.assert_array_equal(result.numpy(), results["NN"].numpy(), err_msg=name)


def test_the_order_of_the_terms():
    """Integers as large as float32 tells apart show which terms met first."""
    a, b = operands(4, 256, 10, "float32")
    expected = np.zeros((4, 10), np.float32)
    for chain in range(DEALT):
        total = np.zeros((4, 10))
        for k in range(chain, 256, DEALT):  # a fused multiply-add rounds once: float64 holds the product of two float32
            total = (total + a[:, k, None].astype(np.float64) * b[k].astype(np.float64)).astype(np.float32)
        expected = total if chain == 0 else expected + total
    if toolchain.host().has_fma:
        got = cr.compile(lambda a, b: a @ b)(cr.asarray(a), cr.asarray(b)).numpy()
        assert (got != expected).mean() < 0.05  # sums in float64 round twice
        straight = np.zeros((4, 10), np.float32)
        for k in range(256):
            straight = (straight + a[:, k, None].astype(np.float64) * b[k].astype(np.float64)).astype(np.float32)
        assert (got != straight).mean() > 0.5


def test_by_columns_and_terms_alone():
    assert product_chains(512, 10) == product_chains(256, 1) == product_chains(4096, 12) == DEALT
    assert product_chains(512, 13) == product_chains(248, 10) == product_chains(500, 10) == 1
    assert product_chains(4104, 10) == 1
    assert product_blocks(512, 10) == (512, 8, 1, 8)
    assert product_blocks(1300, 18) == (440, 3, 440, 1)


def kernel(m: int, k: int, n: int, layout: str):
    """The contraction of a product."""
    left, right = LAYOUTS[layout]
    a, b = constant(np.zeros((m, k), np.float32)), constant(np.zeros((k, n), np.float32))
    axes_a, axes_b = (0, 1), (1, 2)
    if left:
        a, axes_a = constant(np.zeros((k, m), np.float32)), (1, 0)
    if right:
        b, axes_b = constant(np.zeros((n, k), np.float32)), (2, 1)
    product = emit("contract", a, b, attributes=(axes_a, axes_b, (0, 2)))
    kernels = make_plan(topological([product]), [product], CpuTiles(toolchain.host()), 1, None, True).kernels
    return next(k for k in kernels if k.kind == "contract")


def test_chains_side_by_side_and_one_after_another():
    host = toolchain.host()
    lanes = host.vector_bits // 32
    for m in (1, 128):
        for layout in ("NN", "NT"):
            plan = kernel(m, 512, 6, layout).static
            assert plan.dealt
            if lanes < 8:  # so few columns fill vectors
                continue
            assert plan.blocks == "dealt"
            assert plan.dense == (not plan.across and dense_rows(host.num_vector_registers, lanes, 6) > 0)
            assert plan.across == (layout == "NT" and m == 1)
    plan = kernel(128, 512, 11, "TN").static
    assert plan.blocks == "inside" and plan.dealt
    assert not kernel(128, 512, 40, "NN").static.dealt and not kernel(128, 128, 10, "NN").static.dealt


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
@pytest.mark.parametrize("registers", [16, 32])
def test_sums_stay_in_registers(registers, lanes):
    for columns in range(1, 13):
        rows, vectors = dense_rows(registers, lanes, columns), math.ceil(columns * DEALT / lanes)
        assert rows == 0 or rows * vectors + SPARE_AT_LEAST <= registers
        assert rows == 0 or vectors < DEALT * math.ceil(columns / lanes)
        assert not side_by_side(registers, 5, 1, False)


@pytest.mark.skipif(toolchain.host().vector_bits < 512, reason="as many columns fill narrower vectors")
def test_few_columns_of_many_terms_have_vectors_along_the_rows():
    """All lanes are in use; the result, written one by one, is the same."""
    assert kernel(512, 128, 10, "TN").sizes == (10, 512) and kernel(512, 32, 10, "TN").sizes == (512, 10)
    a, b = operands(512, 128, 10, "float32")
    left = turned(a, True)
    got = cr.compile(lambda a, b: a @ b)(left, cr.asarray(b)).numpy()
    np.testing.assert_array_equal(got, cr.compile(lambda a, b: a @ b)(cr.asarray(a), cr.asarray(b)).numpy())
    scaled = cr.compile(lambda a, b: (a @ b) * 0.5)(left, cr.asarray(b)).numpy()
    np.testing.assert_array_equal(scaled, got * np.float32(0.5))
