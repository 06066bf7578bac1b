"""Activations against PyTorch in value and gradient, and their behaviour at kinks and in extremes."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule.errors import ConfigError, DTypeError, ShapeError

from .compare import same_as_torch, torch

TF = torch.nn.functional

CASES = {
    "relu": (F.relu, TF.relu),
    "leaky_relu": (F.leaky_relu, TF.leaky_relu),
    "leaky_relu 0.3": (lambda x: F.leaky_relu(x, 0.3), lambda x: TF.leaky_relu(x, 0.3)),
    "elu": (F.elu, TF.elu),
    "elu 1.7": (lambda x: F.elu(x, 1.7), lambda x: TF.elu(x, 1.7)),
    "selu": (F.selu, TF.selu),
    "sigmoid": (F.sigmoid, torch.sigmoid),
    "tanh": (F.tanh, torch.tanh),
    "silu": (F.silu, TF.silu),
    "gelu": (F.gelu, TF.gelu),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), lambda x: TF.gelu(x, approximate="tanh")),
    "softplus": (F.softplus, TF.softplus),
    "softplus 2 5": (lambda x: F.softplus(x, 2.0, 5.0), lambda x: TF.softplus(x, 2.0, 5.0)),
    "hardtanh": (F.hardtanh, TF.hardtanh),
    "hardtanh 0 6": (lambda x: F.hardtanh(x, 0.0, 6.0), lambda x: TF.hardtanh(x, 0.0, 6.0)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_elementwise(name, dtype):
    ours, theirs = CASES[name]
    x = np.concatenate([np.linspace(-8, 8, 65), [0.0, -30.0, 30.0, 1e-3, -1e-3]])
    same_as_torch(ours, theirs, [x], dtype)
    same_as_torch(ours, theirs, [np.random.default_rng(0).normal(size=(3, 4, 5))], dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, dim, dtype):
    x = np.random.default_rng(1).normal(size=(4, 5, 3)) * 10
    same_as_torch(lambda x: getattr(F, name)(x, dim), lambda x: getattr(TF, name)(x, dim), [x], dtype)


def test_softmax_temperature_and_the_lectures_form():
    z = np.array([[1.0, 2.0, 4.0]])
    same_as_torch(lambda x: F.softmax(x, 1, temperature=2.5), lambda x: torch.softmax(x / 2.5, 1), [z])
    tau = 0.7
    weights = np.exp(-tau * z)
    ours = F.softmin(cr.asarray(z), 1, inverse_temperature=tau).numpy()
    np.testing.assert_allclose(ours, weights / weights.sum(), rtol=1e-12)


def test_extremes_stay_finite():
    x = cr.asarray(np.array([-1e4, -745.0, 0.0, 745.0, 1e4]), dtype="float64")
    for name in ("relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "silu", "gelu", "softplus", "hardtanh"):
        leaf = cr.asarray(x.numpy()).requires_grad_()
        y = getattr(F, name)(leaf)
        y.sum().backward()
        assert np.isfinite(y.detach().numpy()).all(), name
        assert np.isfinite(leaf.grad.numpy()).all(), name
    z = cr.asarray(np.array([1000.0, -1000.0]))
    assert F.softmax(z, 0).tolist() == [1.0, 0.0]
    assert F.log_softmax(z, 0).tolist() == [0.0, -2000.0]


def test_nan_is_not_hidden():
    x = cr.asarray([math.nan])
    for name in ("relu", "leaky_relu", "elu", "silu", "gelu", "softplus", "hardtanh"):
        assert math.isnan(getattr(F, name)(x).item()), name


def test_second_derivatives():
    for ours, theirs in (CASES["elu"], CASES["silu"], CASES["softplus"], CASES["gelu"]):
        x = np.linspace(-3, 3, 12)
        g = cr.grad(lambda t, f=ours: cr.grad(lambda u: f(u).sum())(t).sum())(cr.asarray(x))
        t = torch.tensor(x, requires_grad=True)
        (first,) = torch.autograd.grad(theirs(t).sum(), t, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), t)
        np.testing.assert_allclose(g.numpy(), second.numpy(), rtol=1e-8, atol=1e-10)


def test_errors():
    with pytest.raises(DTypeError, match="input must be floating"):
        F.softmax(cr.asarray([1, 2]), 0)
    with pytest.raises(ShapeError, match="dim is needed for 3 axes"):
        F.softmax(cr.zeros((1, 2, 3)))
    with pytest.raises(ShapeError, match="dim 2 is out of range"):
        F.softmax(cr.zeros((2, 3)), 2)
    with pytest.raises(ConfigError, match="temperature must be positive"):
        F.softmax(cr.zeros((2,)), 0, temperature=0.0)
    with pytest.raises(ConfigError, match="approximate"):
        F.gelu(cr.zeros((2,)), approximate="erf")
    with pytest.raises(ConfigError, match="min_val"):
        F.hardtanh(cr.zeros((2,)), 1.0, -1.0)
    with pytest.raises(ConfigError, match="threshold"):
        F.softplus(cr.zeros((2,)), threshold=1000.0)
