"""Epilogues whose operands are asked for while the terms of a tile are added up."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.codegen import kernel_module


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def compiled(function, *arrays):
    """The result of a compiled function, its only product's kernel, and the code of that."""
    step = cr.compile(function)
    got = step(*(cr.asarray(a) for a in arrays)).numpy()
    (kernel,) = (k for k in step.programs[0].plan.kernels if k.kind == "contract")
    return got, kernel, kernel_module([("k", kernel)], toolchain.host())


@pytest.mark.parametrize(
    "rows, terms, columns, blocks",
    [
        (16, 128, 300, "one"),
        (21, 13, 784, "one"),
        (35, 40, 99, "one"),
        (33, 1, 200, "one"),
        (48, 600, 100, "inside"),
        (512, 2048, 50, "outside"),
    ],
)
def test_an_epilogue_reads_pieces_of_rows(rows, terms, columns, blocks):
    """More terms than lines, fewer, a single one, which asks for nothing; bits are those without the epilogue."""
    a, b, old = normal(terms, rows), normal(terms, columns, seed=1), normal(rows, columns, seed=2)
    a = a if blocks != "inside" else np.ascontiguousarray(a.T)
    turned = (lambda a: a) if blocks == "inside" else (lambda a: a.T)
    got, kernel, code = compiled(lambda a, b, old: 0.9 * old + turned(a) @ b, a, b, old)
    product, _, plain = compiled(lambda a, b: turned(a) @ b, a, b)
    assert kernel.static.blocks == blocks
    if blocks != "outside":  # whose products may ask for what they read themselves
        assert ("llvm.prefetch" in code) == (terms > 1) and "llvm.prefetch" not in plain
    np.testing.assert_array_equal(got, np.float32(0.9) * old + product)
    expected = 0.9 * old + turned(a).astype(np.float64) @ b
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6 * terms)


def test_whole_rows_are_not_asked_for():
    """The processor foresees them, as they follow one another; nor is what all rows share."""
    a, b = normal(64, 128), normal(128, 16, seed=1)
    for old in (normal(64, 16, seed=2), normal(16, seed=2)):
        got, _, code = compiled(lambda a, b, old: old + a @ b, a, b, old)
        assert "llvm.prefetch" not in code
        np.testing.assert_allclose(got, old + a.astype(np.float64) @ b, rtol=1e-4, atol=1e-4)
