"""Whether operations are recorded for differentiation in this thread: `no_grad`, `enable_grad`, `set_grad_enabled`."""

from __future__ import annotations

import functools
from typing import Any

from .ops.base import mode


class _GradMode:
    """A context manager and decorator that sets the mode and restores what it was."""

    __slots__ = ("_before", "_enabled")

    def __init__(self, enabled: bool):
        self._enabled = enabled
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(mode.grad_enabled)
        mode.grad_enabled = self._enabled

    def __exit__(self, *exception: Any) -> None:
        mode.grad_enabled = self._before.pop()

    def __call__(self, function: Any) -> Any:
        enabled = self._enabled

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            before = mode.grad_enabled
            mode.grad_enabled = enabled
            try:
                return function(*args, **kwargs)
            finally:
                mode.grad_enabled = before

        return wrapped


class no_grad(_GradMode):
    """Record nothing for differentiation: as ``with no_grad():`` or as a decorator ``@no_grad()`` or ``@no_grad``."""

    __slots__ = ()

    def __new__(cls, function: Any = None):
        instance = super().__new__(cls)
        if function is None:
            return instance
        _GradMode.__init__(instance, False)
        return _GradMode.__call__(instance, function)

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_GradMode):
    """Record for differentiation again, inside `no_grad`."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_GradMode):
    """Set whether to record, at once; as a context manager it restores the former mode at the end."""

    __slots__ = ()

    def __init__(self, enabled: bool):
        super().__init__(bool(enabled))
        self._before.append(mode.grad_enabled)
        mode.grad_enabled = self._enabled

    def __enter__(self) -> None:
        mode.grad_enabled = self._enabled


def is_grad_enabled() -> bool:
    """Whether operations are recorded for differentiation now."""
    return mode.grad_enabled
