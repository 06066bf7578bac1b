"""The table of primitives: for each a reference by NumPy or SciPy, operands, and operands that are wrong.

`ROWS` drives the tests of the type rules, the interpreter, the derivatives and the batching rules here, and the
comparison of other backends with the interpreter elsewhere (``for row in ROWS: for case in row.cases``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import chainrule.ops.rare  # noqa: F401  (all primitives, for whoever goes through the registry)
from chainrule.errors import ChainruleError, ShapeError

#: relative and absolute tolerance of a result against a reference of higher precision
TOLERANCE = {
    "float32": (2e-6, 1e-6), "float64": (1e-13, 1e-14), "complex64": (2e-6, 1e-6), "complex128": (1e-13, 1e-14),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One application: attributes and operand arrays.

    `smooth`: derivatives exist at the operands and nearby. `tag` says what is special.
    """

    attributes: tuple
    operands: tuple[np.ndarray, ...]
    smooth: bool = False
    tag: str = ""


@dataclass(frozen=True)
class Wrong:
    """An application that has to be refused: the error's class and a part of its message."""

    attributes: tuple
    operands: tuple[np.ndarray, ...]
    message: str
    error: type[ChainruleError] = ShapeError


@dataclass(frozen=True)
class Row:
    """One primitive. ``reference(*attributes, *operands)`` is its value; `loose` scales the tolerance."""

    name: str
    reference: Callable[..., np.ndarray]
    cases: list[Case]
    wrong: list[Wrong] = field(default_factory=list)
    loose: float = 1.0
    batches: bool = True


def generator(seed: int = 0) -> np.random.Generator:
    """The source of operands."""
    return np.random.default_rng(seed)


def floats(*shape: int, low: float = -2.0, high: float = 2.0, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Uniform numbers in [low, high)."""
    return np.asarray(generator(seed).uniform(low, high, shape)).astype(dtype)


def distinct(*shape: int, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """Numbers that are at least 0.1 apart, and from 0, in random order."""
    count = int(np.prod(shape))
    values = (generator(seed).permutation(count) - count // 2 + 0.37) * 0.3
    return values.reshape(shape).astype(dtype)


def integers(*shape: int, low: int = -9, high: int = 10, dtype: str = "int64", seed: int = 0) -> np.ndarray:
    """Uniform integers in [low, high)."""
    return np.asarray(generator(seed).integers(low, high, shape)).astype(dtype)


def bools(*shape: int, seed: int = 0) -> np.ndarray:
    """Fair coins."""
    return np.asarray(generator(seed).random(shape) < 0.5)


SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38, 0.5, -0.5, 2.5, -2.5, 1e-6, 7.25]
)

ROWS: list[Row] = []


def row(name: str, reference: Callable, cases: list[Case], wrong: list[Wrong] | None = None, **settings) -> None:
    """Add a row."""
    ROWS.append(Row(name, reference, cases, wrong or [], **settings))


def case(*operands, attributes: tuple = (), smooth: bool = False, tag: str = "") -> Case:
    """A case, operands first."""
    return Case(attributes, tuple(np.asarray(operand) for operand in operands), smooth, tag)


def wrong(*operands, attributes: tuple = (), message: str, error: type[ChainruleError] = ShapeError) -> Wrong:
    """A wrong application, operands first."""
    return Wrong(attributes, tuple(np.asarray(operand) for operand in operands), message, error)


def rows_by_name() -> dict[str, Row]:
    """The table as a dictionary."""
    return {row.name: row for row in ROWS}


from . import (  # noqa: E402  (they fill ROWS)
    table_array,  # noqa: F401
    table_attention,  # noqa: F401
    table_beyond,  # noqa: F401
    table_complex,  # noqa: F401
    table_control,  # noqa: F401
    table_convolution,  # noqa: F401
    table_custom,  # noqa: F401
    table_elementwise,  # noqa: F401
    table_fourier,  # noqa: F401
    table_linalg,  # noqa: F401
    table_sparse,  # noqa: F401
    table_special,  # noqa: F401
    table_structure,  # noqa: F401  (before those that add to its rows)
)
