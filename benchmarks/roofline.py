"""What one thread of this machine can do at best: fused multiply-adds, and bytes by the memory that they live in."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from .peak import fma_gflops, vector_lanes

#: vectors that one iteration of the loops moves
UNROLLED = 8
#: bytes below which operands are as near as any, and the loop itself would be measured
LEAST = 16384
#: elements after which a cache line begins
LINE = 16
#: seconds of one measurement of bandwidth
ENOUGH = 0.1


def _source(width: int) -> str:
    """``reads(p, n, r)``, ``copies(p, q, n, r)`` and ``pasts(p, q, n, r)``, which write past the caches where the
    processor can: r times over n times `UNROLLED` vectors."""
    vector = f"<{width} x float>"
    step, bytes_of = width * UNROLLED, 4 * width
    read = ["define float @read(ptr %p, i64 %n) {", "entry:", "  br label %loop", "loop:"]
    read.append("  %i = phi i64 [0, %entry], [%next, %loop]")
    read += [f"  %s{k} = phi {vector} [zeroinitializer, %entry], [%t{k}, %loop]" for k in range(UNROLLED)]
    read.append(f"  %o = mul i64 %i, {step}")
    copy = ["entry:", "  br label %loop", "loop:"]
    copy += ["  %i = phi i64 [0, %entry], [%next, %loop]", f"  %o = mul i64 %i, {step}"]
    past = list(copy)
    for k in range(UNROLLED):
        place = [f"  %o{k} = add i64 %o, {k * width}", f"  %p{k} = getelementptr float, ptr %p, i64 %o{k}"]
        load = f"  %v{k} = load {vector}, ptr %p{k}, align 4"
        read += [*place, load, f"  %t{k} = fadd {vector} %s{k}, %v{k}"]
        for lines, how in ((copy, "align 4"), (past, f"align {bytes_of}, !nontemporal !0")):
            lines += [*place, load, f"  %q{k} = getelementptr float, ptr %q, i64 %o{k}"]
            lines.append(f"  store {vector} %v{k}, ptr %q{k}, {how}")
    end = ["  %next = add i64 %i, 1", "  %more = icmp ult i64 %next, %n", "  br i1 %more, label %loop, label %done"]
    read += [*end, "done:"]
    total = "%t0"
    for k in range(1, UNROLLED):
        read.append(f"  %u{k} = fadd {vector} {total}, %t{k}")
        total = f"%u{k}"
    read += [f"  %out = extractelement {vector} {total}, i32 0", "  ret float %out", "}"]
    again = ["entry:", "  br label %loop", "loop:", "  %i = phi i64 [0, %entry], [%next, %loop]"]
    last = [*(line.replace(", %n", ", %r") if "icmp" in line else line for line in end), "done:"]
    text = ["!0 = !{i32 1}", *read, "define void @reads(ptr %p, i64 %n, i64 %r) {", *again]
    text += ["  %x = call float @read(ptr %p, i64 %n)", *last, "  ret void", "}"]
    for name, lines in (("copy", copy), ("past", past)):
        text += [f"define void @{name}(ptr %p, ptr %q, i64 %n) {{", *lines, *end, "done:", "  ret void", "}"]
        plural = "copies" if name == "copy" else "pasts"
        text += [f"define void @{plural}(ptr %p, ptr %q, i64 %n, i64 %r) {{", *again]
        text += [f"  call void @{name}(ptr %p, ptr %q, i64 %n)", *last]
        text += ["  fence seq_cst", "  ret void", "}"]
    return "\n".join(text)


class Machine:
    """Measured limits of one thread: `peak` in GFLOP/s; bytes in 1e9 a second by `copy` and `read`.

    Bandwidth is measured where it is asked for, with operands of the same size in all: those of a kernel that fit a
    cache are compared with that cache. Measurements are kept, for sizes within a tenth of each other.
    """

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.peak = fma_gflops(1, 60)
        width = vector_lanes()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2
        )
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_source(width)), machine)
        self._engine.finalize_object()
        address = self._engine.get_function_address
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        self._reads = ctypes.CFUNCTYPE(None, pointer, count, count)(address("reads"))
        self._copies = ctypes.CFUNCTYPE(None, pointer, pointer, count, count)(address("copies"))
        self._pasts = ctypes.CFUNCTYPE(None, pointer, pointer, count, count)(address("pasts"))
        self._piece = 4 * width * UNROLLED
        self._known: dict[tuple[str, int], float] = {}

    def copies(self, footprint: float) -> tuple[int, list[Callable[[int], Any]]]:
        """The bytes read and written by a copy whose operands are `footprint` bytes in all, and ways to do it.

        Each way is called with how many times. The best of them is what the machine attains.
        """
        size = int(max(footprint, LEAST))
        pieces = max(size // 2 // self._piece, 1)
        source, target = (_pages(pieces * self._piece) for _ in range(2))
        ways = [lambda times: self._copies(source.ctypes.data, target.ctypes.data, pieces, times)]
        if size >= 1 << 20:  # may go past the caches; too small a size would measure the call
            ways.append(lambda times: [np.copyto(target, source) for _ in range(times)])
            ways.append(lambda times: self._pasts(source.ctypes.data, target.ctypes.data, pieces, times))
        return 2 * pieces * self._piece, ways

    def copy(self, footprint: float) -> float:
        """Bytes read plus bytes written in a second, in 1e9, by a copy whose operands are `footprint` bytes in all."""
        return self._measured("copy", footprint, self.copies)

    def read(self, footprint: float) -> float:
        """Bytes read in a second, in 1e9, from `footprint` bytes."""

        def reads(size: float) -> tuple[int, list[Callable[[int], Any]]]:
            pieces = max(int(size) // self._piece, 1)
            source = _pages(pieces * self._piece)
            return pieces * self._piece, [lambda times: self._reads(source.ctypes.data, pieces, times)]

        return max(self._measured("read", footprint, reads), self.copy(footprint))

    def _measured(self, kind: str, footprint: float, prepare) -> float:
        footprint = max(footprint, LEAST)
        key = kind, round(np.log(footprint) / np.log(1.1))
        if key not in self._known:
            moved, ways = prepare(footprint)
            best = np.inf
            for way in ways:
                start = time.process_time()
                way(8)
                times = max(1, round(1e-3 / max((time.process_time() - start) / 8, 1e-8)))
                until = time.perf_counter() + ENOUGH
                while time.perf_counter() < until:
                    start = time.process_time()
                    way(times)
                    best = min(best, (time.process_time() - start) / times)
            self._known[key] = moved / best / 1e9
        return self._known[key]

    def seconds(self, flops: float, lanes: float, read: float, written: float, footprint: float) -> float:
        """The least time of a kernel: of its arithmetic with a share `lanes` of each vector, or of its memory.

        Each byte written goes with one read at the bandwidth of copies, other reads with that of reads.
        """
        paired = min(read, written)
        memory = 2 * paired / self.copy(footprint) + (read - paired) / self.read(footprint)
        memory += 2 * (written - paired) / self.copy(footprint)
        return max(flops / (self.peak * lanes), memory) / 1e9


def _pages(size: int) -> np.ndarray:
    """Memory that is touched already, from the beginning of a cache line on."""
    raw = np.ones(size // 4 + LINE, np.float32)
    start = -raw.ctypes.data % (4 * LINE) // 4
    return raw[start : start + size // 4]
