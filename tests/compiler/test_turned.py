"""Gradients of depthwise kernels whose operands are turned block by block: values, bits, and that they are taken."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler.kernel import Kernel, Tiling
from chainrule.compiler.measure import traffic
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import Node, topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

from .test_turning import channels_last, run

CASES = [  # images, channels, spatial extents, kernel, settings
    (8, 50, (28, 28), (3, 3), {}),  # blocks of rows
    (16, 21, (7, 6), (3, 3), {}),  # of images
    (20, 8, (5, 9), (2, 3), {"low": 2, "high": 0}),
    (2, 17, (40, 33), (5, 5), {"low": 2, "high": 2}),
    (4, 33, (31, 22), (3, 3), {"stride": 2}),
    (3, 16, (24, 50), (3, 3), {"dilation": 3, "low": 3, "high": 3}),
    (2, 9, (45, 19), (7, 7), {"low": 20, "high": 9}),  # rows that see no image
    (2, 12, (6, 301), (3, 3), {}),
]


def operands(images: int, channels: int, spatial: tuple, kernel: tuple, settings: dict, dtype):
    random = np.random.default_rng(1)
    stride, low, high, dilation = (settings.get(name, 1) for name in ("stride", "low", "high", "dilation"))
    form = ((stride,) * 2, (low,) * 2, (high,) * 2, (dilation,) * 2, channels, kernel)
    out = [(n + low + high - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(spatial, kernel)]
    x = random.normal(size=(images, channels, *spatial)).astype(dtype)
    return x, random.normal(size=(images, channels, *out)).astype(dtype), form


def gradient(x: np.ndarray, g: np.ndarray, form: tuple, last: bool = False) -> list[Node]:
    nodes = [channels_last(a) if last else constant(a) for a in (x, g)]
    return [emit("convolution_weight_grad", *nodes, attributes=form)]


def kernels(outputs: list[Node]) -> list[Kernel]:
    return make_plan(topological(outputs), outputs, CpuTiles(toolchain.host()), 2).kernels


def is_turned(outputs: list[Node]) -> bool:
    found = kernels(outputs)
    assert "channels last" not in [kernel.label for kernel in found]
    return any(isinstance(kernel.static, Tiling) and kernel.static.turned for kernel in found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_bits(case, dtype) -> None:
    x, g, form = operands(*case, dtype)
    outputs, last = gradient(x, g, form), gradient(x, g, form, last=True)
    assert is_turned(outputs) and not is_turned(last)
    got, want = run(outputs), interpreter.run(outputs)[0]
    tolerance = 1e-12 if dtype is np.float64 else 3e-6
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())
    assert got.tobytes() == run(outputs, False).tobytes() == run(last).tobytes()


def test_what_is_turned_stays_small() -> None:
    """Of each part of the batch one image of a panel of channels is in memory, not a copy of all images."""
    x, g, form = operands(32, 64, (28, 28), (3, 3), {}, np.float32)
    plan = make_plan(topological(outputs := gradient(x, g, form)), outputs, CpuTiles(toolchain.host()), 1)
    assert plan.arena_bytes < (x.nbytes + g.nbytes) // 3
    (found,) = (k for k in plan.kernels if k.kind == "contract")
    assert traffic(found)[0] >= x.nbytes + g.nbytes  # and no less is read


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_zeros_around_images_take_part(value) -> None:
    for which, place in ((0, (0, 3)), (1, (12, 19)), (1, (0, 0)), (0, (7, 9))):
        given = operands(2, 11, (13, 20), (3, 3), {}, np.float32)
        given[which][1, 1][place] = value
        outputs = gradient(*given)
        with np.errstate(invalid="ignore"):
            (want,) = interpreter.run(outputs)
        got = run(outputs)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        np.testing.assert_array_equal(np.isinf(got), np.isinf(want))
