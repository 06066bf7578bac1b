"""The rows of the operation-by-mode matrix: how each public function is called, or why it has no derivative.

A row has a function of float64 arrays (all of them differentiated) and such arrays. Everything else that the function
needs is closed over. `smooth` rows have all modes; `plain` ones compute something that has no derivative and are only
batched and compiled; `tool` ones compute no array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MODES = ("value", "reverse", "forward", "second order", "batched", "compiled")


@dataclass
class Row:
    """One public function.

    Attributes:
        function: takes tensors made of `operands`; None for a tool.
        operands: float64 arrays, or trees of them (modules); for `plain` rows any arrays.
        kind: "smooth", "plain" or "tool".
        reason: why a plain function or a tool has no derivative.
        holes: mode -> why a smooth or plain row lacks it; the test fails if it works all the same.
        differs: mode -> why its result is another one than without; it is only run.
    """

    name: str
    function: Callable[..., Any] | None = None
    operands: tuple = ()
    kind: str = "smooth"
    reason: str = ""
    holes: dict[str, str] = field(default_factory=dict)
    differs: dict[str, str] = field(default_factory=dict)


class Table:
    """The rows for one module."""

    def __init__(self, module: Any):
        self.module = module
        self.rows: dict[str, Row] = {}

    def add(self, row: Row) -> None:
        if row.name in self.rows:
            raise ValueError(f"{row.name} has two rows")
        self.rows[row.name] = row

    def smooth(self, name: str, *given: Any, **holes: str) -> None:
        """A differentiable function: ``smooth(name, operands...)`` calls it by name, a lambda may come first.

        Underscores in `holes` stand for blanks.
        """
        holes = {mode.replace("_", " "): reason for mode, reason in holes.items()}
        if given and callable(given[0]) and not hasattr(given[0], "parameters"):
            function, operands = given[0], given[1:]
        else:
            function, operands = self._by_name(name), given
        self.add(Row(name, function, operands, holes=holes))

    def plain(self, names: str, reason: str, *given: Any, **holes: str) -> None:
        """Functions without a derivative, called with the same operands."""
        holes = {mode.replace("_", " "): why for mode, why in holes.items()}
        for name in names.split():
            if given and callable(given[0]):
                function, operands = given[0], given[1:]
            else:
                function, operands = self._by_name(name), given
            self.add(Row(name, function, operands, "plain", reason, dict(holes)))

    def tool(self, names: str, reason: str) -> None:
        """Names that compute no array from arrays."""
        for name in names.split():
            self.add(Row(name, kind="tool", reason=reason))

    def _by_name(self, name: str) -> Callable[..., Any]:
        return lambda *operands: getattr(self.module, name)(*operands)


def u(*shape: int, low: float = 0.3, high: float = 0.9, seed: int = 0) -> np.ndarray:
    """Uniform numbers."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape)


def s(*shape: int, seed: int = 0, low: float = 0.3, high: float = 1.4) -> np.ndarray:
    """Numbers of both signs away from 0."""
    values = u(*shape, low=low, high=high, seed=seed)
    return values * np.where(np.arange(values.size).reshape(shape) % 2, -1.0, 1.0)


def d(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers at least 0.1 apart, in random order, away from 0 and from one another's halves."""
    count = int(np.prod(shape))
    order = np.random.default_rng([seed, count]).permutation(count) - count // 2
    return ((order + 0.37) * 0.23).reshape(shape)


def i(*shape: int, low: int = 0, high: int = 4, seed: int = 0) -> np.ndarray:
    """Whole numbers."""
    return np.random.default_rng([seed, *shape]).integers(low, high, shape)


def b(*shape: int, seed: int = 0) -> np.ndarray:
    """Truth values."""
    return i(*shape, low=0, high=2, seed=seed).astype(bool)


def spd(n: int, *batch: int, seed: int = 0) -> np.ndarray:
    """Positive definite matrices with eigenvalues well apart."""
    a = s(*batch, n, n, seed=seed, low=0.1, high=0.4)
    return a @ np.swapaxes(a, -1, -2) + np.diag(np.arange(1.0, n + 1))
