"""Python's collector of cycles, put off while a graph is recorded and compiled.

Both make many small objects, nearly all of which stay or go by counting references. Collections in between find
next to nothing and, every so often, walk through all objects of the process: tens of milliseconds.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_enabled = False


@contextmanager
def put_off() -> Iterator[None]:
    """No collection inside, in any thread; afterwards it is as it was."""
    global _inside, _enabled
    with _lock:
        if not _inside:
            _enabled = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside = max(_inside - 1, 0)
            if not _inside and _enabled:
                gc.enable()


def _in_child() -> None:
    """Of the threads of the parent only one goes on, outside of `put_off` or not for long."""
    global _lock, _inside
    _lock = threading.Lock()
    if _inside and _enabled:
        gc.enable()
    _inside = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
