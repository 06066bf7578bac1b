"""Learning curves of SGD, momentum, Nesterov, Adam and AdamW on iris: the lecture's figure.

All start from the same weights and take full-batch steps on all 150 flowers; the curves differ by the optimiser
alone.
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
    """Steps, the learning rate of all five, momentum, and AdamW's weight decay."""

    steps: int = setting(300, 1, 1_000_000)
    lr: float = setting(0.02, 1e-12, 1e3)
    momentum: float = setting(0.9, 0, 0.9999)
    weight_decay: float = setting(0.1, 0, 1e3)


SETTINGS = Settings()


def optimisers(settings: Settings) -> dict[str, Callable]:
    """Name of the curve -> function from parameters to optimiser."""
    from .. import optim

    lr, momentum, decay = settings.lr, settings.momentum, settings.weight_decay
    return {
        "SGD": lambda parameters: optim.SGD(parameters, lr=lr),
        f"momentum {momentum:g}": lambda parameters: optim.SGD(parameters, lr=lr, momentum=momentum),
        f"Nesterov {momentum:g}": lambda parameters: optim.SGD(parameters, lr=lr, momentum=momentum, nesterov=True),
        "Adam": lambda parameters: optim.Adam(parameters, lr=lr),
        f"AdamW, decay {decay:g}": lambda parameters: optim.AdamW(parameters, lr=lr, weight_decay=decay),
    }


def run(settings: Settings, *, seed: int, out: str | Path, reporter: Reporter | None = None) -> dict[str, Any]:
    """Draw the figure; returns the losses."""
    runs = optimisers(settings)
    return draw_curves(
        runs,
        settings,
        dashed=[name for name in runs if name.startswith(("Nesterov", "AdamW"))],
        title=f"Optimisers on iris, learning rate {settings.lr:g}",
        recipe="iris-optimisers",
        seed=seed,
        out=out,
        reporter=reporter,
    )


def example(settings: Settings, seed: int) -> tuple[Callable, tuple[Any, Any]]:
    """Adam's step."""
    return iris_example(optimisers(settings)["Adam"], seed)
