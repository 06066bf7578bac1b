"""The one reader of environment variables: all of Chainrule's settings, in one table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

#: name -> meaning; nothing else in the package reads the environment.
VARIABLES = {
    "CHAINRULE_NUM_THREADS": "threads that one program may use (default: the cores this process may run on)",
    "CHAINRULE_CACHE": "folder of compiled programs; empty: no disk cache (default: in the user's cache folder)",
    "CHAINRULE_CACHE_BYTES": "size at which old entries of the disk cache are dropped (default: 512 MiB)",
    "CHAINRULE_MEMORY": "bytes that one program may need for intermediate values and results (default: what is free)",
    "CHAINRULE_DATA": "folder of the real data sets that recipes, tests and benchmarks read",
    "CHAINRULE_BACKEND": "'cpu' (native code, default) or 'interpreter' (NumPy, for comparison)",
    "CHAINRULE_TARGET": "LLVM host override 'cpu:features' for testing other machines' code, e.g. 'haswell:'",
}


def _integer(name: str, default: int, minimum: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        raise ConfigError(f"{name} must be a whole number, not {text!r}") from None
    if value < minimum:
        raise ConfigError(f"{name} must be at least {minimum}, not {value}")
    return value


def available_cores() -> int:
    """Cores that this process may run on (its affinity mask where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_threads() -> int:
    """Threads that a program may use at start-up: ``CHAINRULE_NUM_THREADS`` or all available cores."""
    return _integer("CHAINRULE_NUM_THREADS", available_cores(), 1)


def cache_bytes() -> int:
    """Upper bound on the size of the disk cache in bytes."""
    return _integer("CHAINRULE_CACHE_BYTES", 512 << 20, 0)


def memory_bytes() -> int | None:
    """Limit on the memory of a program in bytes, None if ``CHAINRULE_MEMORY`` is not set."""
    return _integer("CHAINRULE_MEMORY", 0, 1) or None


def cache_folder() -> Path | None:
    """Folder of the disk cache, or None if it is switched off."""
    from pathlib import Path  # here, because importing it takes longer than most of the package

    text = os.environ.get("CHAINRULE_CACHE")
    if text is not None:
        return Path(text) if text else None
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "chainrule"


def data_folder() -> Path | None:
    """Folder of the real data sets, or None if ``CHAINRULE_DATA`` is not set."""
    from pathlib import Path

    text = os.environ.get("CHAINRULE_DATA")
    return Path(text) if text else None


def backend() -> str:
    """Name of the backend that evaluates graphs."""
    text = os.environ.get("CHAINRULE_BACKEND", "cpu")
    if text not in ("cpu", "interpreter"):
        raise ConfigError(f"CHAINRULE_BACKEND must be 'cpu' or 'interpreter', not {text!r}")
    return text


def target() -> str:
    """LLVM host override, empty for this machine's own."""
    return os.environ.get("CHAINRULE_TARGET", "")
