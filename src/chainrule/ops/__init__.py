"""The primitives, one class each, a file per family.

Importing this package registers those that nearly every program has; the first use of another one imports `rare`, which
registers the rest. Rules that stand in a file of their own come with the package.
"""

from . import (
    arithmetic,
    branch,
    branch_rules,
    complex,
    contraction,
    control,
    custom,
    elementwise,
    indexing,
    leaf,
    logic,
    loop_rules,
    movement,
    random,
    recompute,
    reduction,
    searching,
    transcendental,
)
from .base import REGISTRY, Primitive, apply, emit, mode, primitive

__all__ = ["REGISTRY", "Primitive", "apply", "emit", "mode", "primitive"]
