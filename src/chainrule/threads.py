"""How many threads programs use."""

from __future__ import annotations

import sys

from . import config
from .ops.base import misuse

_number: int | None = None


def get_num_threads() -> int:
    """Threads that one program may use; results do not depend on it."""
    global _number
    if _number is None:
        _number = config.num_threads()
    return _number


def set_num_threads(n: int) -> None:
    """Let programs use up to `n` threads. Raises ConfigError unless `n` is a positive whole number."""
    global _number
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise misuse(f"set_num_threads: a positive whole number is needed, not {n!r}")
    _number = n
    running = sys.modules.get("chainrule.backends.cpu.pool")
    if running is not None:
        running.pool().set_num_threads(n)
