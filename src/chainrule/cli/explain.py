"""``chainrule explain``: the training step of a recipe, a file or a run, shown by the engine."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError
from ..recipes import RECIPES, load_recipe
from ..train.settings import TableSettings, parse_settings
from .train import is_recipe


def training_example(options: argparse.Namespace) -> tuple[Any, tuple[Any, ...]]:
    """(step, arguments): the training step that `options` name, and a first batch for it."""
    path = Path(options.name)
    if options.name in RECIPES or (not path.is_dir() and is_recipe(options.name)):
        recipe: Any = load_recipe(options.name)
        return recipe.example(parse_settings(recipe.SETTINGS, options.settings), options.seed)
    if path.is_dir():
        return _run_example(path, options)
    from ..data.csvfile import read_csv
    from ..train.tabular import example_step, prepare

    settings = parse_settings(TableSettings(), options.settings)
    table = read_csv(path, target=options.target, header=options.header)
    if options.target is None:
        raise ConfigError("--target is needed: which column is to be predicted?")
    problem = prepare(table, options.target, settings, task=options.task, seed=options.seed)
    return example_step(problem, settings, options.seed)


def _run_example(path: Path, options: argparse.Namespace) -> tuple[Any, tuple[Any, ...]]:
    """The step that trained a run, on a batch of zeros: shapes and kernels do not depend on the values."""
    import numpy as np

    from ..errors import RunError
    from ..train.runfolder import read_json

    config = read_json(path / "config.json")
    if "recipe" in config:
        recipe: Any = load_recipe(config["recipe"])
        kept = [f"{key}={_spelled(value)}" for key, value in config["settings"].items()]
        return recipe.example(parse_settings(recipe.SETTINGS, kept), int(config["seed"]))
    from .. import tensor
    from ..train.loop import training_step
    from ..train.saved import SavedModel
    from ..train.tabular import build_objective, build_optimizer

    saved = SavedModel(path)
    known = {field.name for field in dataclasses.fields(TableSettings)}
    try:
        values: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in config["settings"].items() if key in known
        }
        settings = dataclasses.replace(TableSettings(), **values)
        rows = int(settings.batch_size)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{path / 'config.json'} is damaged: {error!r}") from None
    if options.settings:
        raise ConfigError("a run has its settings already; give a recipe or a file to explain other ones")
    saved.model.train()
    step = training_step(saved.model, build_objective(saved.target), build_optimizer(saved.model, settings))
    inputs = np.zeros((rows, len(saved.preprocessor.features)), np.float32)
    labels = saved.target.task == "classification"
    return step, (tensor(inputs), tensor(np.zeros(rows, np.int64 if labels else np.float32)))


def _spelled(value: Any) -> str:
    """A setting as it is written on the command line."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def explain(options: argparse.Namespace) -> None:
    """Print the step's typed graph, gradient graph, kernels and memory plan."""
    if options.name.endswith(".csv") and not Path(options.name).exists():
        raise DataError(f"there is no file {options.name}")
    step, arguments = training_example(options)
    from ..explanation import explain as explain_step

    explanation = explain_step(step, *arguments)
    for name in ("kernel", "llvm", "assembly"):
        number = getattr(options, name)
        if number is not None:
            print(getattr(explanation, name)(number))
            return
    print(explanation.text(*options.section, all=options.all))
