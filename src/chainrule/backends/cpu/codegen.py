"""From kernels to the text of one LLVM module, and to loaded machine code."""

from __future__ import annotations

from collections.abc import Callable

from ...compiler.kernel import Attention, Kernel, Tiling
from ...dtypes import bfloat16
from .attention import emit_attention
from .attention_grad import emit_attention_grad
from .attention_pairs import emit_pair_attention
from .attention_pairs_grad import emit_pair_attention_grad
from .contract import emit_contract
from .emit import Function
from .in_step import emit_in_step
from .loops import emit_map, emit_scatter
from .nest import emit_nest
from .packing import emit_pack
from .pair_packing import emit_pair_pack
from .planes import emit_planes
from .reductions import emit_reduce
from .sparse import emit_csr, emit_rows
from .toolchain import Target
from .transpose import emit_blocks
from .turned import emit_turned
from .windows import emit_windows
from .winograd import emit_winograd

EMITTERS = {
    "map": emit_map,
    "reduce": emit_reduce,
    "scatter": emit_scatter,
    "csr": emit_csr,
    "rows": emit_rows,
    "in_step": emit_in_step,
    "contract": emit_contract,
    "pack": emit_pack,
    "attention": emit_attention,
    "attention_grad": emit_attention_grad,
}


#: emitters of kernels whose operands go by pairs of bfloat16
PAIRS = {"attention": emit_pair_attention, "attention_grad": emit_pair_attention_grad}


def _contraction(kernel: Kernel, tiling: Tiling) -> Callable[[Function], None]:
    """The emitter of a contraction with a plan of its own; a depthwise convolution's is that of its vectors' axis."""
    if tiling.block:
        return emit_winograd
    if not tiling.windows:
        return emit_nest
    if tiling.turned:
        return emit_turned
    return emit_windows if kernel.accesses[1].strides[kernel.vector] else emit_planes


def kernel_module(kernels: list[tuple[str, Kernel]], target: Target) -> str:
    """LLVM IR of one function for each (name, kernel)."""
    functions, declarations = [], set()
    for name, kernel in kernels:
        function = Function(name, kernel, target)
        emit: Callable[[Function], None] = EMITTERS[kernel.kind]
        if kernel.kind == "pack" and kernel.accesses[1].dtype is bfloat16:
            emit = emit_pair_pack
        if isinstance(kernel.static, Attention) and kernel.static.pairs:
            emit = PAIRS[kernel.kind]
        if isinstance(kernel.static, Tiling):
            emit = _contraction(kernel, kernel.static)
        emit = emit_blocks if kernel.kind == "map" and kernel.static[:1] == ("blocks",) else emit
        emit(function)
        functions.append(function.text())
        declarations |= function.declarations
    return "\n".join([*sorted(declarations), *functions, ""])
