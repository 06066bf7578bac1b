"""Where arrays of ours begin: at a cache line, if they are not tiny."""

from __future__ import annotations

import numpy as np

#: bytes of a cache line, at whose beginnings arrays start
ALIGNMENT = 64


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array whose data starts at a cache line."""
    count = 1
    for extent in shape:
        count *= extent
    size = count * dtype.itemsize
    if size < 1024:
        return np.empty(shape, dtype)
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
