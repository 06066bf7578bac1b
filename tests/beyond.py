"""What the tests of functions beyond the standard share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr


def same(found: Any, wanted: Any, rtol: float = 1e-12, atol: float = 0.0) -> None:
    """Equal shapes, and values within the tolerance; trees of results one by one."""
    if isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted):
            same(a, b, rtol, atol)
        return
    assert isinstance(found, cr.Tensor)
    wanted = np.asarray(wanted)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.numpy(), wanted, rtol=rtol, atol=atol)


def everywhere(function: Callable, *arrays: np.ndarray, order: int = 1, smooth: bool = True) -> None:
    """`function` is the same compiled and batched, and has right derivatives where it is `smooth`."""
    tensors = [cr.asarray(a) for a in arrays]
    plain = function(*tensors)
    parts = plain if isinstance(plain, (tuple, list)) else (plain,)
    compiled = cr.compile(function)(*tensors)
    for a, b in zip(compiled if isinstance(plain, (tuple, list)) else (compiled,), parts):
        same(a, b.numpy(), 1e-12, 1e-14)
    stacked = [np.stack([a, a[::-1]] if a.ndim else [a, a]) for a in arrays]
    batched = cr.vmap(function)(*map(cr.asarray, stacked))
    rows = [function(*(cr.asarray(a[i]) for a in stacked)) for i in range(2)]
    if not isinstance(plain, (tuple, list)):
        batched, rows = (batched,), [(r,) for r in rows]
    for position, part in enumerate(batched):
        same(part, np.stack([r[position].numpy() for r in rows]), 1e-11, 1e-13)
    if smooth:
        cr.testing.check_grads(function, tuple(tensors), order=order)


def refused(error: type[Exception], text: str, function: Callable, *args: Any, **kwargs: Any) -> None:
    """`function` raises `error` whose first line is `text` and which names this file."""
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    first, *rest = str(caught.value).splitlines()
    assert first == text
    assert any(re.match(r"recorded at .*\.py:\d+$", line) for line in rest)
