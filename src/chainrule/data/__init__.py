"""Data: CSV tables, preprocessing, splits, and readers of data sets on this machine."""

from __future__ import annotations

import importlib

_HOME = {
    "Table": "table",
    "Column": "table",
    "read_csv": "csvfile",
    "write_csv": "storage",
    "write_atomically": "storage",
    "Preprocessor": "preprocess",
    "PCA": "decomposition",
    "PCAWhitening": "decomposition",
    "ZCAWhitening": "decomposition",
    "ClassTarget": "target",
    "NumberTarget": "target",
    "infer_target": "target",
    "split_rows": "splits",
    "load_dataset": "datasets",
    "DATASETS": "datasets",
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
