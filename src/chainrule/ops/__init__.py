"""The primitives, one class each, a file per family.

Importing this package registers those that nearly every program has; the first use of another one imports `rare`, which
registers the rest.
"""

from . import (
    arithmetic,
    complex,
    contraction,
    elementwise,
    indexing,
    leaf,
    logic,
    movement,
    random,
    recompute,
    reduction,
    searching,
    transcendental,
)
from .base import REGISTRY, Primitive, apply, emit, mode, primitive

__all__ = ["REGISTRY", "Primitive", "apply", "emit", "mode", "primitive"]
