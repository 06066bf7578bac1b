"""Every exception that Chainrule raises, each also the builtin that a caller would expect to catch."""

from __future__ import annotations


class ChainruleError(Exception):
    """The base of all errors raised by Chainrule."""


class ShapeError(ChainruleError, ValueError):
    """Operand shapes do not fit together, or an axis is out of range."""


class AxisError(ShapeError, IndexError):
    """An axis that an operand does not have."""


class DTypeError(ChainruleError, TypeError):
    """Operand dtypes are not accepted by the operation."""


class IndexOutOfRangeError(ChainruleError, IndexError):
    """An index or a class label lies outside its axis or table."""


class PlaceholderError(ChainruleError, TypeError):
    """A value was asked of a placeholder inside a compiled, batched or looped function."""


class DifferentiationError(ChainruleError, RuntimeError):
    """A derivative was asked for that does not exist or was not recorded."""


class ForwardModeError(DifferentiationError):
    """A function whose derivative is written for reverse mode alone was differentiated in forward mode."""


class CompileError(ChainruleError, RuntimeError):
    """The compiler met a graph or a call that it does not accept."""


class SingularMatrixError(ChainruleError, ValueError):
    """A matrix that has to be invertible, or positive definite, is not; found when the program runs."""


class MemoryLimitError(ChainruleError, MemoryError):
    """A program needs more memory than there is, or than the limit that is set; nothing of it has run."""


class GradientNotStoredError(ChainruleError, RuntimeError):
    """A gradient that a compiled step consumed without storing it was read."""


class NonFiniteError(ChainruleError, FloatingPointError):
    """A value that is not finite was computed while `set_detect_nonfinite` was on."""


class CheckError(ChainruleError, AssertionError):
    """A check of `chainrule.testing` failed."""


class DataError(ChainruleError, ValueError):
    """Input data (a file, a column, a label) is not as it has to be."""


class RunError(ChainruleError, ValueError):
    """A run folder or a file in it is missing, exists already, or is damaged."""


class ConfigError(ChainruleError, ValueError):
    """An argument, an option or an environment variable has a value that is not accepted."""
