"""Folds of large windows: the same sums as those of the interpreter, by short code."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import Node, topological
from chainrule.ops import large_windows
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

F = cr.functional

CASES = [  # windows, sizes, strides, dilations, elements behind the last window
    ((9,), (24,), (1,), (1,), (0,)),
    ((9,), (17,), (1,), (3,), (0,)),
    ((1,), (300,), (1,), (1,), (0,)),
    ((9,), (23,), (4,), (1,), (3,)),
    ((5,), (64,), (64,), (1,), (1,)),
    ((7,), (13,), (3,), (2,), (2,)),
    ((4, 9), (5, 7), (1, 1), (1, 1), (0, 0)),
    ((4, 3), (11, 6), (2, 3), (1, 2), (1, 2)),
    ((6, 2), (16, 16), (16, 16), (1, 1), (0, 5)),
    ((4, 9), (1, 40), (3, 1), (1, 1), (2, 0)),
    ((9, 4), (40, 1), (2, 3), (1, 2), (1, 0)),
    ((3, 4, 5), (3, 3, 4), (1, 1, 1), (1, 2, 1), (0, 0, 0)),
    ((2, 3, 2), (3, 1, 9), (2, 1, 1), (1, 1, 1), (0, 0, 0)),
]


def folded(case: tuple, dtype: type, elementwise: bool) -> Node:
    """A fold of examples and channels, of an array or of what is computed from one number a window."""
    windows, sizes, strides, dilations, behind = case
    settings = zip(windows, sizes, strides, dilations, behind)
    spatial = tuple((o - 1) * s + (k - 1) * d + 1 + rest for o, k, s, d, rest in settings)
    generator = np.random.default_rng(len(windows))
    shape = (2, 3, *windows, *sizes)
    y = constant((8 * generator.normal(size=shape)).astype(dtype))
    if elementwise:
        one = constant((8 * generator.normal(size=shape[: 2 + len(windows)])).astype(dtype))
        one = emit("broadcast", one, attributes=(shape, tuple(range(2 + len(windows)))))
        bound = emit("full", attributes=(dtype(3), shape, one.dtype))
        y = emit("where", emit("gt", one, bound), emit("mul", one, one), emit("add", one, bound))
    return emit("fold", y, attributes=(spatial, strides, dilations))


@pytest.mark.parametrize("elementwise", [False, True])
@pytest.mark.parametrize("dtype", [np.int32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case: tuple, dtype: type, elementwise: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_windows, "LONGEST", 20)
    node = folded(case, dtype, elementwise)
    assert large_windows.smaller_windows(*node.inputs, node.op.spatial, node.op.strides, node.op.dilations) is not None
    (want,) = interpreter.run([folded(case, dtype, elementwise)])
    got = cr.compile(lambda: cr.Tensor(folded(case, dtype, elementwise)))().numpy()
    if dtype is np.int32:
        np.testing.assert_array_equal(got, want)
    else:
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())


def test_half_is_rounded_once() -> None:
    """Sums of ones, those above 256 rounded to even numbers."""
    ones = emit("cast", constant(np.ones((400, 301), np.float32)), attributes=(cr.bfloat16,))
    got = cr.compile(lambda: cr.Tensor(emit("fold", ones, attributes=((700,), (1,), (1,)))))()
    counts = np.minimum(np.minimum(np.arange(1, 701), np.arange(700, 0, -1)), 301).astype(np.float32)
    expected = cr.asarray(counts).astype(cr.bfloat16)
    np.testing.assert_array_equal(got.astype(cr.float32).numpy(), expected.astype(cr.float32).numpy())


def test_numbers_are_arguments() -> None:
    """Elementwise operations are computed at the places that are added up, with the numbers of each call."""
    for number in (3.0, 4.0, 5.0):
        y = (cr.asarray(np.ones((3, 400), np.float32)) * number)._node
        assert large_windows.smaller_windows(y, (402,), (1,), (1,)) is not None
        assert cr.Tensor(emit("fold", y, attributes=((402,), (1,), (1,)))).numpy().sum() == 1200 * number


def test_zeros_between_windows_are_few() -> None:
    """A stride and a dilation: zeros are added only where they save much code."""
    for stride, size, taken in ((300, 16, False), (10, 40, False), (3, 40, True), (10, 400, True)):
        y = constant(np.ones((500, size), np.float32))
        spatial = (499 * stride + (size - 1) * 3 + 1,)
        smaller = large_windows.smaller_windows(y, spatial, (stride,), (3,))
        assert (smaller is not None) == taken
        if smaller is not None:
            whole = emit("fold", y, attributes=(spatial, (stride,), (3,)))
            np.testing.assert_array_equal(*interpreter.run([smaller, whole]))


@pytest.mark.parametrize(("size", "stride"), [(7, 1), (17, 1), (16, 2), (20, 3)])
@pytest.mark.parametrize("pool", [F.max_pool2d, F.avg_pool2d], ids=["max", "avg"])
def test_gradients_of_pools_have_short_code(pool, size: int, stride: int) -> None:
    x = constant(np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32))
    gradient = cr.grad(lambda x: (pool(x, size, stride) ** 2).sum())(cr.Tensor(x))._node
    kernels = make_plan(topological([gradient]), [gradient], CpuTiles(toolchain.host()), 1).kernels
    assert sum(len(kernel.body.code) for kernel in kernels) < 3000
