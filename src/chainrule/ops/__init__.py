"""The primitives, one class each, a file per family; importing this package registers them all."""

from . import arithmetic, contraction, elementwise, indexing, leaf, logic, movement, random, reduction, transcendental
from .base import REGISTRY, Primitive, apply, emit, mode, primitive

__all__ = ["REGISTRY", "Primitive", "apply", "emit", "mode", "primitive"]
_FAMILIES = (arithmetic, contraction, elementwise, indexing, leaf, logic, movement, random, reduction, transcendental)
