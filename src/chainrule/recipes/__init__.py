"""Runnable experiments, one file each.

A recipe is a module with ``SUMMARY`` (one line), ``SETTINGS`` (a dataclass of defaults),
``run(settings, *, seed, out, reporter) -> dict`` that writes a run folder, and
``example(settings, seed) -> (step, arguments)``, the training step that ``chainrule explain`` shows.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from ..data.table import help_nearest
from ..errors import ConfigError

#: name of the recipe -> its module here
RECIPES = {
    "iris": "iris",
    "iris-optimisers": "iris_optimisers",
    "iris-learning-rates": "iris_learning_rates",
    "uncertainty": "uncertainty",
    "adult": "tables",
    "california-housing": "tables",
    "titanic": "tables",
    "wine": "tables",
    "breast-cancer": "tables",
}
#: one line each, here so that listing them loads no recipe
SUMMARIES = {
    "iris": "classify 150 iris flowers with a 4-8-3 network (the data travel with the package)",
    "iris-optimisers": "learning curves of SGD, momentum, Nesterov, Adam and AdamW on iris",
    "iris-learning-rates": "learning curves of five learning rates on iris",
    "uncertainty": "heteroscedastic regression: a network that predicts mean and spread",
    "adult": "census income, classification, official test set (CHAINRULE_DATA)",
    "california-housing": "house values, regression (CHAINRULE_DATA)",
    "titanic": "survival of passengers, classification, 20 % held out (CHAINRULE_DATA)",
    "wine": "cultivars of wine, classification (CHAINRULE_DATA)",
    "breast-cancer": "breast cancer (Wisconsin), classification (CHAINRULE_DATA)",
}


def load_recipe(name: str) -> ModuleType | object:
    """The recipe of that name.

    Raises:
        ConfigError: there is none; the nearest names are shown.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}\n{help_nearest(name, [*RECIPES], 'recipes')}")
    module = importlib.import_module(f".{RECIPES[name]}", __name__)
    return module.recipe(name) if hasattr(module, "recipe") else module
