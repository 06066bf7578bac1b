"""Objectives: likelihoods that are normalised, units, and the textbook losses as special cases."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule import objectives
from chainrule.errors import ConfigError, ShapeError

RNG = np.random.default_rng(0)


def test_categorical_is_cross_entropy_and_normalised():
    z, y = cr.asarray(RNG.normal(size=(6, 4))), cr.asarray(RNG.integers(0, 4, size=6))
    objective = objectives.Categorical()
    assert objective(z, y).item() == pytest.approx(F.cross_entropy(z, y).item(), rel=1e-12)
    assert objective(z, y, "sum").item() == pytest.approx(F.cross_entropy(z, y, reduction="sum").item(), rel=1e-12)
    total = sum(np.exp(-objective(z, cr.full((6,), k, dtype="int64"), "none").numpy()) for k in range(4))
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)
    np.testing.assert_allclose(objective.predict(z)["probabilities"].numpy().sum(1), 1.0)
    assert (objective.predict(z)["label"].numpy() == z.numpy().argmax(1)).all()


def test_bits_are_nats_over_log_two():
    z, y = cr.asarray(RNG.normal(size=(6, 4))), cr.asarray(RNG.integers(0, 4, size=6))
    nats, bits = objectives.Categorical()(z, y).item(), objectives.Categorical("bits")(z, y).item()
    assert bits == pytest.approx(nats / math.log(2)) and bits == pytest.approx(1.4427 * nats, rel=1e-4)
    uniform = objectives.Categorical("bits")(cr.zeros((1, 256)), cr.asarray([17]))
    assert uniform.item() == pytest.approx(8.0, rel=1e-6)


def test_bernoulli():
    z, y = cr.asarray(RNG.normal(size=(5, 2))), cr.asarray(RNG.integers(0, 2, size=(5, 2)))
    objective = objectives.Bernoulli()
    expected = F.binary_cross_entropy_with_logits(z, y, reduction="none").numpy().sum(1)
    np.testing.assert_allclose(objective(z, y, "none").numpy(), expected, rtol=1e-12)
    margin = (2 * y.numpy() - 1) * z.numpy()
    np.testing.assert_allclose(expected, np.log1p(np.exp(-margin)).sum(1), rtol=1e-12)
    assert (objective.predict(z)["label"].numpy() == (z.numpy() >= 0)).all()


def test_gaussian_with_learned_spread():
    mean, log_sigma, y = RNG.normal(size=(3, 7, 2))
    outputs = cr.asarray(np.concatenate([mean, log_sigma], axis=1))
    objective = objectives.Gaussian()
    sigma = np.exp(log_sigma)
    density = np.exp(-0.5 * ((y - mean) / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(objective(outputs, cr.asarray(y), "none").numpy(), -np.log(density).sum(1), rtol=1e-10)
    assert objective.num_outputs(2) == 4 and objectives.Gaussian(1.0).num_outputs(2) == 2
    prediction = objective.predict(outputs)
    np.testing.assert_allclose(prediction["standard_deviation"].numpy(), sigma)
    torch_form = F.gaussian_nll_loss(cr.asarray(mean), cr.asarray(y), cr.asarray(sigma**2), full=True, reduction="sum")
    assert objective(outputs, cr.asarray(y), "sum").item() == pytest.approx(torch_form.item(), rel=1e-10)
    lecture = objectives.Gaussian(constant=False)(outputs, cr.asarray(y), "sum").item()
    assert lecture == pytest.approx(((y - mean) ** 2 / (2 * sigma**2) + log_sigma).sum(), rel=1e-10)


def test_gaussian_with_fixed_spread_is_half_the_squared_error():
    mean, y = cr.asarray(RNG.normal(size=(6, 1))), cr.asarray(RNG.normal(size=6))
    half = objectives.Gaussian(spread=1.0, constant=False)(mean, y).item()
    assert half == pytest.approx(0.5 * F.mse_loss(mean.squeeze(-1), y).item(), rel=1e-12)
    full = objectives.Gaussian(spread=2.0)(mean, y).item()
    assert full == pytest.approx(half / 4 + math.log(2) + 0.5 * math.log(2 * math.pi), rel=1e-12)


def test_errors_and_settings():
    with pytest.raises(ConfigError, match="nats"):
        objectives.Categorical("hartleys")
    with pytest.raises(ConfigError, match="spread"):
        objectives.Gaussian(-1.0)
    with pytest.raises(ShapeError, match="two outputs a target"):
        objectives.Gaussian()(cr.zeros((4, 3)), cr.zeros((4,)))
    with pytest.raises(ShapeError, match="do not broadcast"):
        objectives.Gaussian(1.0)(cr.zeros((4, 2)), cr.zeros((4, 1)))
    for objective in (objectives.Categorical("bits", 0.1), objectives.Bernoulli(), objectives.Gaussian(2.0)):
        twin = type(objective)(**objective.settings())
        assert repr(twin) == repr(objective)
