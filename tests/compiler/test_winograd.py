"""Convolutions by fewer multiplications: right for every shape, and with bits that depend on shapes alone."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import runtime
from chainrule.compiler.images import minimal
from chainrule.compiler.kernel import Tiling
from chainrule.compiler.winograd import forward_tiling, tiles_of
from chainrule.dtypes import float32, float64
from chainrule.graph.node import topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant
from tests.compiler.test_bits import bits, native

F = cr.functional
RANDOM = np.random.default_rng(11)

#: images, channels, height, width, output channels, padding
SHAPES = [
    (4, 16, 8, 8, 16, 1),
    (5, 20, 9, 6, 33, 1),  # odd extents, channels that are no whole vectors
    (6, 16, 12, 14, 48, 0),
    (7, 17, 10, 10, 19, 2),
    (4, 16, 6, 6, 16, 3),  # more padding than the kernel reaches
    (9, 16, 5, 4, 40, 1),  # parts of the batch of different sizes
    (1, 64, 30, 7, 80, 1),
]


def arrays(n, c, h, w, o, padding, dtype=np.float32):
    out = (n, o, h + 2 * padding - 2, w + 2 * padding - 2)
    return [RANDOM.normal(size=shape).astype(dtype) for shape in ((n, c, h, w), (o, c, 3, 3), out)]


def nodes(x, w, g, padding):
    """The three forms of one convolution."""
    form = ((1, 1), (padding, padding), (padding, padding), (1, 1), 1)
    x, w, g = map(constant, (x, w, g))
    return [
        emit("convolution", x, w, attributes=form),
        emit("convolution_input_grad", g, w, attributes=(*form, x.shape[2:])),
        emit("convolution_weight_grad", x, g, attributes=(*form, (3, 3))),
    ]


def minimal_kernels(outputs) -> int:
    """Kernels of a program that go by fewer multiplications."""
    program = runtime.compile_nodes(topological(outputs), outputs, True)
    return sum(isinstance(k.static, Tiling) and k.static.block > 0 for k in program.plan.kernels)


@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_those_of_a_computation_in_float64(shape):
    x, w, g = arrays(*shape)
    got = native(nodes(x, w, g, shape[-1]), True)
    exact = native(nodes(*(a.astype(np.float64) for a in (x, w, g)), shape[-1]), True)
    for value, expected in zip(got, exact):
        assert value.dtype == np.float32
        # a few roundings of sums of as many terms as there are
        np.testing.assert_allclose(value, expected, rtol=0, atol=1.5e-6 * np.abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_values_are_those_of_pytorch(shape):
    torch = pytest.importorskip("torch")
    x, w, g = arrays(*shape)
    tx, tw = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w))
    y = torch.nn.functional.conv2d(tx, tw, padding=shape[-1])
    expected = (y, *torch.autograd.grad(y, (tx, tw), torch.tensor(g, dtype=torch.float64)))
    for value, want in zip(native(nodes(x, w, g, shape[-1]), True), expected):
        want = want.detach().numpy()
        np.testing.assert_allclose(value, want, rtol=0, atol=1.5e-6 * np.abs(want).max())


def test_which_convolutions_go_this_way():
    shapes = SHAPES[0]
    every = nodes(*arrays(*shapes), 1)
    assert [minimal_kernels([node]) for node in every] == [1, 1, 1]
    exact = nodes(*arrays(*shapes, dtype=np.float64), 1)
    assert [minimal_kernels([node]) for node in exact] == [0, 0, 0]
    few = nodes(*arrays(4, 8, 8, 8, 16, 1), 1)
    assert [minimal_kernels([node]) for node in few] == [0, 0, 0]


def test_the_choice_depends_on_shapes_alone():
    op = nodes(*arrays(*SHAPES[0]), 1)[0].op
    assert minimal("convolution", op, (16, 16, 3, 3), (1, 16, 8, 8), float32)
    assert not minimal("convolution", op, (16, 16, 3, 3), (1, 16, 8, 8), float64)
    assert not minimal("convolution", op, (16, 16, 5, 5), (1, 16, 8, 8), float32)
    assert not minimal("convolution", op, (16, 15, 3, 3), (1, 16, 8, 8), float32)
    assert not minimal("convolution", op, (256, 256, 3, 3), (1, 256, 8, 8), float32)
    assert not minimal("convolution", op, (16, 16, 3, 3), (1, 16, 3, 8), float32)
    assert not minimal("convolution_weight_grad", op, (16, 16, 3, 3), (3, 16, 8, 8), float32)
    assert minimal("convolution_weight_grad", op, (16, 16, 3, 3), (4, 16, 8, 8), float32)


@pytest.mark.parametrize("shape", [(6, 16, 9, 8, 24, 1), (4, 32, 7, 7, 16, 1)])
def test_an_image_does_not_depend_on_those_beside_it(shape):
    """Forward pass and input's gradient of one image alone and among others."""
    x, w, g = arrays(*shape)
    together = native(nodes(x, w, g, 1)[:2], True)
    for image in (0, shape[0] - 1):
        alone = native(nodes(x[image : image + 1], w, g[image : image + 1], 1)[:2], True)
        for a, b in zip(together, alone):
            assert np.array_equal(bits(a[image : image + 1]), bits(b))


def test_layouts_threads_and_what_follows_change_no_bit():
    shape = (8, 24, 11, 10, 40, 1)
    x, w, g = arrays(*shape)
    plain = native(nodes(x, w, g, 1), True)
    assert all(np.array_equal(bits(a), bits(b)) for a, b in zip(plain, native(nodes(x, w, g, 1), False)))

    def steps(x, w, g):
        """Channels last inside, with an epilogue, as a program has it."""
        x = F.relu(x) - F.relu(-x)
        y, pull = cr.vjp(lambda x, w: F.conv2d(x, w, None, 1, 1), x, w)
        dx, dw = pull(g)
        return y, dx, dw, cr.tanh(y) * 2.0 + y, F.relu(dx + 1.0)

    before = cr.get_num_threads()
    try:
        for threads in (1, 2):
            cr.set_num_threads(threads)
            found = cr.compile(steps)(*map(cr.asarray, (x, w, g)))
            for a, b in zip(plain, found):
                assert np.array_equal(bits(a), bits(b.numpy()))
            np.testing.assert_allclose(found[3].numpy(), np.tanh(plain[0]) * 2 + plain[0], rtol=2e-6, atol=1e-6)
            np.testing.assert_array_equal(found[4].numpy(), np.maximum(plain[1] + np.float32(1), 0))
    finally:
        cr.set_num_threads(before)


def test_another_batch_size_finds_the_kernels():
    """Other numbers of images: nothing but arguments differs."""
    keys = []
    for count in (8, 13, 64):
        outputs = nodes(*arrays(count, 16, 8, 8, 16, 1), 1)
        keys.append({tuple(k) for k in runtime.compile_nodes(topological(outputs), outputs, True).plan.keys})
    assert keys[0] == keys[1] == keys[2]


def test_second_derivatives_go_through_it():
    x, w, _ = arrays(4, 16, 6, 6, 16, 1)

    def loss(w):
        return (F.conv2d(cr.asarray(x), w, None, 1, 1) ** 3).sum()

    direction = cr.asarray(RANDOM.normal(size=w.shape).astype(np.float32))
    got = cr.hvp(loss, (cr.asarray(w),), (direction,))
    exact = cr.hvp(
        lambda w: (F.conv2d(cr.asarray(x.astype(np.float64)), w, None, 1, 1) ** 3).sum(),
        (cr.asarray(w.astype(np.float64)),), (cr.asarray(direction.numpy().astype(np.float64)),),
    )  # fmt: skip
    got, exact = (v[0] if isinstance(v, tuple) else v for v in (got, exact))
    np.testing.assert_allclose(got.numpy(), exact.numpy(), rtol=0, atol=3e-6 * np.abs(exact.numpy()).max())


@pytest.mark.parametrize(("registers", "lanes"), [(32, 16), (16, 8), (16, 4), (32, 4)])
@pytest.mark.parametrize(("channels", "outputs"), [(16, 16), (32, 64), (128, 128), (17, 33)])
def test_register_tiles_fit(registers, lanes, channels, outputs):
    plan = forward_tiling(registers, lanes, channels, outputs, 14, 9)
    assert plan.tile[0] * plan.panels[0] + plan.panels[0] < registers
    assert sum(plan.panels) == -(-outputs // lanes) and plan.block % plan.tile[0] == 0
    assert tiles_of(14, 9) == 35
