"""Fourier transforms against NumPy and PyTorch: values, dtypes, lengths, derivatives, batches, refusals."""

from __future__ import annotations

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, ShapeError

fft = cr.fft
NORMS = pytest.mark.parametrize("norm", ["backward", "ortho", "forward", None])
ONE = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
MANY = ["fftn", "ifftn", "rfftn", "irfftn"]
TWO = ["fft2", "ifft2", "rfft2", "irfft2"]
REAL = {"rfft", "ihfft", "rfftn", "rfft2"}


def numbers(name, *shape, dtype="float64", seed=0):
    """Operands of the kind that a transform takes."""
    random = np.random.default_rng(seed)
    x = random.normal(size=shape)
    if name not in REAL:
        x = x + 1j * random.normal(size=shape)
    return x.astype(dtype if name in REAL else np.result_type(dtype, np.complex64))


def close(found, wanted, tolerance=1e-12):
    """Equal types, and values up to a tolerance."""
    found = found.numpy()
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    wide = 1e7 if found.dtype in (np.float32, np.complex64) else 1.0
    np.testing.assert_allclose(found, wanted, rtol=tolerance * wide, atol=tolerance * wide)


@NORMS
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ONE)
def test_one_axis(name, norm, dtype):
    x = numbers(name, 2, 6, 5, dtype=dtype)
    for n in (None, 1, 3, 4, 9):
        for axis in (-1, 1):
            found = getattr(fft, name)(cr.asarray(x), n=n, axis=axis, norm=norm)
            close(found, getattr(np.fft, name)(x, n, axis, norm))


@NORMS
@pytest.mark.parametrize("name", MANY)
def test_several_axes(name, norm):
    x = numbers(name, 2, 6, 5)
    for s, axes in ((None, None), (None, (0, 2)), (None, (2, 0)), ((3, 7), (1, 2)), ((4,), (1,)), ((3, 4), (-1, 0))):
        found = getattr(fft, name)(cr.asarray(x), s=s, axes=axes, norm=norm)
        close(found, getattr(np.fft, name)(x, s, axes, norm))


@NORMS
@pytest.mark.parametrize("name", TWO)
def test_two_axes(name, norm):
    x = numbers(name, 2, 6, 5)
    close(getattr(fft, name)(cr.asarray(x), norm=norm), getattr(np.fft, name)(x, norm=norm))
    found = getattr(fft, name)(cr.asarray(x), s=(4, 8), axes=(0, 1), norm=norm)
    close(found, getattr(np.fft, name)(x, (4, 8), (0, 1), norm))


def test_real_numbers_count_as_complex_ones():
    x = np.arange(4.0)
    close(fft.fft(cr.asarray(x)), np.fft.fft(x))
    close(fft.irfft(cr.asarray(x)), np.fft.irfft(x))


def test_positions_and_other_words():
    """NumPy's positions, and PyTorch's `dim`."""
    for name in ONE:
        x = numbers(name, 4, 6)
        close(getattr(fft, name)(cr.asarray(x), 5, 0, "ortho"), getattr(np.fft, name)(x, 5, 0, "ortho"))
        close(getattr(fft, name)(cr.asarray(x), dim=0), getattr(np.fft, name)(x, axis=0))
    for name in (*MANY, *TWO):
        x = numbers(name, 4, 6, 5)
        found = getattr(fft, name)(cr.asarray(x), (5, 4), (0, 2), "ortho")
        close(found, getattr(np.fft, name)(x, (5, 4), (0, 2), "ortho"))
        close(getattr(fft, name)(cr.asarray(x), dim=(0, 1)), getattr(np.fft, name)(x, axes=(0, 1)))


def test_frequencies_and_shifts():
    for n in (1, 4, 5):
        assert fft.fftfreq(n, d=0.5).dtype is cr.float32
        close(fft.fftfreq(n, d=0.5, dtype=cr.float64), np.fft.fftfreq(n, 0.5))
        close(fft.rfftfreq(n, dtype=cr.float64, device="cpu"), np.fft.rfftfreq(n))
    x = np.arange(60.0).reshape(3, 4, 5)
    for axes in (None, 1, (0, 2), (-1,)):
        close(fft.fftshift(cr.asarray(x), axes=axes), np.fft.fftshift(x, axes))
        close(fft.ifftshift(cr.asarray(x), axes=axes), np.fft.ifftshift(x, axes))
    assert fft.fftshift(cr.arange(3)).tolist() == [2, 0, 1]


SETTINGS = [
    *((name, {"n": n, "norm": norm}) for name in ONE for n, norm in ((None, "backward"), (4, "ortho"), (9, "forward"))),
    *((name, {"s": (4, 6), "axes": (1, 0)}) for name in MANY), *((name, {}) for name in MANY),
    ("fftshift", {}), ("ifftshift", {"axes": 1}),
]  # fmt: skip
CASES = pytest.mark.parametrize(("name", "settings"), SETTINGS)


def inner(a, b):
    """The real inner product."""
    return float(np.real(np.vdot(a, b)))


@CASES
def test_derivatives(name, settings):
    """Linear: forward is the transform of the tangent, reverse its adjoint; a second derivative is that of a square."""

    def function(x):
        return getattr(fft, name)(x, **settings)

    x, along = numbers(name, 3, 5), numbers(name, 3, 5, seed=1)
    value, tangent = cr.jvp(function, (cr.asarray(x),), (cr.asarray(along),))
    close(tangent, getattr(np.fft, name)(along, **settings))
    random = np.random.default_rng(2)
    weights = random.normal(size=value.shape)
    if value.dtype.kind == "c":
        weights = weights + 1j * random.normal(size=value.shape)
    (gradient,) = cr.vjp(function, cr.asarray(x))[1](cr.asarray(weights))
    assert gradient.dtype is cr.asarray(x).dtype
    assert inner(gradient.numpy(), along) == pytest.approx(inner(weights, tangent.numpy()), rel=1e-12)

    def size(x):
        return (cr.abs(function(x)) ** 2).sum()

    change = cr.jvp(cr.grad(size), (cr.asarray(x),), (cr.asarray(along),))[1].numpy()
    ends = [cr.grad(size)(cr.asarray(x + step * along)).numpy() for step in (-0.5, 0.5)]
    np.testing.assert_allclose(change, ends[1] - ends[0], rtol=1e-10, atol=1e-10)


@CASES
def test_batched_and_compiled(name, settings):
    def both(x):
        value, pull = cr.vjp(lambda x: getattr(fft, name)(x, **settings), x)
        return value, pull(cr.ones_like(value))[0]

    x = cr.asarray(np.stack([numbers(name, 3, 5, seed=i) for i in range(3)]))
    loop = [both(x[i]) for i in range(3)]
    for found, wanted in zip(cr.vmap(both)(x), zip(*loop)):
        np.testing.assert_allclose(found.numpy(), np.stack([w.numpy() for w in wanted]), rtol=1e-13, atol=1e-13)
    for found, wanted in zip(cr.compile(both)(x[0]), loop[0]):
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())


@pytest.mark.parametrize("name", [*ONE, *MANY])
def test_gradients_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    x = numbers(name, 3, 4)
    ours, theirs = cr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    value, wanted = getattr(fft, name)(ours), getattr(torch.fft, name)(theirs)
    weights = np.random.default_rng(1).normal(size=value.shape).astype(value.numpy().dtype)
    value.backward(cr.asarray(weights))
    wanted.backward(torch.tensor(weights))
    close(ours.grad, theirs.grad.resolve_conj().numpy())


def test_circular_convolution_learns_its_filter():
    """The convolution theorem, and a gradient through both directions."""
    random = np.random.default_rng(0)
    signal, kernel = random.normal(size=8), random.normal(size=8)
    wanted = np.array([sum(signal[j] * kernel[(i - j) % 8] for j in range(8)) for i in range(8)])

    def convolved(k):
        return fft.irfft(fft.rfft(cr.asarray(signal)) * fft.rfft(k), n=8)

    close(convolved(cr.asarray(kernel)), wanted)
    gradient = cr.grad(lambda k: convolved(k)[0])(cr.asarray(kernel)).numpy()
    np.testing.assert_allclose(gradient, signal[(-np.arange(8)) % 8], atol=1e-13)


def test_refusals():
    z, x = cr.asarray(numbers("fft", 3, 4)), cr.asarray(numbers("rfft", 3, 4))
    cases = [
        (DTypeError, lambda: fft.fft(cr.arange(3)),
         "fft: float32, float64, complex64 or complex128 is needed, not int64; operands int64[3]"),
        (DTypeError, lambda: fft.rfft(cr.ones((3,), dtype=cr.float16)),
         "rfft: float32, float64, complex64 or complex128 is needed, not float16; operands float16[3]"),
        (DTypeError, lambda: fft.rfft(z), "rfft: real numbers are needed, not complex ones; operands complex128[3, 4]"),
        (DTypeError, lambda: fft.fft(z, n=2.5), "fft: a length is a whole number, not 2.5; operands complex128[3, 4]"),
        (DTypeError, lambda: fft.fftfreq(3, dtype=cr.int64), "fftfreq: a floating dtype is needed, not int64"),
        (ShapeError, lambda: fft.fft(z, n=0), "fft: a length is at least 1, not 0; operands complex128[3, 4]"),
        (ShapeError, lambda: fft.fft(z, axis=2), "fft: axis 2 is out of range for 2 axes; operands complex128[3, 4]"),
        (ShapeError, lambda: fft.fft(cr.asarray(1.0)), "fft: at least one axis is needed; operands float32[]"),
        (ShapeError, lambda: fft.fft(cr.zeros((0,))), "fft: a length is at least 1, not 0; operands complex64[0]"),
        (ShapeError, lambda: fft.irfft(z[:, :1]), "irfft: axis 1 has 1 elements, which say nothing about the length;"
         " operands complex128[3, 1]"),
        (ShapeError, lambda: fft.irfftn(z[:, :1]), "irfftn: axis 1 has 1 elements, which say nothing about the length;"
         " operands complex128[3, 1]"),
        (ShapeError, lambda: fft.fftn(z, s=(2,), axes=(0, 1)),
         "fftn: 1 lengths are given for 2 axes; operands complex128[3, 4]"),
        (ShapeError, lambda: fft.fftn(z, s=(2, 2, 2)),
         "fftn: 3 lengths are given for 2 axes; operands complex128[3, 4]"),
        (ShapeError, lambda: fft.fftn(z, axes=(0, -2)),
         "fftn: an axis is named twice in (0, -2); operands complex128[3, 4]"),
        (ShapeError, lambda: fft.rfftn(x, axes=()), "rfftn: at least one axis is needed; operands float64[3, 4]"),
        (DTypeError, lambda: fft.fftn(z, s=2),
         "fftn: the lengths s are several, one for each axis, not 2; operands complex128[3, 4]"),
        (ConfigError, lambda: fft.rfftfreq(4, d=0), "rfftfreq: samples are not 0 apart"),
        (ConfigError, lambda: fft.fft(z, norm="both"), "fft: norm is 'backward', 'ortho' or 'forward', not 'both'"),
    ]  # fmt: skip
    for error, function, problem in cases:
        with pytest.raises(error) as caught:
            function()
        lines = str(caught.value).splitlines()
        assert lines[0] == problem
        assert re.match(r"recorded at .*test_fft.py:\d+", lines[1])
