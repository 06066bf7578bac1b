"""Optimisers and learning-rate schedules, with PyTorch's names, arguments, defaults and state dicts.

The minimisers of `chainrule.minimise` (`minimize`, `newton`, `lbfgs` and so on) are reached from here too.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import lr_scheduler
from .adam import Adam, AdamW
from .adaptive import Adagrad, RMSprop
from .grad_scaler import GradScaler
from .optimizer import Optimizer
from .sgd import SGD

#: functions of `chainrule.minimise`, which is loaded when one is first used
_MINIMISERS = (
    "cg", "gauss_newton", "gradient_descent", "lbfgs", "levenberg_marquardt", "line_search", "minimize", "newton",
    "newton_cg",
)  # fmt: skip

__all__ = [
    "LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "GradScaler", "Optimizer", "RMSprop", "lr_scheduler", *_MINIMISERS
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "LBFGS":
        value = importlib.import_module(".quasi_newton", __name__).LBFGS
    elif name in _MINIMISERS:
        value = getattr(importlib.import_module("..minimise", __name__), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
