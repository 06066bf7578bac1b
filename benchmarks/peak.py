"""What this machine can do: fused multiply-adds and bytes copied in a second, on one and on more threads."""

from __future__ import annotations

import ctypes
import threading
import time

import llvmlite.binding as llvm
import numpy as np

#: independent accumulators: enough to hide the latency of a fused multiply-add
ACCUMULATORS = 12
ITERATIONS = 400_000


def vector_lanes() -> int:
    """Float32 lanes of the widest vector registers of this machine."""
    features = llvm.get_host_cpu_features()
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


def _source(width: int) -> str:
    vector = f"<{width} x float>"
    span = range(ACCUMULATORS)
    lines = [
        f"declare {vector} @llvm.fma.v{width}f32({vector}, {vector}, {vector})",
        "define float @fma_loop(i64 %count, float %x, float %y) {",
        "entry:",
        f"  %x0 = insertelement {vector} zeroinitializer, float %x, i32 0",
        f"  %xs = shufflevector {vector} %x0, {vector} zeroinitializer, <{width} x i32> zeroinitializer",
        f"  %y0 = insertelement {vector} zeroinitializer, float %y, i32 0",
        f"  %ys = shufflevector {vector} %y0, {vector} zeroinitializer, <{width} x i32> zeroinitializer",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [0, %entry], [%next, %loop]",
        *(f"  %a{k} = phi {vector} [zeroinitializer, %entry], [%b{k}, %loop]" for k in span),
        *(f"  %b{k} = call {vector} @llvm.fma.v{width}f32({vector} %a{k}, {vector} %xs, {vector} %ys)" for k in span),
        "  %next = add i64 %i, 1",
        "  %more = icmp ult i64 %next, %count",
        "  br i1 %more, label %loop, label %done",
        "done:",
        f"  %s1 = fadd {vector} %b0, %b1",
        *(f"  %s{k} = fadd {vector} %s{k - 1}, %b{k}" for k in span if k > 1),
        f"  %out = extractelement {vector} %s{ACCUMULATORS - 1}, i32 0",
        "  ret float %out",
        "}",
    ]
    return "\n".join(lines)


def _together(threads: int, work) -> float:
    """Seconds that `work` takes when `threads` threads start it together: the time of the slowest."""
    barrier, times = threading.Barrier(threads), [0.0] * threads

    def run(index: int) -> None:
        barrier.wait()
        start = time.perf_counter()
        work(index)
        times[index] = time.perf_counter() - start

    others = [threading.Thread(target=run, args=(i,)) for i in range(1, threads)]
    for thread in others:
        thread.start()
    run(0)
    for thread in others:
        thread.join()
    return max(times)


class MultiplyAdds:
    """Independent float32 fused multiply-adds on `threads` threads, compiled once and run as often as asked."""

    def __init__(self, threads: int):
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        width = vector_lanes()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
        )
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_source(width)), machine)
        self.engine.finalize_object()
        address = self.engine.get_function_address("fma_loop")
        self.function = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float, ctypes.c_float)(address)
        self.threads = threads
        #: operations of an iteration on all threads, two for each fused multiply-add
        self.flops = threads * 2 * width * ACCUMULATORS

    def seconds(self, iterations: int) -> float:
        """Seconds that `iterations` iterations take on every thread."""
        return _together(self.threads, lambda _: self.function(iterations, 0.5, 0.25))


def fma_gflops(threads: int, repeats: int = 300) -> float:
    """Most float32 operations in a second, in 1e9, two for each fused multiply-add."""
    work = MultiplyAdds(threads)
    work.seconds(ITERATIONS)
    return work.flops * ITERATIONS / min(work.seconds(ITERATIONS) for _ in range(repeats)) / 1e9


def copy_gbytes(threads: int, megabytes: int = 64) -> float:
    """Most bytes read and written in a second by copies from main memory, in 1e9."""
    source = [np.ones(megabytes << 17) for _ in range(threads)]
    target = [np.empty_like(a) for a in source]
    best = min(_together(threads, lambda i: np.copyto(target[i], source[i])) for _ in range(8))
    return threads * 2 * source[0].nbytes / best / 1e9


def main(arguments: list[str]) -> None:
    """Print both figures for one thread and for all cores."""
    from .measure import available_cores, table

    counts = sorted({1, available_cores()})
    rows = [[str(n), f"{fma_gflops(n):.0f} GFLOP/s", f"{copy_gbytes(n):.1f} GB/s"] for n in counts]
    table("this machine", ["threads", "float32 fused multiply-add", "copy"], rows)
