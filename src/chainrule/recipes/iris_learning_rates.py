"""Learning curves of gradient descent on iris with five learning rates: the lecture's figure.

Too small a rate hardly moves, too large a one oscillates or diverges; all start from the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..train.settings import setting
from ..train.tabular import Reporter
from .iris_curves import draw_curves, iris_example


@dataclass(frozen=True)
class Settings:
    """Steps, and the learning rates to compare."""

    steps: int = setting(300, 1, 1_000_000)
    rates: tuple[float, ...] = setting((0.001, 0.01, 0.1, 1.0, 4.0), 1e-12, 1e6)


SETTINGS = Settings()


def _sgd(rate: float) -> Callable:
    """A function from parameters to gradient descent with that rate."""
    from .. import optim

    return lambda parameters: optim.SGD(parameters, lr=rate)


def run(settings: Settings, *, seed: int, out: str | Path, reporter: Reporter | None = None) -> dict[str, Any]:
    """Draw the figure; returns the losses."""
    return draw_curves(
        {f"learning rate {rate:g}": _sgd(rate) for rate in settings.rates},
        settings,
        title="Gradient descent on iris, five learning rates",
        recipe="iris-learning-rates",
        seed=seed,
        out=out,
        reporter=reporter,
    )


def example(settings: Settings, seed: int) -> tuple[Callable, tuple[Any, Any]]:
    """The step of the first rate."""
    return iris_example(_sgd(settings.rates[0]), seed)
