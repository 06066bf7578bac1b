"""The primitives, one class each, a file per family; importing this package registers them all."""

from . import (
    arithmetic,
    attention,
    contraction,
    control,
    convolution,
    elementwise,
    indexing,
    leaf,
    logic,
    movement,
    random,
    recompute,
    reduction,
    sparse,
    transcendental,
    windows,
)
from .base import REGISTRY, Primitive, apply, emit, mode, primitive

__all__ = ["REGISTRY", "Primitive", "apply", "emit", "mode", "primitive"]
_FAMILIES = (
    arithmetic,
    attention,
    contraction,
    control,
    convolution,
    elementwise,
    indexing,
    leaf,
    logic,
    movement,
    random,
    recompute,
    reduction,
    sparse,
    transcendental,
    windows,
)
