"""Machine code of kernels: made once for each kernel key, kept in memory and on disk."""

from __future__ import annotations

import contextlib
import hashlib
import threading

from ..backends.cpu import driver, driver_ir, toolchain
from ..backends.cpu.codegen import kernel_module
from ..errors import CompileError
from . import cache
from .attention import KINDS
from .kernel import Kernel
from .plan import Plan

_addresses: dict[str, int] = {}
_lock = threading.RLock()


def addresses_of(plan: Plan) -> list[int]:
    """Addresses of the plan's kernels, compiling or loading those that this process does not have."""
    with _lock:
        missing = [(key, kernel) for key, kernel in zip(plan.keys, plan.kernels) if key not in _addresses]
        if missing:
            _provide(missing)
        return [_addresses[key] for key in plan.keys]


def prepare() -> bool:
    """Load the driver, from the disk cache if it is there; False if this process has it already."""
    if driver.loaded():
        return False
    entry = hashlib.sha256(driver_ir.text(toolchain.host().architecture).encode()).hexdigest()
    code = cache.read(entry)
    if code is not None:
        with contextlib.suppress(CompileError):
            driver.load(code)
            return True
    code = driver.compile_driver()
    cache.write(entry, code)
    driver.load(code)
    return True


def _provide(missing: list[tuple[str, Kernel]]) -> None:
    names = [f"k{key}" for key, _ in missing]
    entry = hashlib.sha256(" ".join(names).encode()).hexdigest()
    loaded = None
    code = cache.read(entry)
    if code is not None:
        try:
            loaded = toolchain.load(code, names)
        except CompileError:  # a damaged or foreign entry is compiled again
            loaded = None
    if loaded is None:
        target = toolchain.host()
        text = kernel_module([(f"k{key}", kernel) for key, kernel in missing], target)
        code = toolchain.compile_ir(text, opt=optimisation(missing))
        cache.write(entry, code)
        loaded = toolchain.load(code, names)
    for (key, _), name in zip(missing, names):
        _addresses[key] = loaded[name]


def optimisation(kernels: list[tuple[str, Kernel]]) -> int:
    """Level of passes over the IR: none for register tiles, which gain nothing, and for code wanted at once."""
    tiled = KINDS | {"contract"}
    return 0 if any(kernel.kind in tiled or not kernel.baked for _, kernel in kernels) else 1
