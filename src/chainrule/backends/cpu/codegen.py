"""From kernels to the text of one LLVM module, and to loaded machine code."""

from __future__ import annotations

from ...compiler.kernel import Kernel
from .contract import emit_contract, emit_pack
from .emit import Function
from .loops import emit_map, emit_reduce, emit_scatter
from .toolchain import Target

EMITTERS = {
    "map": emit_map,
    "reduce": emit_reduce,
    "scatter": emit_scatter,
    "contract": emit_contract,
    "pack": emit_pack,
}


def kernel_module(kernels: list[tuple[str, Kernel]], target: Target) -> str:
    """LLVM IR of one function for each (name, kernel)."""
    functions, declarations = [], set()
    for name, kernel in kernels:
        function = Function(name, kernel, target)
        EMITTERS[kernel.kind](function)
        functions.append(function.text())
        declarations |= function.declarations
    return "\n".join([*sorted(declarations), *functions, ""])
