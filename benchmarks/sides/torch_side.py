"""The workloads in PyTorch: eager and ``torch.compile``, plain and fused optimiser, in each form of the network."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from ..workloads import Workload
from .base import Candidate, Order
from .torch_networks import FORMS, network

LAYOUTS = {"nchw": torch.contiguous_format, "channels last": torch.channels_last}


def make_optimizer(workload: Workload, parameters, fused: bool = False) -> torch.optim.Optimizer:
    """The workload's optimiser."""
    options: dict[str, Any] = {
        "lr": workload.learning_rate,
        "weight_decay": workload.weight_decay,
        "fused": fused or None,
    }
    if workload.optimizer == "adam":
        return torch.optim.Adam(parameters, **options)
    return torch.optim.SGD(parameters, momentum=workload.momentum, **options)


def build(
    workload: Workload, fused: bool = False, compiled: bool = False, form: str | None = None, layout: str | None = None
):
    """``step(*batch) -> loss`` with weights of its own."""
    model: Any = network(workload, form)
    if layout is not None:
        model = model.to(memory_format=LAYOUTS[layout])
    optimizer = make_optimizer(workload, model.parameters(), fused)
    forward: Any = model
    update: Any = optimizer.step
    if compiled:
        # an LSTM and products with compressed rows break the graph and run as they are
        forward = torch.compile(model, fullgraph=workload.network not in ("graph", "recurrent"))
        if not fused:
            update = torch.compile(optimizer.step)

    def step(*batch):
        optimizer.zero_grad()
        loss = forward(*batch)
        loss.backward()
        update()
        return loss

    return step


def tensors(workload: Workload) -> list[torch.Tensor]:
    """The data set."""
    return [torch.from_numpy(array) for array in workload.data()]


def _candidate(workload: Workload, name: str, data: list[torch.Tensor], **options) -> Candidate:
    step = build(workload, **options)
    order = Order(workload, torch.randperm)
    last = options["layout"] == "channels last"
    if last:  # the data set too is stored with its channels last
        data = [t.permute(0, 2, 3, 1).contiguous() if t.ndim == 4 else t for t in data]

    def laid_out(batch):
        return [t.permute(0, 3, 1, 2) if last and t.ndim == 4 else t for t in batch]

    def check(steps: int) -> np.ndarray:
        draws = [torch.from_numpy(a) for a in workload.draws(steps * workload.batch)]
        losses = []
        for i in range(steps):
            start = 0 if workload.full_batch else i * workload.batch
            rows = slice(None) if workload.full_batch else slice(start, start + workload.batch)
            losses.append(step(*laid_out(t[rows] for t in data), *(t[rows] for t in draws)).item())
        return np.array(losses)

    def run_full(steps: int) -> int:
        for _ in range(steps):
            step(*data)
        return steps

    def run_batches(steps: int) -> int:
        for _ in range(steps):
            rows = order.take(1)
            step(*laid_out(t.index_select(0, rows) for t in data))
        return steps

    return Candidate(name, check, run_full if workload.full_batch else run_batches)


def candidates(workload: Workload, threads: int) -> list[Candidate]:
    """Eager and compiled, plain and fused, every form and layout, all on `threads` threads."""
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    # every candidate compiles the same lines: past the limit they would silently run eagerly
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 512
    data = tensors(workload)
    found = []
    for form in FORMS.get(workload.network, (None,)):
        for layout in LAYOUTS if workload.images else (None,):
            for compiled in (False, True):
                for fused in (False, True):
                    words = ["compile" if compiled else "eager", form, layout, "fused" if fused else None]
                    label = f"torch {' '.join(word for word in words if word)} {threads}t"
                    options = {"compiled": compiled, "fused": fused, "form": form, "layout": layout}
                    found.append(_candidate(workload, label, data, **options))
    return found
