"""Convolutions and transposed convolutions against PyTorch: values, all gradients, transformations, messages."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule.errors import ConfigError, DTypeError, ShapeError

from .compare import same_as_torch, torch


def drawn(seed, count, transposed=False):
    """A random application of `count` spatial axes: arrays and settings."""
    rng = np.random.default_rng([seed, count, transposed])

    def each(low, high):
        values = tuple(int(v) for v in rng.integers(low, high, count))
        return values[0] if len(set(values)) == 1 and rng.random() < 0.5 else values

    groups = int(rng.choice([1, 1, 2, 3]))
    stride, dilation, padding = each(1, 4), each(1, 3), each(0, 3)
    kernel = tuple(int(v) for v in rng.integers(1, 4, count))
    wide = [(v,) * count if isinstance(v, int) else v for v in (stride, dilation, padding)]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, wide[1])]
    a, b = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if transposed:
        more = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(wide[0], wide[1]))
        settings["output_padding"] = more
        # the output has an element at least
        extents = [max(1, -(-(2 * p + 1 - n - e) // s) + 1) for n, p, s, e in zip(spans, wide[2], wide[0], more)]
        extents = [e + int(rng.integers(0, 4)) for e in extents]
    else:
        extents = [max(1, n - 2 * p) + int(rng.integers(0, 5)) for n, p in zip(spans, wide[2])]
    batch = () if rng.random() < 0.2 else (int(rng.integers(1, 4)),)
    arrays = [rng.normal(size=(*batch, a, *extents))]
    arrays.append(rng.normal(size=(a, b // groups, *kernel) if transposed else (b, a // groups, *kernel)))
    if rng.random() < 0.7:
        arrays.append(rng.normal(size=b))
    return arrays, settings


def compared(name, arrays, settings, dtype=np.float64):
    """The functional of this name agrees with PyTorch's."""
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    same_as_torch(lambda *t: ours(*t, **settings), lambda *t: theirs(*t, **settings), arrays, dtype)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_convolution_is_torchs(seed, count):
    compared(f"conv{count}d", *drawn(seed, count))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_transposed_convolution_is_torchs(seed, count):
    compared(f"conv_transpose{count}d", *drawn(seed, count, transposed=True))


@pytest.mark.parametrize("seed", range(4))
def test_float32(seed):
    compared("conv2d", *drawn(100 + seed, 2), dtype=np.float32)
    compared("conv_transpose2d", *drawn(100 + seed, 2, transposed=True), dtype=np.float32)


@pytest.mark.parametrize(
    "image, kernel, settings",
    [
        ((3, 16, 17, 19), (24, 16, 3, 3), {"padding": 1}),
        ((2, 32, 14, 13), (32, 1, 3, 3), {"padding": 1, "groups": 32}),
        ((3, 3, 33, 31), (40, 3, 7, 7), {"stride": 2, "padding": 3}),
        ((2, 48, 9, 9), (20, 48, 1, 1), {}),
        ((2, 20, 300), (33, 20, 5), {"padding": 2, "dilation": 2}),
    ],
)
def test_extents_beyond_one_tile(image, kernel, settings):
    """Whole tiles of registers and what is left over."""
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=image), rng.normal(size=kernel), rng.normal(size=kernel[0])]
    compared(f"conv{len(image) - 2}d", arrays, settings)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_named_padding(count, padding):
    rng = np.random.default_rng(3)
    for kernel in ((1, 2, 3), (4, 5, 2)):
        arrays = [rng.normal(size=(2, 3, *(6, 7, 5)[:count])), rng.normal(size=(2, 3, *kernel[:count]))]
        dilation = (1, 1, 2)[:count]
        if padding == "valid" or all(d * (k - 1) % 2 == 0 for k, d in zip(kernel[:count], dilation)):
            compared(f"conv{count}d", arrays, {"padding": padding, "dilation": dilation})
        elif padding == "same":  # PyTorch pads by itself and warns; the extents are the input's
            output = getattr(F, f"conv{count}d")(*map(cr.asarray, arrays), padding="same", dilation=dilation)
            assert output.shape[2:] == arrays[0].shape[2:]


def test_odd_zero_of_same_comes_behind():
    y = F.conv1d(cr.asarray([[1.0, 2.0, 3.0]]), cr.asarray([[[1.0, 10.0]]]), padding="same")
    assert y.tolist() == [[21.0, 32.0, 3.0]]


def test_no_examples():
    x, w, b = cr.zeros((0, 2, 5, 5)).requires_grad_(), cr.ones((3, 2, 3, 3)).requires_grad_(), cr.ones((3,))
    y = F.conv2d(x, w, b.requires_grad_())
    assert y.shape == (0, 3, 3, 3)
    y.sum().backward()
    assert x.grad.shape == (0, 2, 5, 5) and not w.grad.numpy().any() and not b.grad.numpy().any()
    assert F.conv_transpose2d(y.detach(), w).shape == (0, 2, 5, 5)


def loss(x, w, transposed):
    """A number that depends on a convolution in a way that has second derivatives."""
    if transposed:
        return (F.conv_transpose2d(x, w, stride=2, padding=1, groups=2, output_padding=1) ** 2).sum()
    return (F.conv2d(x, w, stride=2, padding=1, groups=2) ** 2).sum()


@pytest.mark.parametrize("transposed", [False, True])
def test_second_derivatives_are_torchs(transposed):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 4, 5, 4)), rng.normal(size=(4, 2, 3, 2)), rng.normal(size=(2, 4, 5, 4))]

    def ours(x, w, v):
        return (cr.grad(lambda x, w: loss(x, w, transposed), argnums=0)(x, w) * v).sum()

    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    f = torch.nn.functional
    if transposed:
        total = (f.conv_transpose2d(*theirs[:2], stride=2, padding=1, groups=2, output_padding=1) ** 2).sum()
    else:
        total = (f.conv2d(*theirs[:2], stride=2, padding=1, groups=2) ** 2).sum()
    (first,) = torch.autograd.grad(total, theirs[:1], create_graph=True)
    expected = torch.autograd.grad((first * theirs[2]).sum(), theirs)
    got = cr.grad(ours, argnums=(0, 1, 2))(*map(cr.asarray, arrays))
    for a, b in zip(got, expected):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("transposed", [False, True])
def test_forward_mode_is_reverse_mode(transposed):
    rng = np.random.default_rng(1)
    x, w, u, v = (cr.asarray(rng.normal(size=s)) for s in [(1, 4, 4, 5), (4, 2, 2, 3)] * 2)
    _, slope = cr.jvp(lambda x, w: loss(x, w, transposed), (x, w), (u, v))
    gx, gw = cr.grad(lambda x, w: loss(x, w, transposed), argnums=(0, 1))(x, w)
    np.testing.assert_allclose(slope.numpy(), (gx * u).sum().numpy() + (gw * v).sum().numpy(), rtol=1e-11)


@pytest.mark.parametrize("in_axes", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("transposed", [False, True])
def test_examples_with_gradients_of_their_own(transposed, in_axes):
    rng = np.random.default_rng(2)
    size = 3
    shapes = [(2, 4, 4, 3), (4, 2, 2, 2)]
    x, w = (cr.asarray(rng.normal(size=((size,) if a == 0 else ()) + s)) for s, a in zip(shapes, in_axes))
    gradient = cr.grad(lambda x, w: loss(x, w, transposed), argnums=(0, 1))
    together = cr.vmap(gradient, in_axes=in_axes)(x, w)
    for i in range(size):
        alone = gradient(x[i] if in_axes[0] == 0 else x, w[i] if in_axes[1] == 0 else w)
        for a, b in zip(together, alone):
            np.testing.assert_allclose(a[i].numpy(), b.numpy(), rtol=1e-11, atol=1e-12)


def test_compiled_is_uncompiled():
    rng = np.random.default_rng(4)
    x, w = cr.asarray(rng.normal(size=(2, 4, 6, 5))), cr.asarray(rng.normal(size=(4, 2, 3, 3)))
    f = cr.value_and_grad(lambda x, w: loss(x, w, False), argnums=(0, 1))
    value, gradients = f(x, w)
    compiled_value, compiled = cr.compile(f)(x, w)
    assert value.item() == compiled_value.item()
    for a, b in zip(gradients, compiled):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def zeros(*shape, dtype="float32"):
    return cr.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: F.conv2d(zeros(1, 3, 8, 8), zeros(4, 5, 3, 3)), ShapeError,
         "conv2d: input has 3 channels, weight takes 5; operands float32[1, 3, 8, 8], float32[4, 5, 3, 3]"),
        (lambda: F.conv2d(zeros(3, 8, 8), zeros(4, 3, 3, 3), groups=1 + 1), ShapeError,
         "conv2d: 3 input channels do not divide into 2 groups; operands"),
        (lambda: F.conv2d(zeros(1, 4, 8, 8), zeros(4, 4, 3, 3), groups=2), ShapeError,
         "conv2d: input has 4 channels, weight takes 8 (4 in each of 2 groups); operands"),
        (lambda: F.conv2d(zeros(1, 4, 8, 8), zeros(3, 2, 3, 3), groups=2), ShapeError,
         "conv2d: 3 output channels do not divide into 2 groups; operands"),
        (lambda: F.conv2d(zeros(1, 3, 8, 2), zeros(4, 3, 3, 3), dilation=2, padding=1), ShapeError,
         "conv2d: the kernel spans 5 (3 taps, dilation 2) along spatial axis 1, the padded input has 4; operands"),
        (lambda: F.conv1d(zeros(3, 8), zeros(4, 3, 9)), ShapeError,
         "conv1d: the kernel spans 9 along spatial axis 0, the padded input has 8; operands"),
        (lambda: F.conv1d(zeros(8), zeros(4, 3, 3)), ShapeError,
         "conv1d: input has 1 axes, not 3 (N, C, ...) or 2 (C, ...); operands"),
        (lambda: F.conv2d(zeros(3, 8, 8), zeros(4, 3, 3)), ShapeError,
         "conv2d: weight has 3 axes, not 4; operands"),
        (lambda: F.conv2d(zeros(3, 8, 8), zeros(4, 3, 3, 3), zeros(3)), ShapeError,
         "conv2d: bias has shape (3,), the output has 4 channels; operands"),
        (lambda: F.conv2d(zeros(3, 8, 8, dtype="float64"), zeros(4, 3, 3, 3)), DTypeError,
         "conv2d: input is float64, weight is float32; operands"),
        (lambda: F.conv2d(zeros(3, 8, 8, dtype="int64"), zeros(4, 3, 3, 3)), DTypeError,
         "conv2d: input must be floating, not int64; operands"),
        (lambda: F.conv2d(zeros(3, 8, 8), zeros(4, 3, 3, 3), padding="same", stride=2), ConfigError,
         "conv2d: padding 'same' keeps the extents, which stride (2, 2) does not"),
        (lambda: F.conv2d(zeros(3, 8, 8), zeros(4, 3, 3, 3), padding="full"), ConfigError,
         "conv2d: padding must be numbers, 'same' or 'valid', not 'full'"),
        (lambda: F.conv2d(zeros(3, 8, 8), zeros(4, 3, 3, 3), stride=0), ConfigError,
         "conv2d: stride must be a number or two, whole and at least 1, not 0"),
        (lambda: F.conv2d(zeros(3, 8, 8), zeros(4, 3, 3, 3), padding=(1, 2, 3)), ConfigError,
         "conv2d: padding must be a number or two, whole and at least 0, not (1, 2, 3)"),
        (lambda: F.conv2d(zeros(3, 8, 8), zeros(4, 3, 3, 3), groups=0), ConfigError,
         "conv2d: groups must be a positive whole number, not 0"),
        (lambda: F.conv_transpose2d(zeros(3, 8, 8), zeros(4, 3, 3, 3)), ShapeError,
         "conv_transpose2d: input has 3 channels, weight takes 4; operands"),
        (lambda: F.conv_transpose2d(zeros(3, 8, 8), zeros(3, 2, 3, 3), groups=2), ShapeError,
         "conv_transpose2d: 3 input channels do not divide into 2 groups; operands"),
        (lambda: F.conv_transpose1d(zeros(3, 1), zeros(3, 2, 2), padding=1), ShapeError,
         "conv_transpose1d: the output has 0 elements along spatial axis 0; operands"),
        (lambda: F.conv_transpose1d(zeros(3, 4), zeros(3, 2, 2), stride=2, output_padding=2), ConfigError,
         "conv_transpose1d: output_padding (2,) must be smaller than stride (2,) or dilation (1,)"),
    ],
)  # fmt: skip
def test_messages(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(text)
    if error is not ConfigError:
        assert "recorded at " in str(caught.value) and "test_convolution.py:" in str(caught.value)
