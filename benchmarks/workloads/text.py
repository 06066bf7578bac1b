"""Windows of a made-up text, for the character models."""

from __future__ import annotations

import numpy as np


def windows(generator: np.random.Generator, rows: int, length: int, symbols: int) -> np.ndarray:
    """``(rows, length + 1)`` int64 symbols of random texts in which the next symbol depends on the last."""
    successors = generator.integers(0, symbols, (symbols, 4))
    choices = generator.integers(0, 4, (rows, length))
    text = np.empty((rows, length + 1), np.int64)
    text[:, 0] = generator.integers(0, symbols, rows)
    for place in range(length):
        text[:, place + 1] = successors[text[:, place], choices[:, place]]
    return text
