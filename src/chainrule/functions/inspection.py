"""What the Array API standard's inspection functions report."""

from __future__ import annotations

from typing import Any

from ..dtypes import ALL, DType, default_float, default_int
from .data_types import isdtype


class Info:
    """The answer of ``__array_namespace_info__()``."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean selection and shapes that depend on values work; there is no bound on the number of axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The device of new tensors."""
        return "cpu"

    def devices(self) -> list[str]:
        """All devices."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes of results without a given dtype."""
        return {"real floating": default_float, "integral": default_int, "indexing": default_int}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """All dtypes of a kind, by name."""
        return {d.name: d for d in ALL if kind is None or isdtype(d, kind)}


def array_namespace_info() -> Info:
    """Information about the namespace, its devices and its dtypes."""
    return Info()


__all__ = ["array_namespace_info"]
