"""The workloads in PyTorch: eager and ``torch.compile``, plain and fused optimiser."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..workloads import Workload
from .base import Candidate, Order

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU}


def loss_of(workload: Workload, out: torch.Tensor, *targets: torch.Tensor) -> torch.Tensor:
    """The workload's mean loss."""
    if workload.loss == "cross_entropy":
        return F.cross_entropy(out, targets[0])
    if workload.loss == "squared_error":
        return F.mse_loss(out, targets[0])
    if workload.loss == "q_value":
        return F.mse_loss(out.gather(1, targets[0].unsqueeze(1)).squeeze(1), targets[1])
    mean, log_sigma = out.unbind(1)
    return (log_sigma + 0.5 * ((targets[0] - mean) * torch.exp(-log_sigma)) ** 2).mean()


def build(workload: Workload, fused: bool = False, compiled: bool = False):
    """``step(x, *targets) -> loss`` with weights of its own."""
    layers: list[nn.Module] = []
    for weight, bias in workload.initial():
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        layers += [linear, ACTIVATIONS[workload.activation]()]
    model = nn.Sequential(*layers[:-1])
    kind = torch.optim.Adam if workload.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(model.parameters(), lr=workload.learning_rate, fused=fused or None)

    def forward(x, *targets):
        return loss_of(workload, model(x), *targets)

    update = optimizer.step
    if compiled:
        forward = torch.compile(forward, fullgraph=True)
        if not fused:
            update = torch.compile(optimizer.step)

    def step(x, *targets):
        optimizer.zero_grad()
        loss = forward(x, *targets)
        loss.backward()
        update()
        return loss

    return step


def tensors(workload: Workload) -> list[torch.Tensor]:
    """The data set; regression targets have the outputs' shape."""
    return [torch.from_numpy(array) for array in workload.data()]


def _candidate(workload: Workload, name: str, data: list[torch.Tensor], **options) -> Candidate:
    step = build(workload, **options)
    order = Order(workload, torch.randperm)

    def check(steps: int) -> np.ndarray:
        losses = []
        for i in range(steps):
            start = 0 if workload.full_batch else i * workload.batch
            losses.append(step(*(t[start : start + workload.batch] for t in data)).item())
        return np.array(losses)

    def run_full(steps: int) -> int:
        for _ in range(steps):
            step(*data)
        return steps

    def run_batches(steps: int) -> int:
        for _ in range(steps):
            rows = order.take(1)
            step(*(t.index_select(0, rows) for t in data))
        return steps

    return Candidate(name, check, run_full if workload.full_batch else run_batches)


def candidates(workload: Workload, threads: int) -> list[Candidate]:
    """Eager and compiled, plain and fused, all on `threads` threads."""
    torch.set_num_threads(threads)
    data = tensors(workload)
    found = []
    for compiled in (False, True):
        for fused in (False, True):
            label = f"torch {'compile' if compiled else 'eager'}{' fused' if fused else ''} {threads}t"
            found.append(_candidate(workload, label, data, compiled=compiled, fused=fused))
    return found
