"""Gradients of kernels with few outputs, in vectors of input channels: values, bits, and where they are taken."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler import convolutions
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

from .test_turning import channels_last, kernels, operands, run

CASES = [  # spatial extents, kernel, channels of a group, groups, outputs of a group, settings
    ((14, 14), (3, 3), 32, 1, 1, {"low": 1, "high": 1}),
    ((9, 13), (3, 2), 33, 1, 3, {"low": 1, "high": 2}),
    ((11, 23), (3, 3), 17, 1, 2, {"stride": 2}),
    ((20, 15), (2, 3), 40, 2, 4, {"dilation": 3, "low": 3}),
    ((67,), (5,), 18, 1, 1, {"low": 2, "high": 2}),
    ((4, 5, 6), (2, 2, 2), 24, 1, 1, {}),
    ((1, 1), (1, 1), 64, 1, 10, {}),
]


def gradient(x: np.ndarray, g: np.ndarray, form: tuple, kernel: tuple, last: bool):
    """The gradient of a kernel; `last`: of operands that are stored with their channels last."""
    images = [channels_last(a) if last else constant(a) for a in (x, g)]
    return [emit("convolution_weight_grad", *images, attributes=(*form, kernel))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_bits(case, dtype, monkeypatch) -> None:
    x, g, form = operands(*case, dtype)
    outputs = gradient(x, g, form, case[1], last=True)
    monkeypatch.setattr(convolutions, "few_outputs", lambda *_: True)
    vectors = [kernel.sizes[-1] for kernel in kernels(outputs) if kernel.kind == "contract"]
    assert vectors == [case[2]]
    got, want = run(outputs), interpreter.run(outputs)[0]
    tolerance = 1e-12 if dtype is np.float64 else 3e-5
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())
    assert got.tobytes() == run(outputs, False).tobytes()
    assert got.tobytes() == run(gradient(x, g, form, case[1], last=False)).tobytes()
    monkeypatch.setattr(convolutions, "few_outputs", lambda *_: False)
    assert [kernel.sizes[-1] for kernel in kernels(outputs) if kernel.kind == "contract"] == [case[4]]
    assert got.tobytes() == run(outputs).tobytes()


@pytest.mark.parametrize(
    ("channels", "outputs", "taken"), [(4, 1 / 16, True), (4, 1 / 2, True), (4, 2, False), (3 / 16, 1 / 16, False)]
)
def test_they_are_taken_where_outputs_are_fewer_than_lanes(channels, outputs, taken) -> None:
    """Channels and outputs are given in vectors, of at least one number each."""
    lanes = CpuTiles(toolchain.host()).lanes(4)
    channels, outputs = (max(round(lanes * share), 1) for share in (channels, outputs))
    x, g, form = operands((12, 12), (3, 3), channels, 1, outputs, {"stride": 2}, np.float32)
    found = kernels(gradient(x, g, form, (3, 3), last=True))
    assert [kernel.sizes[-1] == channels for kernel in found if kernel.kind == "contract"] == [
        taken or channels == outputs
    ]
