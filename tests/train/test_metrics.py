"""Metrics against hand calculations and the definitions."""

import numpy as np
import pytest

from chainrule.train import metrics


def test_classification():
    logits = np.log(np.array([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]]))
    result = metrics.classification_metrics(logits, np.array([0, 1, 1]))
    assert result["accuracy"] == pytest.approx(2 / 3)
    assert result["nll"] == pytest.approx(-(np.log(0.5) + np.log(0.1) + np.log(0.8)) / 3)


def test_classification_does_not_overflow():
    result = metrics.classification_metrics(np.array([[1e4, -1e4]], np.float32), np.array([1]))
    assert result == {"accuracy": 0.0, "nll": 2e4}


def test_regression():
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(0)
    values, mean = generator.standard_normal((2, 50))
    deviation = generator.uniform(0.5, 2, 50)
    result = metrics.regression_metrics(mean, deviation, values)
    assert result["rmse"] == pytest.approx(np.sqrt(((values - mean) ** 2).mean()))
    assert result["r2"] == pytest.approx(1 - ((values - mean) ** 2).sum() / ((values - values.mean()) ** 2).sum())
    assert result["mae"] == pytest.approx(np.abs(values - mean).mean())
    assert result["nll"] == pytest.approx(-stats.norm.logpdf(values, mean, deviation).mean())


def test_baselines():
    labels = np.array([0, 0, 0, 1])
    result = metrics.classification_baseline([0.75, 0.25], labels)
    assert result["accuracy"] == 0.75
    assert result["nll"] == pytest.approx(-(3 * np.log(0.75) + np.log(0.25)) / 4)
    assert metrics.regression_baseline(2.0, 1.0, np.array([1.0, 3.0]))["r2"] == 0.0


def test_huge_values_do_not_overflow():
    result = metrics.regression_metrics(np.array([1e300, 0.0]), np.array([1e300, 1e300]), np.array([2e300, 1e300]))
    assert all(np.isfinite(value) for value in result.values())
    assert result["rmse"] == pytest.approx(1e300)
