"""Convolutions with few results at each position: vectors lie along the rows of the image."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import runtime
from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler.kernel import Kernel
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import Node, topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

LAST, SECOND = (0, 2, 3, 1), (0, 3, 1, 2)


def run(outputs: list[Node]) -> list[np.ndarray]:
    order = topological(outputs)
    _, leaves, scalars = runtime.structure(order, outputs)
    return [a.copy() for a in runtime.compile_nodes(order, outputs, True).run(leaves, scalars)]


def kernels(outputs: list[Node]) -> list[Kernel]:
    return make_plan(topological(outputs), outputs, CpuTiles(toolchain.host()), 1).kernels


def labels(outputs: list[Node]) -> list[str]:
    return [kernel.label for kernel in kernels(outputs)]


def operands(n: int, inputs: int, outputs: int, spatial: tuple, kernel: tuple, dtype) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    return (
        random.normal(size=(n, inputs, *spatial)).astype(dtype),
        random.normal(size=(outputs, inputs, *kernel)).astype(dtype),
    )


def convolved(x: Node, w: Node, low: int, high: int, dilation: int) -> list[Node]:
    """A convolution with few outputs, and one with as few inputs, of which it is the gradient."""
    rank = len(x.shape) - 2
    form = ((1,) * rank, (low,) * rank, (high,) * rank, (dilation,) * rank, 1)
    y = emit("convolution", x, w, attributes=form)
    turned = emit("permute", w, attributes=((1, 0, *range(2, rank + 2)),))
    reach = [dilation * (k - 1) - low - high for k in w.shape[2:]]
    spatial = tuple(extent + more for extent, more in zip(x.shape[2:], reach))
    return [emit("tanh", y), emit("convolution_input_grad", x, turned, attributes=(*form, spatial))]


CASES = [
    ((14, 14), (5, 5), 20, 6, (2, 2, 1)),
    ((11, 37), (3, 3), 70, 1, (1, 1, 1)),
    ((9, 16), (3, 2), 9, 2, (1, 0, 2)),
    ((64,), (4,), 33, 3, (2, 1, 1)),
    ((6, 5, 18), (2, 3, 3), 8, 2, (1, 1, 1)),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spatial, kernel, inputs, outputs, form", CASES, ids=str)
def test_values(spatial, kernel, inputs, outputs, form, dtype) -> None:
    x, w = operands(3, inputs, outputs, spatial, kernel, dtype)
    nodes = convolved(constant(x), constant(w), *form)
    tolerance = 1e-12 if dtype is np.float64 else 3e-5
    for got, want in zip(run(nodes), interpreter.run(nodes)):
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())


def test_they_are_taken_where_channels_would_leave_lanes_empty() -> None:
    x, w = operands(2, 32, 1, (28, 28), (3, 3), np.float32)
    few, many = (convolved(constant(x), constant(np.tile(w, (n, 1, 1, 1))), 1, 1, 1) for n in (1, 64))
    assert "channels second" in labels(few) and "pack" not in labels(few)
    assert "pack" in labels(many)


def test_bits_are_those_of_vectors_of_channels() -> None:
    """Beside other outputs, which bring the channels back into vectors, an output has the same bits; so has a row."""
    x, w = operands(2, 70, 64, (11, 18), (3, 3), np.float64)  # in float32 many channels go by fewer multiplications
    every = run(convolved(constant(x), constant(w), 1, 1, 1))
    for a, b in zip(every, run(convolved(constant(x), constant(w[5:7]), 1, 1, 1))):
        np.testing.assert_array_equal(a[:, 5:7], b)
    last = emit("permute", constant(x[1:].transpose(LAST).copy()), attributes=(SECOND,))
    for a, b in zip(every, run(convolved(last, constant(w[5:7]), 1, 1, 1))):
        np.testing.assert_array_equal(a[1:, 5:7], b)


def test_they_are_taken_where_the_result_is_wanted_with_its_channels_second() -> None:
    x, w = operands(4, 1, 32, (28, 28), (3, 3), np.float32)
    form = ((1, 1), (1, 1), (1, 1), (1, 1), 1)
    plain = emit("convolution", constant(x), constant(w), attributes=form)
    last = emit("permute", plain, attributes=(LAST,))
    for outputs, vectors in (([plain], 28), ([last], 32)):
        assert not {"channels second", "channels last"} & set(labels(outputs))  # nothing is turned
        assert [k.sizes[-1] for k in kernels(outputs) if k.kind == "contract"] == [vectors]
    got, turned, want = run([plain])[0], run([last])[0], interpreter.run([plain])[0]
    assert got.tobytes() == turned.transpose(SECOND).tobytes()  # vectors of positions or of channels: the same bits
    np.testing.assert_allclose(got, want, rtol=0, atol=3e-5 * np.abs(want).max())
