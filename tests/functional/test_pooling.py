"""Pooling against PyTorch: values, places, gradients, transformations, messages."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule.errors import ConfigError, DTypeError, ShapeError

from .compare import same_as_torch, torch


def drawn(seed, count, dilated):
    """A random application over `count` axes: an array, possibly with ties, and settings."""
    rng = np.random.default_rng([seed, count, dilated])
    size = tuple(int(v) for v in rng.integers(1, 4, count))
    settings = {"kernel_size": size if rng.random() < 0.7 else size[0]}
    if isinstance(settings["kernel_size"], int):
        size = (size[0],) * count
    if rng.random() < 0.6:
        settings["stride"] = tuple(int(v) for v in rng.integers(1, 4, count))
    settings["padding"] = tuple(int(rng.integers(0, k // 2 + 1)) for k in size)
    settings["ceil_mode"] = bool(rng.random() < 0.5)
    if dilated:
        settings["dilation"] = int(rng.integers(1, 3))
    spans = [settings.get("dilation", 1) * (k - 1) + 1 for k in size]
    extents = [max(1, n) + int(rng.integers(0, 5)) for n in spans]
    batch = () if rng.random() < 0.2 else (int(rng.integers(1, 3)),)
    x = rng.normal(size=(*batch, 2, *extents))
    return np.round(x) if rng.random() < 0.4 else x, settings


def compared(name, x, settings, dtype=np.float64):
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    same_as_torch(lambda t: ours(t, **settings), lambda t: theirs(t, **settings), [x], dtype)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(14))
def test_maxima_are_torchs(seed, count):
    """Ties included: rounded numbers have many."""
    x, settings = drawn(seed, count, True)
    compared(f"max_pool{count}d", x, settings)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_places_are_torchs(seed, count):
    x, settings = drawn(50 + seed, count, True)
    if seed == 0:
        x[:] = -np.inf
    ours, places = getattr(F, f"max_pool{count}d")(cr.asarray(x), **settings, return_indices=True)
    theirs, expected = getattr(torch.nn.functional, f"max_pool{count}d")(
        torch.tensor(x), **settings, return_indices=True
    )
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    np.testing.assert_array_equal(places.numpy(), expected.numpy())
    assert places.dtype is cr.int64


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_means_are_torchs(seed, count):
    x, settings = drawn(seed, count, False)
    settings["count_include_pad"] = seed % 2 == 0
    if count > 1 and seed % 3 == 0:
        settings["divisor_override"] = 3
    compared(f"avg_pool{count}d", x, settings)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_norms_are_torchs(seed, count):
    x, settings = drawn(seed, count, False)
    del settings["padding"]
    if count == 1:  # PyTorch takes no tuple here
        settings["kernel_size"] = np.ravel(settings["kernel_size"])[0].item()
    compared(f"lp_pool{count}d", np.abs(x) + 0.1, settings | {"norm_type": (1, 2, 3)[seed]})


@pytest.mark.parametrize("name", ["max", "avg"])
@pytest.mark.parametrize(
    "extents, size",
    [
        ((7,), 3),
        ((6,), 3),
        ((5, 7), 1),
        ((5, 7), (2, 3)),
        ((6, 7), (3, None)),
        ((3, 2), (5, 4)),
        ((4, 5, 6), (2, 2, 4)),
    ],
)
def test_adaptive_pooling_is_torchs(name, extents, size):
    x = np.round(np.random.default_rng(7).normal(size=(2, 3, *extents)) * 2)
    compared(f"adaptive_{name}_pool{len(extents)}d", x, {"output_size": size})
    compared(f"adaptive_{name}_pool{len(extents)}d", x[0], {"output_size": size})
    if name == "max":
        places = getattr(F, f"adaptive_max_pool{len(extents)}d")(cr.asarray(x), size, return_indices=True)[1]
        settings = {"output_size": size, "return_indices": True}
        expected = getattr(torch.nn.functional, f"adaptive_max_pool{len(extents)}d")(torch.tensor(x), **settings)[1]
        np.testing.assert_array_equal(places.numpy(), expected.numpy())


def test_float32_and_integers():
    x = np.random.default_rng(8).normal(size=(2, 3, 7, 6))
    for name, settings in (("max_pool2d", {}), ("avg_pool2d", {}), ("max_pool2d", {"stride": 2, "padding": 1})):
        compared(name, x, {"kernel_size": 3} | settings, np.float32)
    whole = (x * 10).astype(np.int32)
    expected = torch.nn.functional.max_pool2d(torch.tensor(whole), 3, 2, 1).numpy()
    np.testing.assert_array_equal(F.max_pool2d(cr.asarray(whole), 3, 2, 1).numpy(), expected)


def test_nan_and_infinities():
    x = np.array([[[1.0, np.nan, 2.0, 3.0], [4.0, 5.0, -np.inf, -np.inf]]])
    for settings in ({}, {"stride": 1}):
        expected = torch.nn.functional.max_pool2d(torch.tensor(x), 2, **settings).numpy()
        np.testing.assert_array_equal(F.max_pool2d(cr.asarray(x), 2, **settings).numpy(), expected)
    x = cr.asarray([[[np.nan, 1.0], [2.0, 3.0]]]).requires_grad_()
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[1.0, 0.0], [0.0, 0.0]]]


def test_large_windows():
    """More than 256 elements, whose places do not fit a byte."""
    x = np.random.default_rng(9).normal(size=(1, 2, 19, 18))
    compared("max_pool2d", x, {"kernel_size": 17, "stride": 1})
    compared("max_pool2d", x, {"kernel_size": (19, 18)})


def test_no_examples():
    x = cr.zeros((0, 2, 6, 6)).requires_grad_()
    (F.max_pool2d(x, 2).sum() + F.max_pool2d(x, 3, 1).sum() + F.avg_pool2d(x, 2).sum()).backward()
    assert x.grad.shape == (0, 2, 6, 6)


POOLS = [
    lambda x: F.max_pool2d(x, 2),
    lambda x: F.max_pool2d(x, 3, 2, 1),
    lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    lambda x: F.adaptive_max_pool2d(x, (2, 3)),
    lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
]


@pytest.mark.parametrize("pool", POOLS)
def test_transformations(pool):
    """Forward mode, second order and examples with gradients of their own."""
    rng = np.random.default_rng(10)
    x, v = cr.asarray(rng.normal(size=(2, 2, 5, 4))), cr.asarray(rng.normal(size=(2, 2, 5, 4)))

    def loss(x):
        return (pool(x) ** 3).sum()

    gradient = cr.grad(loss)
    slope = cr.jvp(loss, (x,), (v,))[1]
    np.testing.assert_allclose(slope.numpy(), (gradient(x) * v).sum().numpy(), rtol=1e-11)
    curved = cr.grad(lambda x: (gradient(x) * v).sum())(x)
    step = 1e-6
    expected = (gradient(x + step * v).numpy() - gradient(x - step * v).numpy()) / (2 * step)
    np.testing.assert_allclose(curved.numpy(), expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(cr.jvp(gradient, (x,), (v,))[1].numpy(), curved.numpy(), rtol=1e-11, atol=1e-12)
    together = cr.vmap(gradient)(x)
    for i in range(2):
        np.testing.assert_allclose(together[i].numpy(), gradient(x[i]).numpy(), rtol=1e-12)


@pytest.mark.parametrize("pool", POOLS[:3])
def test_compiled_is_uncompiled(pool):
    x = cr.asarray(np.random.default_rng(11).normal(size=(2, 2, 7, 6)))
    f = cr.value_and_grad(lambda x: (pool(x) ** 2).sum())
    value, gradient = f(x)
    compiled_value, compiled = cr.compile(f)(x)
    assert value.item() == compiled_value.item()
    np.testing.assert_array_equal(gradient.numpy(), compiled.numpy())


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda: F.max_pool2d(cr.zeros((1, 3, 4, 4)), 5), ShapeError,
         "max_pool2d: the window spans 5 elements along spatial axis 0, the padded input has 4; operands"),
        (lambda: F.max_pool2d(cr.zeros((1, 3, 4, 4)), 3, padding=2), ConfigError,
         "max_pool2d: padding 2 is more than half of the window, which spans 3"),
        (lambda: F.avg_pool2d(cr.zeros((3, 4)), 2), ShapeError,
         "avg_pool2d: input has 2 axes, not 4 (N, C, ...) or 3 (C, ...); operands float32[3, 4]"),
        (lambda: F.avg_pool2d(cr.zeros((3, 4, 4), dtype="int64"), 2), DTypeError,
         "avg_pool2d: input must be floating, not int64; operands"),
        (lambda: F.max_pool1d(cr.zeros((3, 4), dtype="bool"), 2), DTypeError,
         "max_pool1d: input must be numbers, not bool; operands"),
        (lambda: F.avg_pool2d(cr.zeros((3, 4, 4)), 2, divisor_override=0), ConfigError,
         "avg_pool2d: divisor_override must be a whole number other than 0, not 0"),
        (lambda: F.max_pool1d(cr.zeros((3, 4)), 0), ConfigError,
         "max_pool1d: kernel_size must be one number, whole and at least 1, not 0"),
        (lambda: F.lp_pool1d(cr.zeros((3, 4)), 0, 2), ConfigError,
         "lp_pool1d: norm_type must be a positive number, not 0"),
        (lambda: F.adaptive_avg_pool2d(cr.zeros((3, 4, 4)), 0), ConfigError,
         "adaptive_avg_pool2d: output_size must be a number or two, at least 1 or None, not 0"),
        (lambda: F.adaptive_max_pool2d(cr.zeros((3, 0, 4)), 1), ShapeError,
         "adaptive_max_pool2d: input has no elements along spatial axis 0; operands"),
    ],
)  # fmt: skip
def test_messages(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(text)
