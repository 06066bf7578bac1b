"""The training loop: compiled steps over whole epochs, validation, early stopping, the best weights restored."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..capture import compile
from ..data.storage import write_atomically
from ..errors import RunError
from ..functions import tensor
from ..gradmode import no_grad
from ..ops.base import misuse
from .report import report_page

#: rows of one prediction call; more rows are predicted in pieces
PREDICTION_ROWS = 16384

Measure = Callable[[np.ndarray, np.ndarray], dict[str, float]]


@dataclass
class History:
    """What a training run recorded.

    Attributes: ``records``, one dict an epoch (``epoch`` from 1, ``train_loss``, ``validation_...``);
    ``best_epoch``, whose weights the model has; ``stopped_early``; ``seconds`` in the loop.
    """

    records: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    stopped_early: bool = False
    seconds: float = 0.0

    def series(self, name: str) -> list[float]:
        """The values of one quantity over the epochs that have it."""
        return [record[name] for record in self.records if name in record]

    def report(self, path: str | os.PathLike = "report.html", title: str = "Training run") -> Path:
        """Write one HTML file with the learning curves and a table of the epochs, the best one marked.

        Args:
            path: the file; one that exists is replaced.
            title: its heading.

        Returns:
            The path. The pictures, drawn by matplotlib, stand in the file itself.

        Raises:
            ConfigError: no epoch has been run. RunError: the file cannot be written.
        """
        if not self.records:
            raise misuse("report: the run has no epochs to show")
        page = report_page(self.records, self.best_epoch, self.stopped_early, self.seconds, title)
        write_atomically(Path(path), page)
        return Path(path)


def training_step(model: Any, objective: Callable, optimizer: Any) -> Callable:
    """The function of one step: gradients cleared, loss of a batch, backward pass, optimiser; returns the loss."""

    def train_step(inputs, targets):
        optimizer.zero_grad()
        loss = objective(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss

    return train_step


def predict(model: Any, inputs: np.ndarray, forward: Callable | None = None) -> np.ndarray:
    """The model's outputs for an array of inputs, in evaluation mode, as a NumPy array.

    Args:
        model: a module that maps a tensor (rows, ...) to a tensor (rows, ...).
        inputs: (rows, ...).
        forward: the compiled forward function of an earlier call (see `compiled_forward`), to reuse it.
    """
    forward = forward or compiled_forward(model)
    was_training = model.training
    model.eval()
    try:
        with no_grad():
            pieces = [
                np.asarray(forward(tensor(inputs[start : start + PREDICTION_ROWS])).numpy())
                for start in range(0, len(inputs), PREDICTION_ROWS)
            ]
    finally:
        model.train(was_training)
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def compiled_forward(model: Any) -> Callable:
    """The model's forward function, compiled."""

    def forward(inputs):
        return model(inputs)

    return compile(forward)


def batch_sizes(rows: int, batch_size: int) -> np.ndarray:
    """Rows of each batch of an epoch, the last one partial."""
    full, rest = divmod(rows, batch_size)
    return np.array([batch_size] * full + ([rest] if rest else []), np.float64)


def _weights(model: Any) -> dict[str, np.ndarray]:
    """Copies of the model's parameters and buffers (copies: training overwrites the originals in place)."""
    return {name: np.array(value.numpy()) for name, value in model.state_dict().items()}


def fit(
    model: Any,
    objective: Callable,
    optimizer: Any,
    data: tuple[np.ndarray, np.ndarray],
    *,
    epochs: int,
    batch_size: int = 32,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    patience: int = 0,
    seed: int = 0,
    measure: Measure | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    callbacks: Iterable[Callable[[int], None]] = (),
) -> History:
    """Train a model by maximum likelihood.

    Each epoch is one native loop over shuffled mini-batches, the last of which may be smaller. With
    validation data, the weights of the epoch with the smallest validation loss are restored at the end.

    Args:
        model: an ``nn.Module``.
        objective: ``objective(outputs, targets) -> loss``, a scalar: the mean over the batch.
        optimizer: an optimiser, perhaps without parameters yet (they are bound then), or a function that makes one
            from the parameters.
        data: arrays (inputs, targets) of equal length.
        epochs: most passes over the data.
        batch_size: rows of a step; as many as there are, or more, is a full batch.
        validation: arrays like `data`, measured after each epoch.
        patience: epochs without a smaller validation loss before training stops; 0 for never.
        seed: of the order of the rows.
        measure: ``measure(outputs, targets) -> {"loss": ..., ...}`` on validation outputs, in NumPy; by
            default the objective.
        on_epoch: called with each epoch's record.
        callbacks: each called with the number of the epoch that is about to start (from 1).

    Returns:
        A `History`, whose `report` writes the curves to a file.

    Raises:
        ConfigError: arrays of unequal length, no rows, or a batch size below 1.
        RunError: the loss is no longer finite.

    Example:
        >>> import numpy as np
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> model = cr.nn.Linear(1, 1)
        >>> run = cr.fit(model, cr.nn.functional.mse_loss, cr.optim.SGD(lr=0.2), (x, 2 * x + 1), epochs=60)
        >>> round(float(model(cr.tensor([[0.5]]))[0, 0]), 3)
        2.0
    """
    inputs, targets = data
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise misuse(f"fit: {len(inputs)} rows of inputs and {len(targets)} of targets; one of each is needed")
    if batch_size < 1:
        raise misuse(f"fit: batch_size must be at least 1, not {batch_size}")
    if not hasattr(optimizer, "step"):
        optimizer = optimizer(model.parameters())
    elif not optimizer.param_groups:
        optimizer.bind(model.parameters())
    batch_size = min(batch_size, len(inputs))
    arrays = (tensor(inputs), tensor(targets))
    step = compile(training_step(model, objective, optimizer))
    validate = _validation(model, objective, validation, measure)
    sizes = batch_sizes(len(inputs), batch_size)
    history, best, best_loss = History(), None, float("inf")
    start = time.perf_counter()
    model.train()
    for epoch in range(1, epochs + 1):
        for callback in callbacks:
            callback(epoch)
        losses = step.epochs(arrays, batch_size=batch_size, seed=seed * 1_000_003 + epoch)
        losses = np.asarray(losses.numpy() if hasattr(losses, "numpy") else losses, np.float64).reshape(-1)
        record = {"epoch": epoch, "train_loss": float((losses * sizes).sum() / sizes.sum())}
        if not np.isfinite(record["train_loss"]):
            raise RunError(
                f"training diverged: the loss of epoch {epoch} is {record['train_loss']}\n"
                "help: a smaller learning rate (lr=...) usually cures this"
            )
        if validate is not None:
            measured = validate()
            record.update({f"validation_{name}": value for name, value in measured.items()})
            if measured["loss"] < best_loss:
                best, best_loss, history.best_epoch = _weights(model), measured["loss"], epoch
        history.records.append(record)
        if on_epoch is not None:
            on_epoch(record)
        if validate is not None and patience and epoch - history.best_epoch >= patience:
            history.stopped_early = True
            break
    if best is not None:
        model.load_state_dict({name: tensor(value) for name, value in best.items()})
    else:
        history.best_epoch = len(history.records)
    history.seconds = time.perf_counter() - start
    return history


def _validation(
    model: Any, objective: Callable, data: tuple[np.ndarray, np.ndarray] | None, measure: Measure | None
) -> Callable[[], dict[str, float]] | None:
    """A function that measures the model on the validation data, or None without such data."""
    if data is None or len(data[0]) == 0:
        return None
    inputs, targets = data
    forward = compiled_forward(model)
    if measure is not None:
        return lambda: measure(predict(model, inputs, forward), targets)

    def validate() -> dict[str, float]:
        outputs = predict(model, inputs, forward)
        with no_grad():
            return {"loss": float(objective(tensor(outputs), tensor(targets)))}

    return validate
