"""What the Array API standard's inspection functions report."""

from __future__ import annotations

from typing import Any

from ..dtypes import ALL, DType, default_complex, default_float, default_int
from ..recording import MAXIMUM_AXES, check_device
from .data_types import isdtype


class Info:
    """The answer of ``__array_namespace_info__()``: what the standard lets one ask about a namespace."""

    def capabilities(self) -> dict[str, Any]:
        """Boolean selection and shapes that depend on values work; the number of axes is bounded by NumPy."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": MAXIMUM_AXES}

    def default_device(self) -> str:
        """The device of new tensors."""
        return "cpu"

    def devices(self) -> list[str]:
        """All devices."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes of results without a given dtype."""
        check_device("default_dtypes", device)
        return {
            "real floating": default_float,
            "complex floating": default_complex,
            "integral": default_int,
            "indexing": default_int,
        }

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The standard's dtypes of a kind, by name; it has no float16 and bfloat16."""
        check_device("dtypes", device)
        return {d.name: d for d in ALL if not d.is_half and (kind is None or isdtype(d, kind))}


def array_namespace_info() -> Info:
    """Information about the namespace, its devices and its dtypes."""
    return Info()


__all__ = ["array_namespace_info"]
