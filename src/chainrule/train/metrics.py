"""Metrics of predictions, in float64, with the trivial baselines beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def calibration(logits: np.ndarray, labels: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """How often predictions of about one confidence are right, for each of `bins` equal parts of [0, 1] that has rows.

    Args:
        logits: (rows, classes). labels: (rows,) class indices.
    Returns:
        By confidence, which is the probability of the likeliest class: its mean in the bin, the share of rows whose
        class it is (`accuracy`), and the number of rows (`count`).
    Reference:
        Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, ICML 2017.
    """
    log_probabilities = log_softmax(logits)
    confidence = np.exp(log_probabilities.max(axis=1))
    right = log_probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for number in range(bins):
        rows = place == number
        if rows.any():
            part = {"confidence": confidence[rows].mean(), "accuracy": right[rows].mean(), "count": rows.sum()}
            found.append({name: float(value) for name, value in part.items()})
    return found


def calibration_error(found: Sequence[Mapping[str, float]]) -> float:
    """The mean distance between confidence and accuracy over all rows of a `calibration`."""
    total = sum(part["count"] for part in found)
    return sum(part["count"] * abs(part["confidence"] - part["accuracy"]) for part in found) / total


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
