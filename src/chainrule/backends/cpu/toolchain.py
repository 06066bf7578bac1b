"""The compiler's back end: LLVM IR text to object code, assembly and loaded functions (LLVM through llvmlite).

Three properties hold everywhere:

* llvmlite is imported on first use, never by importing this module.
* Object code contains no addresses of this process: kernels receive every pointer as an argument, so that the same
  bytes may be kept in a file and loaded by another process (position-independent code, small code model).
* Loaded code stays loaded until the process ends. Worker threads may be inside it at any time, and a library costs a
  few pages; unloading would save little and could crash.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ... import config
from ...errors import CompileError

#: Serialises LLVM. Reentrant, because `host` may be asked for while a module is being compiled.
_lock = threading.RLock()
# Kept for ever: llvmlite disposes of nothing once the interpreter is exiting.
_machines: dict[tuple[str, str, str], Any] = {}
_engine: Any = None
_all_targets = False
_libraries = 0

#: Parts of code generation that take time and gain next to nothing. Strength reduction (two thirds of the time):
#: kernels walk memory with one pointer for each operand already. Scheduling after the registers are given out (a
#: tenth): processors with wide vectors order instructions themselves.
_LEFT_OUT = ("disable-lsr", "disable-post-ra")

if hasattr(os, "register_at_fork"):
    # A child must not inherit a lock that another thread of the parent held.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@dataclass(frozen=True)
class Target:
    """What code is generated for.

    Attributes:
        triple: LLVM's target triple.
        cpu: LLVM's name of the processor.
        features: LLVM's feature string, ``"+avx2,-avx512f,..."``; empty means those of ``cpu``.
        vector_bits: width of the vector registers that code should use: 512, 256 or 128.
        has_fma: whether a fused multiply-add is one instruction.
        num_vector_registers: how many vector registers a loop body may use.
        has_half: whether float32 becomes float16 and back in one instruction.
        has_bfloat16_products: whether pairs of bfloat16 are multiplied and added in float32 (AVX512-BF16).
        has_ranges: whether there are instructions to scale by a power of two and to bound a magnitude (AVX512DQ).
        tables: the instructions that look numbers up in registers: ``"avx512"``, ``"avx2"``, ``"neon"`` or ``""``.
    """

    triple: str
    cpu: str
    features: str
    vector_bits: int
    has_fma: bool
    num_vector_registers: int
    has_half: bool = False
    has_bfloat16_products: bool = False
    has_ranges: bool = False
    tables: str = ""

    @property
    def architecture(self) -> str:
        """``"x86_64"``, ``"aarch64"``, or the triple's own name for another architecture."""
        return architecture(self.triple)


def architecture(triple: str) -> str:
    """Architecture of a target triple, with the synonyms of the two supported ones merged."""
    name = triple.partition("-")[0]
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)


@lru_cache(maxsize=1)
def llvm() -> Any:
    """llvmlite's binding module, with the native target initialised."""
    import llvmlite.binding as binding

    with _lock:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        binding.initialize_native_asmparser()
    return binding


def version() -> str:
    """llvmlite's and LLVM's versions, for cache keys."""
    import llvmlite

    return f"llvmlite {llvmlite.__version__}, LLVM {'.'.join(map(str, llvm().llvm_version_info))}"


def _host_triple() -> str:
    triple: str = llvm().get_process_triple()
    if sys.platform == "win32" and not triple.endswith("-elf"):
        triple += "-elf"  # LLVM's run-time linkers are most complete for ELF; calls still follow the Windows ABI
    return triple


# A vector wider than any register, a fused multiply-add and conversions: the assembly shows the machine's real
# registers, and a call of a library where there is no such instruction. llvmlite cannot list the features of a
# processor by name.
_PROBE = """
declare float @llvm.fma.f32(float, float, float)
define void @vector(ptr %x, ptr %y) {
  %a = load <16 x float>, ptr %x, align 4
  %b = load <16 x float>, ptr %y, align 4
  %s = fadd <16 x float> %a, %b
  store <16 x float> %s, ptr %y, align 4
  ret void
}
define float @fused(float %a, float %b, float %c) {
  %r = call float @llvm.fma.f32(float %a, float %b, float %c)
  ret float %r
}
define float @rounded(float %a) {
  %h = fptrunc float %a to half
  %r = fpext half %h to float
  ret float %r
}
define <8 x i32> @whole(<8 x i32> %a, <8 x i32> %b) {
  %s = add <8 x i32> %a, %b
  ret <8 x i32> %s
}
define <8 x i64> @product(<8 x i64> %a, <8 x i64> %b) {
  %s = mul <8 x i64> %a, %b
  ret <8 x i64> %s
}
define <16 x bfloat> @short(<16 x float> %a) {
  %r = fptrunc <16 x float> %a to <16 x bfloat>
  ret <16 x bfloat> %r
}
"""


@lru_cache(maxsize=16)
def describe(triple: str, cpu: str, features: str) -> Target:
    """The `Target` for an LLVM triple, processor and feature string."""
    text = assembly(_PROBE, cpu=cpu, features=features, triple=triple)
    bits = 512 if "zmm" in text else 256 if "ymm" in text else 128
    registers = 32 if bits == 512 or architecture(triple) == "aarch64" else 16
    has_half = "__truncsfhf2" not in text
    pairs = bits == 512 and "vcvtneps2bf16" in text
    has_fma = "fmaf" not in text
    tables = ""
    if has_fma and architecture(triple) == "aarch64":
        tables = "neon"
    elif has_fma and architecture(triple) == "x86_64":
        tables = "avx512" if bits == 512 else "avx2" if re.search("vpaddd.*ymm", text) else ""
    ranges = bits == 512 and "vpmullq" in text
    return Target(triple, cpu, features, bits, has_fma, registers, has_half, pairs, ranges, tables)


@lru_cache(maxsize=4)
def _host(override: str) -> Target:
    binding = llvm()
    with _lock:
        if override:
            cpu, _, features = override.partition(":")
        else:
            cpu, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
        return describe(_host_triple(), cpu, features)


def host() -> Target:
    """This machine as LLVM sees it, or as ``CHAINRULE_TARGET`` (``"cpu:features"``) says."""
    return _host(config.target())


def _machine(triple: str | None, cpu: str | None, features: str | None) -> Any:
    """A target machine, made once per target. Given only ``triple``, its generic processor; given nothing, the host."""
    global _all_targets
    binding = llvm()
    if triple is None:
        triple = _host_triple()
        if cpu is None:
            target = host()
            cpu, features = target.cpu, target.features if features is None else features
    key = (triple, cpu or "", features or "")
    machine = _machines.get(key)
    if machine is None:
        if not _all_targets and architecture(triple) != architecture(_host_triple()):
            binding.initialize_all_targets()
            binding.initialize_all_asmprinters()
            _all_targets = True
        try:
            target = binding.Target.from_triple(triple)
            machine = target.create_target_machine(key[1], key[2], opt=2, reloc="pic", codemodel="small")
        except RuntimeError as error:
            raise CompileError(f"LLVM has no target {triple!r} with processor {cpu!r}: {error}") from None
        machine.set_asm_verbosity(False)
        _machines[key] = machine
    return machine


def _optimise(binding: Any, module: Any, machine: Any, opt: int) -> None:
    """Run IR passes: level 1 LLVM's scalar simplifications per function, level 2 its whole default pipeline.

    Kernels arrive vectorised and tiled, so that level 1 neither vectorises nor unrolls.
    """
    options = binding.create_pipeline_tuning_options(speed_level=opt)
    if opt == 1:
        options.loop_vectorization = options.slp_vectorization = False
        options.loop_unrolling = options.loop_interleaving = False
    builder = binding.create_pass_builder(machine, options)
    if opt == 1:
        passes = builder.getFunctionPassManager()
        for function in module.functions:
            if not function.is_declaration:
                passes.run(function, builder)
    else:
        passes = builder.getModulePassManager()
        passes.run(module, builder)


def _emit(text: str, opt: int, cpu: str | None, features: str | None, triple: str | None, method: str) -> Any:
    if opt not in (0, 1, 2):
        raise CompileError(f"opt must be 0, 1 or 2, not {opt!r}")
    binding = llvm()
    with _lock:
        machine = _machine(triple, cpu, features)
        context = binding.create_context()  # one per module: LLVM never frees the types of a shared context
        try:
            try:
                module = binding.parse_assembly(text, context)
            except RuntimeError as error:
                raise CompileError(f"LLVM cannot read the generated code: {error}") from None
            try:
                module.triple = machine.triple
                module.data_layout = str(machine.target_data)
                module.verify()
                if opt:
                    _optimise(binding, module, machine, opt)
                for name in _LEFT_OUT:
                    binding.set_option("chainrule", f"-{name}=true")
                try:
                    return getattr(machine, method)(module)
                finally:  # options are the process's
                    for name in _LEFT_OUT:
                        binding.set_option("chainrule", f"-{name}=false")
            except RuntimeError as error:
                raise CompileError(f"LLVM rejects the generated code: {error}") from None
            finally:
                module.close()
        finally:
            context.close()


def compile_ir(
    text: str, opt: int = 0, cpu: str | None = None, features: str | None = None, triple: str | None = None
) -> bytes:
    """Object code of a module of LLVM IR.

    Args:
        text: the module; its triple and data layout are set here.
        opt: 0 = no passes over the IR (for kernels that are already scheduled), 1 = scalar simplifications such as
            instruction combining, common subexpressions and loop-invariant code motion, 2 = LLVM's pipeline at -O2.
            Machine code is always generated at LLVM's level 2.
        cpu, features, triple: the target; by default this machine (`host`). Another architecture's object code can
            be made but not loaded.

    Raises:
        CompileError: the text is not valid IR, or the target is unknown.
    """
    result: bytes = _emit(text, opt, cpu, features, triple, "emit_object")
    return result


def assembly(
    text: str, opt: int = 0, cpu: str | None = None, features: str | None = None, triple: str | None = None
) -> str:
    """Assembly of a module of LLVM IR; arguments and errors as for `compile_ir`."""
    result: str = _emit(text, opt, cpu, features, triple, "emit_assembly")
    return result


def load(code: bytes, names: Iterable[str]) -> dict[str, int]:
    """Load object code into this process, for ever, and give the addresses of its functions ``names``.

    Raises:
        CompileError: the bytes are not an object file of this machine, or a symbol is missing.
    """
    global _engine, _libraries
    binding = llvm()
    names = list(names)
    with _lock:
        if _engine is None:
            # JITLink places all sections of one object together, as the small code model needs.
            _engine = binding.create_lljit_compiler(use_jit_link=True, suppress_errors=True)
        _libraries += 1
        builder = binding.JITLibraryBuilder().add_object_img(code).add_current_process()
        for name in names:
            builder.export_symbol(name)
        try:
            library = builder.link(_engine, f"chainrule.{_libraries}")
        except RuntimeError as error:
            raise CompileError(f"LLVM cannot load the object code: {error}") from None
        library.detach()  # never unloaded
        return {name: library[name] for name in names}
