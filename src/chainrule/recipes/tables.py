"""Recipes of table data sets: the default settings of ``chainrule train FILE.csv`` on a data set by name."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from ..data.datasets import Dataset, load_dataset
from ..train import tabular
from ..train.settings import TableSettings


class TableRecipe:
    """A data set with its settings; has what a recipe module has (see `chainrule.recipes`)."""

    def __init__(self, name: str, settings: TableSettings | None = None):
        self.name = name
        self._dataset: Dataset | None = None
        self._settings = settings

    @property
    def dataset(self) -> Dataset:
        """The data, read once."""
        if self._dataset is None:
            self._dataset = load_dataset(self.name)
        return self._dataset

    @property
    def SETTINGS(self) -> TableSettings:
        """Defaults, with those of the data set."""
        return self._settings or dataclasses.replace(TableSettings(), **self.dataset.settings)

    def problem(self, settings: TableSettings, seed: int) -> tabular.Problem:
        """The prepared data."""
        data = self.dataset
        return tabular.prepare(data.table, data.target, settings, seed=seed, test=data.test)

    def run(
        self, settings: TableSettings, *, seed: int, out: str | Path, reporter: tabular.Reporter | None = None
    ) -> dict[str, Any]:
        """Train and write the run folder; returns its metrics."""
        started = time.perf_counter()
        problem = self.problem(settings, seed)
        return tabular.train_table(
            problem,
            settings,
            out=out,
            seed=seed,
            title=self.name,
            paths={"data": str(self.dataset.path)},
            reporter=reporter,
            started=started,
        )

    def example(self, settings: TableSettings, seed: int) -> tuple[Any, tuple[Any, ...]]:
        """The training step and a batch for it."""
        return tabular.example_step(self.problem(settings, seed), settings, seed)


def recipe(name: str) -> TableRecipe:
    """The recipe of a data set."""
    return TableRecipe(name)
