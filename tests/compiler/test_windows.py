"""Depthwise convolutions on images without zeros around them: values, bits, and that they are taken."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import runtime
from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler import planes
from chainrule.compiler.kernel import Kernel, has_windows
from chainrule.compiler.measure import traffic
from chainrule.compiler.plan import make_plan
from chainrule.graph.node import Node, topological
from chainrule.ops.base import apply, emit
from chainrule.ops.leaf import constant

LAST, SECOND = (0, 2, 3, 1), (0, 3, 1, 2)


def arrays(n: int, channels: int, spatial: tuple, kernel: tuple, dtype=np.float32) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    return (
        random.normal(size=(n, channels, *spatial)).astype(dtype),
        random.normal(size=(channels, 1, *kernel)).astype(dtype),
    )


def convolved(x: Node, w: Node, stride: int = 1, low: int = 1, high: int = 1, dilation: int = 1) -> list[Node]:
    """A convolution and both gradients, its result in place of the cotangent."""
    rank = len(x.shape) - 2
    form = ((stride,) * rank, (low,) * rank, (high,) * rank, (dilation,) * rank, x.shape[1])
    y = emit("convolution", x, w, attributes=form)
    return [
        y,
        emit("convolution_input_grad", y, w, attributes=(*form, x.shape[2:])),
        emit("convolution_weight_grad", x, y, attributes=(*form, w.shape[2:])),
    ]


def plan_kernels(outputs: list[Node]) -> list[Kernel]:
    return make_plan(topological(outputs), outputs, CpuTiles(toolchain.host()), 1).kernels


def run(outputs: list[Node], baked: bool = True) -> list[np.ndarray]:
    order = topological(outputs)
    _, leaves, scalars = runtime.structure(order, outputs)
    return [a.copy() for a in runtime.compile_nodes(order, outputs, baked).run(leaves, scalars)]


CASES = [
    ((9, 14), (3, 3), {}),
    ((9, 14), (3, 3), {"stride": 2}),
    ((28, 28), (3, 3), {}),
    ((2, 3), (3, 3), {}),
    ((1, 1), (3, 3), {}),
    ((12, 11), (5, 4), {"low": 3, "high": 1}),
    ((11, 30), (3, 7), {"low": 3, "high": 3, "stride": 3}),
    ((10, 13), (2, 3), {"dilation": 3, "low": 2, "high": 4}),
    ((7, 9), (3, 3), {"low": 0, "high": 0, "stride": 2, "dilation": 2}),
    ((6, 5), (3, 3), {"low": 4, "high": 5}),
    ((40,), (5,), {"low": 2, "high": 2}),
    ((5, 6, 7), (3, 2, 3), {"stride": 2}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spatial, kernel, form", CASES, ids=str)
def test_values(spatial, kernel, form, dtype) -> None:
    x, w = arrays(3, 21, spatial, kernel, dtype)
    outputs = convolved(constant(x), constant(w), **form)
    assert sum(has_windows(kernel) for kernel in plan_kernels(outputs)) >= 3
    tolerance = 1e-12 if dtype is np.float64 else 3e-5
    for got, again, want in zip(run(outputs), run(outputs, False), interpreter.run(outputs)):
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max())
        np.testing.assert_array_equal(got, again)


def along_rows(kernel: Kernel) -> bool:
    """Whether a depthwise convolution has vectors of positions."""
    return has_windows(kernel) and not kernel.accesses[1].strides[kernel.vector]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spatial, kernel, form", [
    *CASES,
    ((9, 77), (3, 3), {}),  # panels at both borders and in between
    ((23, 95), (5, 5), {"low": 2, "high": 2}),
    ((30, 33), (3, 3), {"low": 5, "high": 0}),
    ((3, 40), (7, 7), {"low": 3, "high": 3}),
    ((70, 50), (1, 3), {"low": 0, "high": 2}),
    ((150,), (7,), {"low": 3, "high": 3}),
], ids=str)  # fmt: skip
def test_vectors_of_positions_have_the_same_bits(spatial, kernel, form, dtype, monkeypatch) -> None:
    x, w = arrays(3, 5, spatial, kernel, dtype)
    given = convolved(constant(x), constant(w), **form)[0]
    b, g = (constant(np.random.default_rng(3).normal(size=shape).astype(dtype)) for shape in ((5,), given.shape))

    def outputs() -> list[Node]:
        y, gradient, _ = convolved(constant(x), constant(w), **form)
        shift = emit("broadcast", b, attributes=(y.shape, (1,)))
        gradient = apply(gradient.op, (g, constant(w)))
        return [emit("tanh", emit("add", y, shift)), gradient]

    results = []
    taken = form.get("stride", 1) == 1 and max(spatial) > 1  # one place is no row
    for price, vectors in ((-1e9, 0), (1e9, 2 if taken else 0)):
        monkeypatch.setattr(planes, "COPY", price)
        assert sum(along_rows(kernel) for kernel in plan_kernels(outputs())) == vectors
        results.append(run(outputs()))
    for one, other, want in zip(*results, interpreter.run(outputs())):
        np.testing.assert_array_equal(one, other)
        tolerance = 1e-12 if dtype is np.float64 else 3e-5
        np.testing.assert_allclose(one, want, rtol=0, atol=tolerance * np.abs(want).max())


def test_vectors_of_positions_are_taken_where_nothing_is_turned_then() -> None:
    x, w = arrays(4, 32, (28, 28), (3, 3))
    kernels = plan_kernels(convolved(constant(x), constant(w))[:2])
    assert [along_rows(kernel) for kernel in kernels] == [True, True]
    assert traffic(kernels[0]) == (x.nbytes + w.nbytes, x.nbytes)
    few = max(CpuTiles(toolchain.host()).lanes(4) // 3, 1)
    small = plan_kernels(convolved(constant(x[..., :few, :few]), constant(w))[:1])
    assert not any(along_rows(kernel) for kernel in small)  # lanes would be empty


def test_nothing_is_copied_where_channels_are_last() -> None:
    x, w = arrays(4, 32, (9, 9), (3, 3))
    last = emit("permute", constant(x.transpose(LAST).copy()), attributes=(SECOND,))
    outputs = [emit("permute", y, attributes=(LAST,)) for y in convolved(last, constant(w))[:2]]
    kernels = plan_kernels(outputs)
    assert [kernel.kind for kernel in kernels if kernel.label != "pack"] == ["contract", "contract"]
    contraction = next(kernel for kernel in kernels if has_windows(kernel))
    assert traffic(contraction) == (x.nbytes + w.nbytes, x.nbytes)  # no byte of what lies around the images


def test_bits_depend_on_neither_layout_nor_batch() -> None:
    x, w = arrays(5, 35, (11, 13), (3, 3))
    whole = run(convolved(constant(x), constant(w)))[:2]
    last = emit("permute", constant(x.transpose(LAST).copy()), attributes=(SECOND,))
    for a, b in zip(whole, run(convolved(last, constant(w)))):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(whole, run(convolved(constant(x[3:4]), constant(w)))):
        np.testing.assert_array_equal(a[3:4], b)


@pytest.mark.parametrize("price", [-1e9, 1e9])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_zeros_around_images_take_part(value, price, monkeypatch) -> None:
    """A weight that is no number is multiplied by the zeros as well: its whole channel is none."""
    monkeypatch.setattr(planes, "COPY", price)  # vectors of channels and of positions
    x, w = arrays(2, 5, (6, 8), (3, 3))
    for place in ((0, 0), (0, 2), (2, 1)):
        w[2, 0, place[0], place[1]] = value
        outputs = convolved(constant(x), constant(w))[:1]
        with np.errstate(invalid="ignore"):
            (want,) = interpreter.run(outputs)
        (got,) = run(outputs)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        np.testing.assert_array_equal(np.isinf(got), np.isinf(want))
        w[2] = 1


def test_long_sums_are_those_of_the_general_nest() -> None:
    """Kernels with more places than one chain has, or too wide to be written out, lie in zeros as others do."""
    for spatial, kernel in (((30, 30), (24, 24)), ((8, 40), (3, 15))):
        x, w = arrays(2, 3, spatial, kernel, np.float64)
        outputs = convolved(constant(x), constant(w), 1, 2, 2)
        assert not any(has_windows(kernel) for kernel in plan_kernels(outputs[:2]))
        for got, want in zip(run(outputs), interpreter.run(outputs)):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * np.abs(want).max())


def test_a_gradient_in_parts_is_written_over_the_state_it_replaces() -> None:
    """With a stride every remainder of the positions has a kernel; all of them write where the old value was."""
    random = np.random.default_rng(5)
    w, g, old = (cr.asarray(random.normal(size=s).astype(np.float32)) for s in ((16, 8, 3, 3), (2, 5, 5, 16), (8,)))
    state = cr.asarray(np.zeros((2, 9, 9, 8), np.float32))

    def gradient(w, g):
        image = g.permute(0, 3, 1, 2)
        pull = cr.vjp(lambda x: cr.functional.conv2d(x, w, None, 2, 1), cr.zeros((2, 8, 9, 9)))[1]
        return pull(image)[0].permute(0, 2, 3, 1)

    def replace(w, g):
        state[...] = gradient(w, g)

    def scale(w, g, old):
        state[...] = gradient(w, g) * old + state

    labels = [kernel.label for kernel in cr.explain(cr.compile(replace), w, g).kernels]
    assert labels.count("convolution_input_grad") == 4
    assert "copy" not in labels
    want = gradient(w, g).numpy()
    cr.compile(replace)(w, g)
    np.testing.assert_allclose(state.numpy(), want, rtol=1e-5, atol=1e-5)
    cr.compile(scale)(w, g, old)
    np.testing.assert_allclose(state.numpy(), want * old.numpy() + want, rtol=1e-4, atol=1e-5)
