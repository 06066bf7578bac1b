"""Training: the loop, metrics, run folders and tables."""

from __future__ import annotations

import importlib

_HOME = {
    "fit": "loop",
    "History": "loop",
    "training_step": "loop",
    "predict": "loop",
    "classification_metrics": "metrics",
    "regression_metrics": "metrics",
    "RunWriter": "runfolder",
    "load_run": "runfolder",
    "TableSettings": "settings",
    "parse_settings": "settings",
    "prepare": "tabular",
    "train_table": "tabular",
    "SavedModel": "saved",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    """Load the public names on first use."""
    if name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
