"""The first losses of a workload in float64 NumPy: what every side is checked against."""

from __future__ import annotations

import numpy as np

from .workloads import Workload

#: largest difference of a float32 loss from the float64 one, relative to max(1, |loss|)
TOLERANCE = 1e-4


def _activation(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and derivative at `z`."""
    if name == "relu":
        return np.maximum(z, 0), (z > 0).astype(float)
    if name == "tanh":
        y = np.tanh(z)
        return y, 1 - y * y
    exponential = np.exp(np.minimum(z, 0))
    return np.where(z > 0, z, exponential - 1), np.where(z > 0, 1, exponential)


def _loss(name: str, out: np.ndarray, targets: list[np.ndarray]) -> tuple[float, np.ndarray]:
    """Mean loss and its derivative by `out` ``(batch, outputs)``."""
    batch = len(out)
    rows = np.arange(batch)
    if name == "cross_entropy":
        shifted = out - out.max(1, keepdims=True)
        log_softmax = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        gradient = np.exp(log_softmax)
        gradient[rows, targets[0]] -= 1
        return float(-log_softmax[rows, targets[0]].mean()), gradient / batch
    if name == "squared_error":
        error = out - targets[0].reshape(out.shape)
        return float((error**2).mean()), 2 * error / error.size
    if name == "q_value":
        error = out[rows, targets[0]] - targets[1]
        gradient = np.zeros_like(out)
        gradient[rows, targets[0]] = 2 * error / batch
        return float((error**2).mean()), gradient
    mean, log_sigma = out.T
    scaled = (targets[0] - mean) * np.exp(-log_sigma)
    gradient = np.stack([-scaled * np.exp(-log_sigma), 1 - scaled**2], 1) / batch
    return float((log_sigma + 0.5 * scaled**2).mean()), gradient


def first_losses(workload: Workload, steps: int) -> np.ndarray:
    """Losses of the first `steps` steps, over the data set's rows in order."""
    layers = [[w.astype(float), b.astype(float)] for w, b in workload.initial()]
    slots = [[[np.zeros_like(p), np.zeros_like(p)] for p in layer] for layer in layers]
    x, *targets = workload.data()
    losses = []
    for step in range(steps):
        start = 0 if workload.full_batch else step * workload.batch
        rows = slice(start, start + workload.batch)
        inputs, derivatives = [x[rows].astype(float)], []
        for weight, bias in layers[:-1]:
            value, derivative = _activation(workload.activation, inputs[-1] @ weight.T + bias)
            inputs.append(value)
            derivatives.append(derivative)
        out = inputs[-1] @ layers[-1][0].T + layers[-1][1]
        loss, cotangent = _loss(workload.loss, out, [t[rows] for t in targets])
        losses.append(loss)
        for i in reversed(range(len(layers))):
            gradients = (cotangent.T @ inputs[i], cotangent.sum(0))
            if i:
                cotangent = (cotangent @ layers[i][0]) * derivatives[i - 1]
            for parameter, gradient, (first, second) in zip(layers[i], gradients, slots[i]):
                if workload.optimizer == "sgd":
                    parameter -= workload.learning_rate * gradient
                    continue
                first += 0.1 * (gradient - first)
                second += 0.001 * (gradient**2 - second)
                corrected = np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8
                parameter -= workload.learning_rate / (1 - 0.9 ** (step + 1)) * first / corrected
    return np.array(losses)


def check(workload: Workload, losses: np.ndarray, label: str) -> None:
    """Stop the benchmark if `losses`, a side's first ones, are not the reference's."""
    expected = first_losses(workload, len(losses))
    error = np.abs(np.asarray(losses, float) - expected) / np.maximum(1, np.abs(expected))
    if not np.all(error <= TOLERANCE):
        raise SystemExit(f"{workload.name}: losses of {label} are wrong\n  got      {losses}\n  expected {expected}")
