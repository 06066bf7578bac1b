"""Padding, interpolation, shuffled pixels, windows as columns, against PyTorch."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule.errors import ConfigError, ShapeError

from .compare import same_as_torch, torch

RNG = np.random.default_rng(12)
EXTENTS = {1: (7,), 2: (5, 6), 3: (3, 4, 5)}
LINEAR = ("linear", "bilinear", "trilinear")


def compared(name, x, *settings, dtype=np.float64, **options):
    ours, theirs = getattr(F, name), getattr(torch.nn.functional, name)
    same_as_torch(lambda t: ours(t, *settings, **options), lambda t: theirs(t, *settings, **options), [x], dtype)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_padding(mode, count):
    x = RNG.normal(size=(2, 3, *EXTENTS[count]))
    compared("pad", x, (1, 2, 0, 3, 2, 1)[: 2 * count], mode)
    compared("pad", x, (2, 0, 1, 1, 0, 0)[: 2 * count], mode)
    if mode == "constant":
        compared("pad", x, (-1, 2, 0, -2), mode, 1.5)
        compared("pad", x[0, 0], (1, 1))
    else:
        compared("pad", x, (-1, 2, 0, 0, 1, -1)[: 2 * count], mode)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("scale", [2, 3.0, 0.5, 1.3, 0.7])
def test_interpolation_by_a_factor(count, scale):
    x = RNG.normal(size=(2, 2, *EXTENTS[count]))
    for mode in ("nearest", "nearest-exact", LINEAR[count - 1], "area"):
        if (mode, count, scale) == ("nearest", 3, 1.3):  # PyTorch's gradient is not that of its value
            value = F.interpolate(cr.asarray(x), scale_factor=scale, mode=mode).numpy()
            expected = torch.nn.functional.interpolate(torch.tensor(x), scale_factor=scale, mode=mode).numpy()
            np.testing.assert_array_equal(value, expected)
            continue
        compared("interpolate", x, scale_factor=scale, mode=mode)
    compared("interpolate", x, scale_factor=scale, mode=LINEAR[count - 1], align_corners=True)
    compared("interpolate", x, scale_factor=scale, mode=LINEAR[count - 1], recompute_scale_factor=True)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_interpolation_to_a_size(count):
    x = RNG.normal(size=(2, 2, *EXTENTS[count]))
    for size in ((10, 9, 11)[:count], (3, 6, 2)[:count], 1, 14):
        for mode in ("nearest", "nearest-exact", LINEAR[count - 1], "area"):
            compared("interpolate", x, size=size, mode=mode)
        compared("interpolate", x, size=size, mode=LINEAR[count - 1], align_corners=True)


@pytest.mark.parametrize("align_corners", [False, True])
def test_bicubic_interpolation(align_corners):
    x = RNG.normal(size=(2, 3, 5, 6))
    for size in ((10, 9), (3, 2), 1, 14, (5, 6), (5, 11)):
        compared("interpolate", x, size=size, mode="bicubic", align_corners=align_corners)
    for scale in (2, 3.0, 0.5, 1.3, 0.7, (1.1, 1.9)):
        compared("interpolate", x, scale_factor=scale, mode="bicubic", align_corners=align_corners)
    compared("interpolate", x, scale_factor=1.3, mode="bicubic", recompute_scale_factor=True)
    compared("interpolate", x[:, :, :1, :2], size=(4, 5), mode="bicubic", align_corners=align_corners)
    torch_layer = torch.nn.Upsample(scale_factor=2, mode="bicubic", align_corners=align_corners)
    layer = cr.nn.Upsample(scale_factor=2, mode="bicubic", align_corners=align_corners)
    np.testing.assert_allclose(
        layer(cr.asarray(x)).numpy(), torch_layer(torch.tensor(x)).numpy(), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_antialiased_interpolation(mode, align_corners):
    """Not to a width of 1, which PyTorch fills with its first row."""
    x = RNG.normal(size=(2, 3, 11, 8))
    options = {"mode": mode, "align_corners": align_corners, "antialias": True}
    for size in ((5, 3), (1, 2), (11, 8), (3, 13), (20, 4)):
        compared("interpolate", x, size=size, **options)
    for scale in (0.5, 0.3, 1.5, (0.4, 1.0)):
        compared("interpolate", x, scale_factor=scale, **options)
    compared("interpolate", x, scale_factor=0.3, recompute_scale_factor=True, **options)
    compared("interpolate", x, size=(4, 3), dtype=np.float32, **options)


def test_antialiased_columns_are_those_of_a_wider_image():
    x = cr.asarray(RNG.normal(size=(1, 1, 9, 4)))
    column = F.interpolate(x, (5, 1), mode="bicubic", antialias=True)
    rows = F.interpolate(
        F.interpolate(x, (9, 1), mode="bicubic", antialias=True), (5, 1), mode="bicubic", antialias=True
    )
    np.testing.assert_allclose(column.numpy(), rows.numpy(), rtol=1e-12)
    assert len(np.unique(column.numpy())) == 5


def test_interpolation_in_float32():
    x = RNG.normal(size=(1, 2, 9, 7))
    for mode in ("nearest", "bilinear", "bicubic"):
        compared("interpolate", x, (13, 5), mode=mode, dtype=np.float32)


def test_shuffled_pixels():
    x = RNG.normal(size=(2, 18, 2, 3))
    compared("pixel_shuffle", x, 3)
    compared("pixel_shuffle", x[0], 1)
    compared("pixel_unshuffle", RNG.normal(size=(3, 2, 4, 6)), 2)
    y = cr.asarray(x)
    assert (F.pixel_unshuffle(F.pixel_shuffle(y, 3), 3) == y).all()


@pytest.mark.parametrize(
    "settings",
    [{}, {"stride": 2}, {"padding": (1, 2)}, {"dilation": 2, "padding": 1}, {"stride": (2, 3), "dilation": (1, 2)}],
)
@pytest.mark.parametrize("kernel", [2, (3, 1), (1, 3)])
def test_columns(kernel, settings):
    x = RNG.normal(size=(2, 3, 6, 7))
    compared("unfold", x, kernel, **settings)
    compared("unfold", x[0], kernel, **settings)
    columns = F.unfold(cr.asarray(x), kernel, **settings).numpy()
    compared("fold", RNG.normal(size=columns.shape), (6, 7), kernel, **settings)
    compared("fold", RNG.normal(size=columns.shape[1:]), (6, 7), kernel, **settings)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
        lambda x: F.interpolate(x, size=(3, 7)),
        lambda x: F.pad(x, (1, 2, 1, 0), "reflect"),
        lambda x: F.unfold(x, 2, padding=1),
        lambda x: F.fold(F.unfold(x, 2, stride=1), (4, 5), 2),
    ],
)
def test_transformations(f):
    x, v = cr.asarray(RNG.normal(size=(2, 3, 4, 5))), cr.asarray(RNG.normal(size=(2, 3, 4, 5)))

    def loss(x):
        return (f(x) ** 3).sum()

    gradient = cr.grad(loss)
    np.testing.assert_allclose(cr.jvp(loss, (x,), (v,))[1].numpy(), (gradient(x) * v).sum().numpy(), rtol=1e-11)
    curved = cr.grad(lambda x: (gradient(x) * v).sum())(x)
    np.testing.assert_allclose(cr.jvp(gradient, (x,), (v,))[1].numpy(), curved.numpy(), rtol=1e-11, atol=1e-12)
    if len(f(x).shape) == 4:
        together = cr.vmap(lambda x: gradient(x[None]))(x)
        np.testing.assert_allclose(together[:, 0].numpy(), gradient(x).numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda x: F.pad(x, (1, 1), "edge"), ConfigError,
         "pad: mode must be one of 'constant', 'reflect', 'replicate', 'circular', not 'edge'"),
        (lambda x: F.pad(x, (1, 1, 1)), ConfigError,
         "pad: pad must be pairs of whole numbers (before, after), not (1, 1, 1)"),
        (lambda x: F.pad(x, (1, 1), "reflect", 2.0), ConfigError,
         "pad: a value belongs to mode 'constant', not to 'reflect'"),
        (lambda x: F.pad(x, (0, 5), "reflect"), ShapeError,
         "pad: mode 'reflect' can add at most 4 elements at each end of axis 3, which has 5, not 5; operands"),
        (lambda x: F.pad(x, (1,) * 10), ShapeError, "pad: 5 pairs are given for 4 axes; operands"),
        (lambda x: F.interpolate(x), ConfigError, "interpolate: exactly one of size and scale_factor must be given"),
        (lambda x: F.interpolate(x, 4, mode="linear"), ConfigError,
         "interpolate: mode 'linear' is for 1 spatial axes, input has 2: use 'bilinear'"),
        (lambda x: F.interpolate(x, 4, mode="cubic"), ConfigError,
         "interpolate: mode must be one of 'nearest', 'nearest-exact', 'area', 'linear', 'bilinear', 'trilinear', "
         "'bicubic', not 'cubic'"),
        (lambda x: F.interpolate(x[0], 4, mode="bicubic"), ConfigError,
         "interpolate: mode 'bicubic' is for 2 spatial axes, input has 1: use 'linear'"),
        (lambda x: F.interpolate(x, 4, align_corners=False), ConfigError,
         "interpolate: align_corners belongs to the linear modes and 'bicubic', not to 'nearest'"),
        (lambda x: F.interpolate(x, 4, antialias=True), ConfigError,
         "interpolate: antialias belongs to 'bilinear' and 'bicubic', not to 'nearest'"),
        (lambda x: F.interpolate(x, (4,)), ConfigError, "interpolate: size (4,) has 1 numbers for 2 spatial axes"),
        (lambda x: F.interpolate(x, scale_factor=0.1), ShapeError,
         "interpolate: scale_factor 0.1 leaves extents (0, 0); operands"),
        (lambda x: F.interpolate(x[0, 0], 4), ShapeError,
         "interpolate: input has 2 axes, not 3 to 5 (N, C, ...); operands"),
        (lambda x: F.pixel_shuffle(x, 2), ShapeError, "pixel_shuffle: 3 channels do not divide by 2^2 = 4; operands"),
        (lambda x: F.pixel_unshuffle(x, 2), ShapeError,
         "pixel_unshuffle: extents 4 and 5 do not both divide by 2; operands"),
        (lambda x: F.unfold(x, 7), ShapeError,
         "unfold: the window spans 7 elements along spatial axis 0, the padded input has 4; operands"),
        (lambda x: F.fold(x[0], (4, 4), 2), ShapeError,
         "fold: input has 5 columns, 9 windows fit into (4, 4); operands"),
        (lambda x: F.fold(x[0], (4, 4), 3), ShapeError,
         "fold: 4 rows do not divide by the 9 places of a window; operands"),
    ],
)  # fmt: skip
def test_messages(call, error, text):
    with pytest.raises(error) as caught:
        call(cr.zeros((2, 3, 4, 5)))
    assert str(caught.value).startswith(text)
