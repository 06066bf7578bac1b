"""LLVM toolchain: description of targets, compiling, loading, errors, threads and forks."""

import ctypes
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from chainrule.backends.cpu import driver_ir, toolchain
from chainrule.errors import CompileError

SCALE = """
define void @scale(ptr %x, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%j, %loop]
  %at = getelementptr double, ptr %x, i64 %i
  %v = load double, ptr %at
  %w = fmul double %v, 2.5
  store double %w, ptr %at
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %n
  br i1 %more, label %loop, label %end
end:
  ret void
}
"""


def call_scale(address: int) -> np.ndarray:
    x = np.arange(6.0)
    ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(address)(x.ctypes.data, x.size)
    return x


@pytest.mark.parametrize("opt", [0, 1, 2])
def test_compiled_code_runs(opt):
    code = toolchain.compile_ir(SCALE, opt)
    assert isinstance(code, bytes)
    np.testing.assert_array_equal(call_scale(toolchain.load(code, ["scale"])["scale"]), 2.5 * np.arange(6.0))


def test_same_text_gives_same_bytes_and_may_be_loaded_twice():
    first, second = toolchain.compile_ir(SCALE), toolchain.compile_ir(SCALE)
    assert first == second
    a, b = (toolchain.load(first, ["scale"])["scale"] for _ in range(2))
    assert a != b
    call_scale(a), call_scale(b)


def test_code_may_call_the_c_library_and_use_constants():
    text = """
    declare double @sin(double)
    define double @f(double %x) {
      %a = fmul double %x, 0.1234567
      %b = call double @sin(double %a)
      ret double %b
    }
    """
    f = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(toolchain.load(toolchain.compile_ir(text), ["f"])["f"])
    assert f(2.0) == pytest.approx(np.sin(0.2469134), rel=1e-14)


def test_optimisation_moves_invariant_work_out_of_a_loop():
    text = SCALE.replace(
        "%w = fmul double %v, 2.5",
        "%s = sitofp i64 %n to double\n %q = fdiv double 1.0, %s\n %u = fadd double %v, %q\n %w = fadd double %u, 0.0",
    )
    optimised = toolchain.assembly(text, 1, triple="x86_64-unknown-linux-gnu", cpu="haswell")
    assert optimised.index("div") < optimised.index("LBB0_1:")


@pytest.mark.parametrize(
    ("triple", "cpu", "bits", "fma", "registers"),
    [
        ("x86_64-unknown-linux-gnu", "x86-64", 128, False, 16),
        ("x86_64-unknown-linux-gnu", "haswell", 256, True, 16),
        ("x86_64-unknown-linux-gnu", "skylake-avx512", 512, True, 32),
        ("arm64-apple-macosx", "apple-m1", 128, True, 32),
        ("aarch64-unknown-linux-gnu", "cortex-a72", 128, True, 32),
    ],
)
def test_describes_other_machines(triple, cpu, bits, fma, registers):
    target = toolchain.describe(triple, cpu, "")
    assert (target.vector_bits, target.has_fma, target.num_vector_registers) == (bits, fma, registers)
    assert toolchain.compile_ir(SCALE, triple=triple, cpu=cpu)


def test_host_and_its_override(monkeypatch):
    monkeypatch.delenv("CHAINRULE_TARGET", raising=False)
    host = toolchain.host()
    assert host.vector_bits in (128, 256, 512) and host.cpu
    assert toolchain.host() is host
    if host.architecture == "x86_64":
        monkeypatch.setenv("CHAINRULE_TARGET", "x86-64:+avx")
        override = toolchain.host()
        assert (override.cpu, override.features, override.vector_bits) == ("x86-64", "+avx", 256)
        assert "ymm" in toolchain.assembly(toolchain._PROBE)


@pytest.mark.parametrize(
    "triple",
    [
        "x86_64-unknown-linux-gnu",
        "x86_64-pc-windows-msvc-elf",
        "arm64-apple-macosx",
        "aarch64-unknown-linux-gnu",
        "riscv64-unknown-linux-gnu",
    ],
)
def test_driver_compiles_for_every_platform(triple):
    assert toolchain.compile_ir(driver_ir.text(toolchain.architecture(triple)), triple=triple)


@pytest.mark.parametrize(
    "text",
    [
        "define void @f( {",
        "define i32 @f(i32 %x) {\n %y = add i32 %z, 1\n %z = add i32 %x, 1\n ret i32 %y\n}",
    ],
)
def test_bad_code_is_an_error(text):
    with pytest.raises(CompileError, match="generated code"):
        toolchain.compile_ir(text)


def test_bad_objects_targets_and_levels_are_errors():
    with pytest.raises(CompileError, match="cannot load"):
        toolchain.load(b"nonsense", ["f"])
    with pytest.raises(CompileError, match="missing"):
        toolchain.load(toolchain.compile_ir(SCALE), ["missing"])
    with pytest.raises(CompileError, match="no target"):
        toolchain.compile_ir(SCALE, triple="nowhere-none")
    with pytest.raises(CompileError, match="opt"):
        toolchain.compile_ir(SCALE, opt=3)


def test_threads_may_compile_at_once():
    results: list[np.ndarray] = []

    def work() -> None:
        for _ in range(5):
            results.append(call_scale(toolchain.load(toolchain.compile_ir(SCALE), ["scale"])["scale"]))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20 and all(np.array_equal(x, 2.5 * np.arange(6.0)) for x in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_compiles_and_loads():
    toolchain.load(toolchain.compile_ir(SCALE), ["scale"])
    stop = threading.Event()

    def keep_compiling() -> None:
        while not stop.is_set():
            toolchain.compile_ir(SCALE)

    thread = threading.Thread(target=keep_compiling)
    thread.start()
    try:
        for _ in range(3):
            child = os.fork()
            if child == 0:
                try:
                    x = call_scale(toolchain.load(toolchain.compile_ir(SCALE), ["scale"])["scale"])
                    os._exit(0 if np.array_equal(x, 2.5 * np.arange(6.0)) else 1)
                finally:
                    os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()


def test_import_does_not_load_llvmlite():
    code = "import sys, chainrule.backends.cpu.toolchain; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_time_of_loading_is_reported(capsys):
    code = toolchain.compile_ir(SCALE)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        toolchain.load(code, ["scale"])
        times.append(time.perf_counter() - start)
    with capsys.disabled():
        print(f"\n  load: {1e3 * float(np.median(times)):.2f} ms (median)")
