"""The first losses of a workload in float64: what every side is checked against.

Perceptrons are computed here in NumPy; the other networks by their PyTorch form in float64, in a process of its own.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from .workloads import Workload
from .workloads.perceptron import Perceptron


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


def _perceptron(workload: Perceptron, steps: int) -> np.ndarray:
    values = [value.astype(float) for value in workload.initial().values()]
    layers = [[weight, bias] for weight, bias in zip(values[::2], values[1::2])]
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


def _by_torch(workload: Workload, steps: int) -> np.ndarray:
    import torch

    from .sides.torch_networks import network
    from .sides.torch_side import make_optimizer

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine its threads wait for one another
    model = network(workload).double()
    optimizer = make_optimizer(workload, model.parameters())
    columns = [torch.from_numpy(a) for a in (*workload.data(), *workload.draws(steps * workload.batch))]
    columns = [t.double() if t.is_floating_point() else t for t in columns]
    losses = []
    for step in range(steps):
        rows = slice(None) if workload.full_batch else slice(step * workload.batch, (step + 1) * workload.batch)
        optimizer.zero_grad()
        loss = model(*(t[rows] for t in columns))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    torch.set_num_threads(threads)
    return np.array(losses)


def first_losses(workload: Workload, steps: int, apart: bool = True) -> np.ndarray | None:
    """Losses of the first `steps` steps, over the data set's rows in order; None if they need PyTorch and it is absent.

    Args:
        apart: load PyTorch in another process, so that this one keeps its threads and memory to itself.
    """
    if isinstance(workload, Perceptron):
        return _perceptron(workload, steps)
    if importlib.util.find_spec("torch") is None:
        return None
    if not apart:
        return _by_torch(workload, steps)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_by_torch, workload, steps).result()


def check(workload: Workload, losses: np.ndarray, expected: np.ndarray | None, label: str) -> None:
    """Stop the benchmark if `losses`, a side's first ones, are not those expected."""
    if expected is None:
        return
    error = np.abs(np.asarray(losses, float) - expected) / np.maximum(1, np.abs(expected))
    if not np.all(error <= workload.tolerance):
        raise SystemExit(f"{workload.name}: losses of {label} are wrong\n  got      {losses}\n  expected {expected}")
