"""The workloads in Chainrule, through its public interface only."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import Any

import numpy as np

import chainrule as cr
from chainrule import optim

from ..workloads import Workload
from .base import Candidate
from .our_networks import network


def build(workload: Workload, precision: AbstractContextManager | None = None):
    """``step(*batch) -> loss``, uncompiled, with weights of its own; the forward pass within `precision`."""
    model = network(workload)
    options: dict[str, Any] = {"lr": workload.learning_rate, "weight_decay": workload.weight_decay}
    optimizer: optim.Optimizer
    if workload.optimizer == "adam":
        optimizer = optim.Adam(model.parameters(), **options)
    else:
        optimizer = optim.SGD(model.parameters(), momentum=workload.momentum, **options)

    def step(*batch):
        optimizer.zero_grad()
        with precision or nullcontext():
            loss = model(*batch)
        loss.backward()
        optimizer.step()
        return loss

    return step


def tensors(workload: Workload) -> list:
    """The data set as tensors."""
    return [cr.asarray(array) for array in workload.data()]


def checked_columns(workload: Workload, data, steps: int) -> list:
    """Rows of the first steps, with columns that stand for the random draws."""
    rows = slice(None) if workload.full_batch else slice(0, steps * workload.batch)
    return [t[rows] for t in data] + [cr.asarray(a) for a in workload.draws(steps * workload.batch)]


def python_check(workload: Workload, step, data, steps: int) -> np.ndarray:
    """First losses by calling `step` from Python, batches in order."""
    columns = checked_columns(workload, data, steps)
    losses = []
    for i in range(steps):
        rows = slice(None) if workload.full_batch else slice(i * workload.batch, (i + 1) * workload.batch)
        losses.append(float(step(*(t[rows] for t in columns))))
    return np.array(losses)


def native_check(workload: Workload, step, data, steps: int) -> np.ndarray:
    """The same by a native loop of the compiled `step`."""
    columns = checked_columns(workload, data, steps)
    if workload.full_batch:
        return step.repeat(steps, *columns).numpy()
    return step.epochs(columns, batch_size=workload.batch, shuffle=False).numpy()


def candidates(workload: Workload, threads: int) -> list[Candidate]:
    """The native loop (`repeat` or `epochs`), and a call of the compiled step from Python."""
    cr.set_num_threads(threads)
    data = tensors(workload)
    loop, called = cr.compile(build(workload)), cr.compile(build(workload))
    seed, place = count(), count()
    arrays = [t.numpy() for t in data]

    def run(steps: int) -> int:
        if workload.full_batch:
            float(loop.repeat(steps, *data)[-1])
            return steps
        # whole epochs, or a part of the data set that is another one each time
        epoch = workload.rows // workload.batch
        size = min(steps, epoch) * workload.batch
        start = next(place) * size % (workload.rows - size + 1)
        part = [array[start : start + size] for array in arrays]
        epochs = -(-steps // epoch)
        options = {"batch_size": workload.batch, "num_epochs": epochs, "drop_last": True, "seed": next(seed)}
        float(loop.epochs(part, **options)[-1])
        return epochs * min(steps, epoch)

    def run_called(steps: int) -> int:
        generator = np.random.default_rng(next(seed))
        for _ in range(steps):
            if workload.full_batch:
                loss = called(*data)
            else:
                rows = generator.integers(0, workload.rows, workload.batch)
                loss = called(*(cr.asarray(a[rows]) for a in arrays))
        float(loss)
        return steps

    return [
        Candidate(f"chainrule loop {threads}t", lambda n: native_check(workload, loop, data, n), run),
        Candidate(f"chainrule call {threads}t", lambda n: python_check(workload, called, data, n), run_called),
    ]
