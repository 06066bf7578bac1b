"""What the two figures of learning curves on iris share: the data, the 4-8-3 network, and the folder."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datasets import load_dataset
from ..data.preprocess import Preprocessor
from ..data.target import ClassTarget
from ..train.loop import training_step
from ..train.plots import learning_curves
from ..train.runfolder import RunWriter
from ..train.tabular import Reporter


def iris_arrays() -> tuple[np.ndarray, np.ndarray]:
    """All 150 rows: standardised inputs (150, 4) float32 and labels (150,) int64."""
    data = load_dataset("iris")
    rows = np.arange(data.table.num_rows)
    columns = data.table.without([data.target])
    labels = data.table.columns[data.target]
    target = ClassTarget(data.target, sorted(set(labels.texts)), [])
    return Preprocessor.fit(columns, rows).transform(columns)[0], target.encode(labels)[0]


def iris_step(make_optimizer: Callable, seed: int) -> Callable:
    """The training step of a new 4-8-3 network; the same seed gives the same first weights."""
    from .. import manual_seed, nn, objectives

    manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return training_step(model, objectives.Categorical(), make_optimizer(model.parameters()))


def iris_example(make_optimizer: Callable, seed: int) -> tuple[Callable, tuple[Any, Any]]:
    """The step and its arguments, all rows, for ``chainrule explain``."""
    from .. import tensor

    inputs, labels = iris_arrays()
    return iris_step(make_optimizer, seed), (tensor(inputs), tensor(labels))


def draw_curves(
    runs: dict[str, Callable],
    settings: Any,
    *,
    title: str,
    dashed: Collection[str] = (),
    recipe: str,
    seed: int,
    out: str | Path,
    reporter: Reporter | None,
) -> dict[str, Any]:
    """Train once for each optimiser, from the same first weights, and write the figure and the numbers.

    Args:
        runs: name of the curve -> function that makes an optimiser from parameters.
        settings: a dataclass with ``steps``.
        title: of the figure. dashed: curves to draw so. recipe: its name.

    Returns:
        The contents of ``metrics.json``: loss after the last step by curve.
    """
    from .. import compile, tensor

    reporter = reporter or Reporter()
    started = time.perf_counter()
    with RunWriter(out) as writer:
        inputs, labels = iris_arrays()
        arguments = tensor(inputs), tensor(labels)
        curves: dict[str, list[float]] = {}
        reporter.start(recipe, len(runs))
        for number, (name, make_optimizer) in enumerate(runs.items(), 1):
            step = compile(iris_step(make_optimizer, seed))
            losses = np.asarray(step.repeat(settings.steps, *arguments).numpy(), np.float64)
            curves[name] = [float(loss) for loss in losses]
            reporter.epoch({"epoch": number, f"{name}: loss": curves[name][-1]})
        reporter.finish()
        final = {
            name: {"first": losses[0], "last": losses[-1], "least": min(losses)} for name, losses in curves.items()
        }
        rows = [[name, *(f"{value:.4g}" for value in values.values())] for name, values in final.items()]
        reporter.table(title, ["", "first loss", "last loss", "least loss"], rows)
        records = [
            {"curve": name, "step": step_number, "loss": loss}
            for name, losses in curves.items()
            for step_number, loss in enumerate(losses, 1)
        ]
        picture = learning_curves(
            curves, title=title, xlabel="step (all 150 flowers)", ylabel="cross-entropy (nats)", dashed=dashed
        )
        summary = {"recipe": recipe, "steps": settings.steps, "loss": final}
        writer.write_json("config.json", {"format": 1, "recipe": recipe, "seed": seed, "settings": asdict(settings)})
        writer.write_json("metrics.json", summary)
        writer.write_lines("log.jsonl", records)
        writer.write("curves.png", picture)
        writer.write_json("timing.json", timing(started, out))
        writer.commit()
    return summary


def timing(started: float, out: str | Path) -> dict[str, Any]:
    """The contents of ``timing.json``: what differs from run to run."""
    return {
        "seconds": {"total": time.perf_counter() - started},
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "paths": {"run": str(Path(out).absolute())},
        "command": sys.argv,
    }
