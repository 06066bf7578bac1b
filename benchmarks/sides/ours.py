"""The workloads in Chainrule, through its public interface only."""

from __future__ import annotations

import numpy as np

import chainrule as cr
from chainrule import nn, optim
from chainrule.nn import functional as F

from ..workloads import Workload
from .base import Candidate

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU}


def loss_of(workload: Workload, out, *targets):
    """The workload's mean loss."""
    if workload.loss == "cross_entropy":
        return F.cross_entropy(out, targets[0])
    if workload.loss == "squared_error":
        return F.mse_loss(out, targets[0])
    if workload.loss == "q_value":
        actions = cr.arange(out.shape[1], dtype=targets[0].dtype)
        chosen = cr.where(targets[0].unsqueeze(1) == actions, out, 0.0).sum(axis=1)
        return F.mse_loss(chosen, targets[1])
    mean, log_sigma = out[:, 0], out[:, 1]
    return (log_sigma + 0.5 * cr.square((targets[0] - mean) * cr.exp(-log_sigma))).mean()


def build(workload: Workload):
    """``step(x, *targets) -> loss``, uncompiled, with weights of its own."""
    layers: list[nn.Module] = []
    state = {}
    for weight, bias in workload.initial():
        state[f"{len(layers)}.weight"] = cr.tensor(weight)
        state[f"{len(layers)}.bias"] = cr.tensor(bias)
        layers += [nn.Linear(weight.shape[1], weight.shape[0]), ACTIVATIONS[workload.activation]()]
    model = nn.Sequential(*layers[:-1])
    model.load_state_dict(state)
    kind = optim.Adam if workload.optimizer == "adam" else optim.SGD
    optimizer = kind(model.parameters(), lr=workload.learning_rate)

    def step(x, *targets):
        optimizer.zero_grad()
        loss = loss_of(workload, model(x), *targets)
        loss.backward()
        optimizer.step()
        return loss

    return step


def tensors(workload: Workload) -> list:
    """The data set as tensors."""
    return [cr.asarray(array) for array in workload.data()]


def python_check(workload: Workload, step, data, steps: int) -> np.ndarray:
    """First losses by calling `step` from Python, batches in order."""
    losses = []
    for i in range(steps):
        start = 0 if workload.full_batch else i * workload.batch
        losses.append(float(step(*(t[start : start + workload.batch] for t in data))))
    return np.array(losses)


def candidates(workload: Workload, threads: int) -> list[Candidate]:
    """The native loop (`repeat` or `epochs`), and a call of the compiled step from Python."""
    cr.set_num_threads(threads)
    data = tensors(workload)
    loop, called = cr.compile(build(workload)), cr.compile(build(workload))
    seed = iter(range(1 << 30))

    def check(steps: int) -> np.ndarray:
        if workload.full_batch:
            return loop.repeat(steps, *data).numpy()
        rows = [t[: steps * workload.batch] for t in data]
        return loop.epochs(rows, batch_size=workload.batch, shuffle=False).numpy()

    def run(steps: int) -> int:
        if workload.full_batch:
            float(loop.repeat(steps, *data)[-1])
            return steps
        epoch = workload.rows // workload.batch
        epochs = -(-steps // epoch)
        options = {"batch_size": workload.batch, "num_epochs": epochs, "drop_last": True, "seed": next(seed)}
        float(loop.epochs(data, **options)[-1])
        return epochs * epoch

    def run_called(steps: int) -> int:
        arrays = data
        if not workload.full_batch:
            generator = np.random.default_rng(next(seed))
            rows = [generator.integers(0, workload.rows, workload.batch) for _ in range(steps)]
            whole = [t.numpy() for t in data]
            for chosen in rows:
                loss = called(*(cr.asarray(a[chosen]) for a in whole))
        else:
            for _ in range(steps):
                loss = called(*arrays)
        float(loss)
        return steps

    return [
        Candidate(f"chainrule loop {threads}t", check, run),
        Candidate(f"chainrule call {threads}t", lambda n: python_check(workload, called, data, n), run_called),
    ]
