"""`compile`: a Python function on tensors and state as one native program, and loops of it."""

from .function import CompiledFunction, captured_names, compile

__all__ = ["CompiledFunction", "captured_names", "compile"]
