"""Compiles one scalar function into a loop over arrays, so that tests can call it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import llvmlite.binding as llvm
import numpy as np

from chainrule.backends.base import Value
from chainrule.backends.cpu import half
from chainrule.backends.cpu.scalar import LLVMScalarBuilder
from chainrule.dtypes import DType, as_dtype, bool_

_ready = False


def _initialize() -> None:
    global _ready
    if not _ready:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _ready = True


def _memory(dtype: DType) -> str:
    return "i8" if dtype is bool_ else "i16" if dtype.is_half else LLVMScalarBuilder([], 1).llvm_type(dtype)


def kernel_text(function: Callable, dtypes: Sequence[DType], width: int, **options) -> tuple[str, DType]:
    """LLVM IR of ``void kernel(i64 n, ptr out, ptr in0, ...)`` for n a multiple of `width`, and the result's dtype."""
    lines: list[str] = []
    builder = LLVMScalarBuilder(lines, width, **options)

    def vector(dtype: DType) -> str:
        return _memory(dtype) if width == 1 else f"<{width} x {_memory(dtype)}>"

    values = []
    for i, dtype in enumerate(dtypes):
        lines.append(f"  %p{i} = getelementptr {_memory(dtype)}, ptr %in{i}, i64 %i")
        lines.append(f"  %l{i} = load {vector(dtype)}, ptr %p{i}, align 1")
        if dtype is bool_:
            lines.append(f"  %c{i} = trunc {vector(dtype)} %l{i} to {builder.llvm_type(dtype)}")
        if dtype.is_half:
            values.append(half.from_memory(builder, f"%l{i}", dtype))
        else:
            values.append(Value(f"%c{i}" if dtype is bool_ else f"%l{i}", dtype))
    result = function(builder, *values)
    ref = result.ref
    if result.dtype is bool_:
        lines.append(f"  %stored = zext {builder.llvm_type(bool_)} {ref} to {vector(bool_)}")
        ref = "%stored"
    elif result.dtype.is_half:
        ref = half.to_memory(builder, result)
    lines.append(f"  %q = getelementptr {_memory(result.dtype)}, ptr %out, i64 %i")
    lines.append(f"  store {vector(result.dtype)} {ref}, ptr %q, align 1")
    parameters = ", ".join(["i64 %n", "ptr noalias %out"] + [f"ptr noalias %in{i}" for i in range(len(dtypes))])
    text = "\n".join(
        [
            *sorted(builder.declarations),
            f"define void @kernel({parameters}) {{",
            "entry:",
            "  br label %loop",
            "loop:",
            f"  %i = phi i64 [ 0, %entry ], [ %next, %{builder.block or 'loop'} ]",
            *lines,
            f"  %next = add i64 %i, {width}",
            "  %more = icmp ult i64 %next, %n",
            "  br i1 %more, label %loop, label %exit",
            "exit:",
            "  ret void",
            "}",
        ]
    )
    return text, result.dtype


def target_machine(cpu: str | None = None, features: str | None = None) -> llvm.TargetMachine:
    """A machine for this host, or for another `cpu` with `features` of the same architecture."""
    _initialize()
    if cpu is None:
        cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features or "", opt=2, jit=True)


def assembly(function: Callable, *dtypes: DType, width: int, cpu=None, features=None, **options) -> str:
    """The machine code of the loop, as text."""
    machine = target_machine(cpu, features)
    module = llvm.parse_assembly(kernel_text(function, dtypes, width, **options)[0])
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    return machine.emit_assembly(module)


class Kernel:
    """A compiled loop: call it on equally long arrays, get a new array."""

    def __init__(self, function: Callable, *dtypes: DType, width: int = 16, cpu=None, features=None, **options):
        text, self.result = kernel_text(function, dtypes, width, **options)
        self.dtypes, self.width = dtypes, width
        machine = target_machine(cpu, features)
        module = llvm.parse_assembly(text)
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        module.verify()
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        address = self._engine.get_function_address("kernel")
        self.native = ctypes.CFUNCTYPE(None, ctypes.c_int64, *[ctypes.c_void_p] * (1 + len(dtypes)))(address)

    def __call__(self, *arrays) -> np.ndarray:
        size = max(np.size(a) for a in arrays)
        padded = -(-size // self.width) * self.width
        given = []
        for array, dtype in zip(arrays, self.dtypes, strict=True):
            full = np.empty(padded, dtype.numpy)
            full[:size] = np.ravel(array)
            full[size:] = full[0]
            given.append(full)
        out = np.empty(padded, self.result.numpy)
        self.native(padded, out.ctypes.data, *[a.ctypes.data for a in given])
        return out[:size]


def run(function: Callable, *arrays, width: int = 16, **options) -> np.ndarray:
    """Compile `function` for the dtypes of `arrays` and call it on them."""
    arrays = tuple(np.atleast_1d(a) for a in arrays)
    return Kernel(function, *[as_dtype(a.dtype) for a in arrays], width=width, **options)(*arrays)
