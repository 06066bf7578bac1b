"""From a table to a trained multilayer perceptron: preparation, training, metrics, run folder."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import nn, objectives, optim
from ..data.preprocess import Preprocessor
from ..data.splits import split_rows
from ..data.table import Table
from ..data.target import ClassTarget, NumberTarget, fit_target, infer_target
from ..errors import ConfigError, DataError
from ..functions import tensor
from ..random import manual_seed
from . import metrics
from .loop import fit, predict, training_step
from .plots import training_curves
from .runfolder import RunWriter, json_text
from .settings import TableSettings

FEWEST_ROWS = 10


class Reporter:
    """Receives what a run has to say; this one is silent, the command line's prints."""

    def note(self, text: str) -> None:
        """A remark on what was decided."""

    def warn(self, text: str) -> None:
        """Something that the user may have to correct."""

    def start(self, title: str, epochs: int) -> None:
        """Training starts, for at most so many epochs."""

    def epoch(self, record: dict[str, float]) -> None:
        """An epoch is over."""

    def finish(self) -> None:
        """Training is over."""

    def table(self, title: str, header: list[str], rows: list[list[str]]) -> None:
        """A table of results."""


@dataclass
class Problem:
    """A table prepared for training.

    Attributes: ``parts``, (inputs, targets) of training, validation and test; ``target``;
    ``preprocessor``; ``digest`` of the file; ``notes`` and ``warnings`` for the user.
    """

    parts: dict[str, tuple[np.ndarray, np.ndarray]]
    target: ClassTarget | NumberTarget
    preprocessor: Preprocessor
    digest: str = ""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def num_inputs(self) -> int:
        """Inputs of the network."""
        return self.parts["train"][0].shape[1]


def _present(table: Table, name: str, notes: list[str]) -> Table:
    """The rows of which the target is known."""
    missing = table.columns[name].missing
    if missing.all():
        raise DataError(f"the target {name!r} of {table.source} holds missing values only")
    if missing.any():
        notes.append(f"{int(missing.sum())} rows are left out: their {name!r} is missing")
        return table.take(np.flatnonzero(~missing))
    return table


def prepare(
    table: Table,
    target: str,
    settings: TableSettings,
    *,
    task: str | None = None,
    seed: int = 0,
    test: Table | None = None,
) -> Problem:
    """Split a table, fit the preprocessing on its training part, and transform all parts.

    Args:
        table: all columns.
        target: name of the column to predict.
        settings: split fractions, columns to drop or keep.
        task: "classification" or "regression"; by default inferred from the target.
        seed: of the split.
        test: a table of test rows; then nothing is split off `table` for testing.

    Raises:
        DataError, ConfigError: as the readers, `split_rows`, `infer_target` and `Preprocessor.fit` describe.
    """
    notes = list(table.notes)
    name = table.column(target, "the target").name
    for key in ("drop", "keep"):
        for column in getattr(settings, key):
            table.column(column, f"{key}:")
    if name in settings.drop:
        raise ConfigError(f"the target {name!r} cannot be dropped")
    table = _present(table, name, notes)
    if table.num_rows < FEWEST_ROWS:
        raise DataError(f"{table.source} has {table.num_rows} usable rows; at least {FEWEST_ROWS} are needed")
    column = table.columns[name]
    task, classes, sentence = infer_target(column, task)
    notes.insert(0, f"task: {sentence}")
    labels = None
    if classes is not None:
        labels = ClassTarget(name, classes, []).encode(column)[0]
    fraction = 0.0 if test is not None else settings.test_fraction
    training, validation, testing = split_rows(table.num_rows, seed, settings.validation_fraction, fraction, labels)
    fitted = fit_target(column, task, classes, training)
    encoded, _ = fitted.encode(column)
    guide = np.eye(fitted.num_outputs)[encoded[training]] if classes else encoded[training].astype(np.float64)[:, None]
    columns = table.without([name, *(table.column(other).name for other in settings.drop)])
    preprocessor = Preprocessor.fit(columns, training, guide, tuple(settings.keep))
    inputs, warnings = preprocessor.transform(columns)
    parts = {"train": training, "validation": validation, "test": testing}
    arrays = {part: (inputs[rows], encoded[rows]) for part, rows in parts.items()}
    if test is not None:
        test = _present(test, test.column(name, "the target").name, notes)
        outputs, more = fitted.encode(test.columns[name])
        test_inputs, unseen = preprocessor.transform(test)
        arrays["test"] = (test_inputs, outputs)
        notes += more
        warnings += unseen
    return Problem(arrays, fitted, preprocessor, table.digest, notes + preprocessor.notes, warnings)


def build_model(description: dict[str, Any]) -> Any:
    """The multilayer perceptron that `describe_model` described, with the generator's current weights."""
    activation = {"relu": nn.ReLU, "elu": nn.ELU, "tanh": nn.Tanh}[description["activation"]]
    layers: list[Any] = []
    width = description["inputs"]
    for hidden in description["hidden"]:
        layers += [nn.Linear(width, hidden), activation()]
        if description["dropout"] > 0:
            layers.append(nn.Dropout(description["dropout"]))
        width = hidden
    layers.append(nn.Linear(width, description["outputs"]))
    return nn.Sequential(*layers)


def describe_model(problem: Problem, settings: TableSettings) -> dict[str, Any]:
    """The network of a problem, as a JSON object."""
    return {
        "kind": "mlp",
        "inputs": problem.num_inputs,
        "hidden": list(settings.hidden),
        "outputs": problem.target.num_outputs,
        "activation": settings.activation,
        "dropout": settings.dropout,
    }


def build_optimizer(model: Any, settings: TableSettings) -> Any:
    """The optimiser that the settings name."""
    if settings.optimizer == "sgd":
        return optim.SGD(
            model.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    kind = optim.AdamW if settings.optimizer == "adamw" else optim.Adam
    return kind(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)


def build_objective(target: ClassTarget | NumberTarget) -> Callable:
    """The negative log-likelihood of the target's distribution."""
    return objectives.Categorical() if target.task == "classification" else objectives.Gaussian()


def choose_batch_size(rows: int, settings: TableSettings) -> int:
    """The batch size asked for, or one by the number of training rows."""
    if settings.batch_size:
        return min(settings.batch_size, rows)
    return min(rows, 32 if rows < 2000 else 128 if rows < 10000 else 256)


def own_units(outputs: np.ndarray, target: NumberTarget) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) in the target's units from the network's (mean, log sigma), both (rows,)."""
    outputs = np.asarray(outputs, np.float64)
    deviation = np.exp(np.clip(outputs[:, 1], -30, 30))
    return outputs[:, 0] * target.scale + target.mean, deviation * target.scale


def measure(outputs: np.ndarray, encoded: np.ndarray, target: ClassTarget | NumberTarget) -> dict[str, float]:
    """Metrics of the network's outputs, in the target's own units."""
    if isinstance(target, ClassTarget):
        return metrics.classification_metrics(outputs, encoded)
    values = np.asarray(encoded, np.float64) * target.scale + target.mean
    return metrics.regression_metrics(*own_units(outputs, target), values)


def baseline(encoded: np.ndarray, target: ClassTarget | NumberTarget) -> dict[str, float]:
    """Metrics of the trivial prediction: the training frequencies, or the training mean and deviation."""
    if isinstance(target, ClassTarget):
        return metrics.classification_baseline(np.array(target.frequencies), encoded)
    values = np.asarray(encoded, np.float64) * target.scale + target.mean
    return metrics.regression_baseline(target.mean, target.scale, values)


def metric_rows(results: dict[str, dict[str, float]]) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of a table: a row a metric, a column a result."""
    names = list(next(iter(results.values())))
    long_names = {
        "accuracy": "accuracy",
        "nll": "NLL (nats)",
        "rmse": "root mean sq. error",
        "r2": "R^2",
        "mae": "mean abs. error",
    }
    rows = [[long_names.get(name, name), *(f"{result[name]:.6g}" for result in results.values())] for name in names]
    return ["", *results], rows


def train_table(
    problem: Problem,
    settings: TableSettings,
    *,
    out: str | Path,
    seed: int = 0,
    title: str = "table",
    paths: dict[str, str] | None = None,
    reporter: Reporter | None = None,
    started: float | None = None,
) -> dict[str, Any]:
    """Train on a prepared problem and write the run folder; returns the contents of ``metrics.json``.

    Args:
        problem: from `prepare`, with the same seed.
        settings: of the network and of training.
        out: the run folder to be made.
        seed: of the weights, the order of rows, and dropout.
        title: what the run is called in messages and in ``config.json``.
        paths: of the inputs, recorded in ``timing.json``.
        reporter: receives progress and results.
        started: ``time.perf_counter()`` when the run began, for ``timing.json``.

    Raises:
        RunError: the run folder exists or cannot be written (nothing is left behind then), or training diverges.
    """
    reporter = reporter or Reporter()
    started = time.perf_counter() if started is None else started
    prepared = time.perf_counter()
    for text in problem.notes:
        reporter.note(text)
    for text in problem.warnings:
        reporter.warn(text)
    target = problem.target
    with RunWriter(out) as writer:
        manual_seed(seed)
        description = describe_model(problem, settings)
        model = build_model(description)
        batch_size = choose_batch_size(len(problem.parts["train"][0]), settings)
        _announce(reporter, problem, description)
        reporter.start(title, settings.epochs)

        def measure_epoch(outputs: np.ndarray, encoded: np.ndarray) -> dict[str, float]:
            """The loss to stop by is on the network's scale, as the training loss is."""
            measured = measure(outputs, encoded, target)
            nll = measured.pop("nll")
            measured.pop("mae", None)
            loss = nll - np.log(target.scale) if isinstance(target, NumberTarget) else nll
            return {"loss": float(loss), **measured}

        history = fit(
            model,
            build_objective(target),
            build_optimizer(model, settings),
            problem.parts["train"],
            epochs=settings.epochs,
            batch_size=batch_size,
            validation=problem.parts["validation"],
            patience=settings.patience,
            seed=seed,
            measure=measure_epoch,
            on_epoch=reporter.epoch,
        )
        reporter.finish()
        results = {
            part: measure(predict(model, inputs), encoded, target)
            for part, (inputs, encoded) in problem.parts.items()
            if len(inputs)
        }
        trained = time.perf_counter()
        tested = "test" if "test" in results else "train"
        trivial = baseline(problem.parts[tested][1], target)
        summary = {
            "task": target.task,
            **results,
            "baseline": trivial,
            "epochs": len(history.records),
            "best_epoch": history.best_epoch,
            "stopped_early": history.stopped_early,
            "rows": {part: len(inputs) for part, (inputs, _) in problem.parts.items()},
        }
        against = "most frequent" if target.task == "classification" else "mean"
        columns = {f"{part}\n{len(problem.parts[part][0])} rows": result for part, result in results.items()}
        reporter.table(f"{title}: {target.name}", *metric_rows({**columns, f"baseline\n{against}": trivial}))
        weights = {name: np.array(value.numpy()) for name, value in model.state_dict().items()}
        checksum = writer.write_weights(weights)
        config = {
            "format": 1,
            "title": title,
            "seed": seed,
            "settings": {**asdict(settings), "batch_size": batch_size},
            "model": description,
            "target": target.to_json(),
            "columns": problem.preprocessor.to_json(),
            "data_sha256": problem.digest,
            "weights_sha256": checksum,
            "notes": problem.notes,
        }
        writer.write_json("config.json", config)
        writer.write("metrics.json", json_text(summary))
        writer.write_lines("log.jsonl", history.records)
        writer.write("curves.png", _curves(history, problem, title, trivial))
        ended = time.perf_counter()
        writer.write_json(
            "timing.json",
            {
                "seconds": {
                    "preparing": prepared - started,
                    "training": trained - prepared,
                    "of which in the loop": history.seconds,
                    "writing": ended - trained,
                    "total": ended - started,
                },
                "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "paths": {"run": str(Path(out).absolute()), **(paths or {})},
                "command": sys.argv,
            },
        )
        writer.commit()
    return summary


def _announce(reporter: Reporter, problem: Problem, description: dict[str, Any]) -> None:
    sizes = ", ".join(f"{len(inputs)} {part}" for part, (inputs, _) in problem.parts.items())
    shape = "-".join(str(n) for n in (description["inputs"], *description["hidden"], description["outputs"]))
    reporter.note(f"rows: {sizes}; network: {shape}, {description['activation']}")


def _curves(history: Any, problem: Problem, title: str, trivial: dict[str, float]) -> bytes:
    """The picture of a run's learning curves."""
    target = problem.target
    score, label = ("accuracy", "accuracy") if target.task == "classification" else ("r2", "R²")
    losses = {"training": history.series("train_loss")}
    scores = {}
    if history.series("validation_loss"):
        losses["validation"] = history.series("validation_loss")
        scores["validation"] = history.series(f"validation_{score}")
    shift = np.log(target.scale) if isinstance(target, NumberTarget) else 0.0
    return training_curves(
        history.series("epoch"),
        losses,
        scores,
        score_label=f"validation {label}",
        best_epoch=history.best_epoch,
        baselines={"loss": trivial["nll"] - shift, "score": trivial[score]},
        title=f"{title}: loss",
    )


def example_step(problem: Problem, settings: TableSettings, seed: int) -> tuple[Callable, tuple[Any, Any]]:
    """The training step of a problem and a first batch for it, for ``chainrule explain``."""
    manual_seed(seed)
    model = build_model(describe_model(problem, settings))
    step = training_step(model, build_objective(problem.target), build_optimizer(model, settings))
    inputs, targets = problem.parts["train"]
    rows = choose_batch_size(len(inputs), settings)
    return step, (tensor(inputs[:rows]), tensor(targets[:rows]))
