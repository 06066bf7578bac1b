"""Gradients of kernels whose cotangents are transposed in registers: values, bits, and that they are taken."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import runtime
from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler import turning
from chainrule.compiler.kernel import Kernel, Tiling
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import Node, topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

CASES = [  # spatial extents, kernel, channels of a group, groups, outputs of a group, settings
    ((28, 28), (3, 3), 1, 1, 32, {}),
    ((9, 13), (3, 2), 1, 1, 20, {"low": 1, "high": 2}),
    ((6, 8), (5, 5), 1, 1, 70, {"low": 2, "high": 2}),
    ((11, 23), (3, 3), 1, 1, 33, {"stride": 2}),
    ((40, 31), (2, 3), 2, 2, 17, {"dilation": 3, "low": 3}),
    ((67,), (5,), 2, 1, 9, {"low": 2, "high": 2}),
    ((4, 5, 11), (2, 2, 2), 1, 1, 24, {}),
    ((32, 64), (3, 3), 1, 1, 64, {}),  # rows that are a power of two apart
]


def channels_last(images: np.ndarray) -> Node:
    """Images with their channels second that are stored with their channels last."""
    stored = constant(np.ascontiguousarray(np.moveaxis(images, 1, -1)))
    return emit("permute", stored, attributes=((0, images.ndim - 1, *range(1, images.ndim - 1)),))


def gradient(x: np.ndarray, g: np.ndarray, form: tuple, kernel: tuple, last: bool = False) -> list[Node]:
    """The gradient of a kernel; `last`: of a cotangent that is stored with its channels last."""
    other = channels_last(g) if last else constant(g)
    return [emit("convolution_weight_grad", constant(x), other, attributes=(*form, kernel))]


def operands(spatial, kernel, channels, groups, outputs, settings, dtype) -> tuple[np.ndarray, np.ndarray, tuple]:
    random, rank = np.random.default_rng(1), len(kernel)
    stride, low, high, dilation = (settings.get(name, 1) for name in ("stride", "low", "high", "dilation"))
    form = ((stride,) * rank, (low,) * rank, (high,) * rank, (dilation,) * rank, groups)
    out = [(n + low + high - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(spatial, kernel)]
    x = random.normal(size=(6, channels * groups, *spatial)).astype(dtype)
    return x, random.normal(size=(6, outputs * groups, *out)).astype(dtype), form


def kernels(outputs: list[Node]) -> list[Kernel]:
    return make_plan(topological(outputs), outputs, CpuTiles(toolchain.host()), 1).kernels


def is_turned(outputs: list[Node]) -> bool:
    found = kernels(outputs)
    across = any(isinstance(kernel.static, Tiling) and kernel.static.across for kernel in found)
    copied = "channels last" in [kernel.label for kernel in found]
    assert not (across and copied) and (across or copied or toolchain.host().vector_bits < 256)
    return across


def run(outputs: list[Node], baked: bool = True) -> np.ndarray:
    order = topological(outputs)
    _, leaves, scalars = runtime.structure(order, outputs)
    return runtime.compile_nodes(order, outputs, baked).run(leaves, scalars)[0].copy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_bits(case, dtype, monkeypatch) -> None:
    x, g, form = operands(*case, dtype)
    monkeypatch.setattr(turning, "TURN", 0)
    outputs = gradient(x, g, form, case[1])
    assert is_turned(outputs) or toolchain.host().vector_bits < 256  # a few outputs may take the other nest
    got, want = run(outputs), interpreter.run(outputs)[0]
    tolerance = 1e-12 if dtype is np.float64 else 3e-5
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())
    assert got.tobytes() == run(outputs, False).tobytes()
    assert got.tobytes() == run(gradient(x, g, form, case[1], last=True)).tobytes()
    monkeypatch.setattr(turning, "TURN", 1e9)
    assert not is_turned(outputs)
    assert got.tobytes() == run(outputs).tobytes()


def test_they_are_taken_where_tiles_are_few() -> None:
    for channels, taken in ((1, True), (32, False)):
        x, g, form = operands((28, 28), (3, 3), channels, 1, 32, {"stride": 2}, np.float32)
        assert is_turned(gradient(x, g, form, (3, 3))) == taken
    narrow = operands((28, 5), (3, 3), 1, 1, 32, {}, np.float32)
    assert not is_turned(gradient(*narrow, (3, 3)))  # rows too short
