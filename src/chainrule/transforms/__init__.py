"""Functions from graph to graph: reverse mode, forward mode, batching."""

from .batch import batch
from .forward import jvp
from .reverse import vjp

__all__ = ["batch", "jvp", "vjp"]
