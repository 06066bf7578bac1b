"""Metrics of predictions, in float64, with the trivial baselines beside them."""

from __future__ import annotations

import numpy as np

HALF_LOG_2_PI = 0.9189385332046727


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """(rows, classes) float64 logarithms of the class probabilities."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def classification_metrics(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, and the mean negative log-likelihood in nats.

    Args:
        logits: (rows, classes). labels: (rows,) class indices.
    """
    log_probabilities = log_softmax(logits)
    accuracy = (log_probabilities.argmax(axis=1) == labels).mean()
    nll = -log_probabilities[np.arange(len(labels)), labels].mean()
    return {"accuracy": float(accuracy), "nll": float(nll)}


def regression_metrics(mean: np.ndarray, deviation: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Root mean squared error, R^2, mean absolute error, and Gaussian negative log-likelihood in nats.

    ``r2 = 1 - sum (y - mean)^2 / sum (y - average y)^2``; it is NaN if all values are equal.

    Args:
        mean, deviation, values: (rows,), all in the target's own units.
    """
    size = float(np.abs(values).max()) or 1.0  # squares of huge values would overflow
    mean, deviation, values = (np.asarray(array, np.float64) / size for array in (mean, deviation, values))
    error = values - mean
    total = ((values - values.mean()) ** 2).mean()
    squared = (error**2).mean()
    nll = np.log(deviation) + 0.5 * (error / deviation) ** 2
    return {
        "rmse": float(np.sqrt(squared)) * size,
        "r2": float(1 - squared / total) if total > 0 else float("nan"),
        "mae": float(np.abs(error).mean()) * size,
        "nll": float(nll.mean() + HALF_LOG_2_PI + np.log(size)),
    }


def classification_baseline(frequencies: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What always predicting the training frequencies would score."""
    frequencies = np.maximum(np.asarray(frequencies, np.float64), 1e-12)  # a class without a training row
    return classification_metrics(np.tile(np.log(frequencies), (len(labels), 1)), labels)


def regression_baseline(mean: float, deviation: float, values: np.ndarray) -> dict[str, float]:
    """What always predicting the training mean and standard deviation would score."""
    ones = np.ones(len(values))
    return regression_metrics(mean * ones, deviation * ones, values)
