"""``chainrule train`` and ``chainrule recipe``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from ..data.table import help_nearest
from ..errors import ConfigError, DataError
from ..recipes import RECIPES, SUMMARIES, load_recipe
from .console import ConsoleReporter, print_table


def default_out(name: str, seed: int) -> Path:
    """The run folder of a target: ``runs/NAME-seedN``."""
    return Path("runs") / f"{name}-seed{seed}"


def is_recipe(name: str) -> bool:
    """Whether the target names a recipe; anything that is a file, or looks like one, does not.

    Raises:
        DataError: it is neither; the nearest recipes are shown.
    """
    if name in RECIPES:
        return True
    path = Path(name)
    if path.suffix or path.exists() or len(path.parts) > 1:
        return False
    raise DataError(f"there is no file and no recipe {name!r}\n{help_nearest(name, [*RECIPES], 'recipes')}")


def train(options: argparse.Namespace) -> None:
    """Train on a file or run a recipe."""
    if is_recipe(options.name):
        if options.target or options.task or options.header is not None:
            raise ConfigError(f"--target, --task and --header are for CSV files; {options.name!r} is a recipe")
        recipe(options)
        return
    from ..data.csvfile import read_csv
    from ..train.runfolder import RunWriter
    from ..train.settings import TableSettings, parse_settings
    from ..train.tabular import prepare, train_table

    started = time.perf_counter()
    settings = parse_settings(TableSettings(), options.settings)
    path = Path(options.name)
    out = Path(options.out) if options.out else default_out(path.stem, options.seed)
    table = read_csv(path, target=options.target, header=options.header)
    if options.target is None:
        raise ConfigError(f"--target is needed: which column is to be predicted?\n{help_nearest('', table.names)}")
    RunWriter(out)  # a folder that exists is refused before any work
    problem = prepare(table, options.target, settings, task=options.task, seed=options.seed)
    train_table(
        problem,
        settings,
        out=out,
        seed=options.seed,
        title=path.stem,
        paths={"data": str(path.absolute())},
        reporter=ConsoleReporter(options.quiet),
        started=started,
    )
    print(f"run folder: {out}")


def recipe(options: argparse.Namespace) -> None:
    """Run a recipe, or list them."""
    if options.name is None:
        print_table("recipes", ["name", "what it does"], [[name, SUMMARIES[name]] for name in RECIPES])
        return
    from ..train.runfolder import RunWriter
    from ..train.settings import parse_settings

    chosen: Any = load_recipe(options.name)
    settings = parse_settings(chosen.SETTINGS, options.settings)
    out = Path(options.out) if options.out else default_out(options.name, options.seed)
    RunWriter(out)
    chosen.run(settings, seed=options.seed, out=out, reporter=ConsoleReporter(options.quiet))
    print(f"run folder: {out}")
