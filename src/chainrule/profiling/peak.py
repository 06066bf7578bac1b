"""What one thread of this machine can do: multiply-adds and bytes copied in a second, measured once and kept."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..backends.cpu import toolchain
from ..compiler import cache

#: independent accumulators: enough to hide the latency of a fused multiply-add
_ACCUMULATORS = 12
#: bytes read and written by a copy: inside the first and second-level caches, inside the last, and in main memory
_SIZES = (24 << 10, 384 << 10, 6 << 20, 96 << 20)
_SECONDS = 0.008


@dataclass(frozen=True)
class Peak:
    """The roofline of one thread.

    Attributes:
        flops: float32 operations in a second, two for each multiply-add; float64 has half as many.
        copies: (bytes, bytes in a second) of copies of several sizes, small ones in cache; read plus written.
        source: "measured now" or "measured on DATE and kept in the cache folder".
    """

    flops: float
    copies: tuple[tuple[int, float], ...]
    source: str

    def bandwidth(self, footprint: int) -> float:
        """Bytes in a second of a copy about as large as `footprint`."""
        return next((rate for size, rate in self.copies if footprint <= size), self.copies[-1][1])

    def attainable(self, flops: float, moved: float, itemsize: int, footprint: int) -> float:
        """The least seconds that so much work takes: by multiply-adds or by memory, whichever is more."""
        return max(flops * itemsize / 4 / self.flops, moved / self.bandwidth(footprint))


def _source(width: int, fused: bool) -> str:
    vector, span = f"<{width} x float>", range(_ACCUMULATORS)
    if fused:
        call = f"call {vector} @llvm.fma.v{width}f32"
        step = [f"  %b{k} = {call}({vector} %a{k}, {vector} %xs, {vector} %ys)" for k in span]
    else:
        step = [f"  %m{k} = fmul {vector} %a{k}, %xs\n  %b{k} = fadd {vector} %m{k}, %ys" for k in span]
    copies = range(4)
    return "\n".join(
        [
            f"declare {vector} @llvm.fma.v{width}f32({vector}, {vector}, {vector})",
            "define float @multiply(i64 %count, float %x) {",
            "entry:",
            f"  %x0 = insertelement {vector} zeroinitializer, float %x, i32 0",
            f"  %xs = shufflevector {vector} %x0, {vector} zeroinitializer, <{width} x i32> zeroinitializer",
            f"  %ys = fadd {vector} %xs, %xs",
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [0, %entry], [%next, %loop]",
            *(f"  %a{k} = phi {vector} [zeroinitializer, %entry], [%b{k}, %loop]" for k in span),
            *step,
            "  %next = add i64 %i, 1",
            "  %more = icmp ult i64 %next, %count",
            "  br i1 %more, label %loop, label %done",
            "done:",
            f"  %s1 = fadd {vector} %b0, %b1",
            *(f"  %s{k} = fadd {vector} %s{k - 1}, %b{k}" for k in span if k > 1),
            f"  %out = extractelement {vector} %s{_ACCUMULATORS - 1}, i32 0",
            "  ret float %out",
            "}",
            "define void @copy(ptr %to, ptr %from, i64 %vectors, i64 %times) {",
            "entry:",
            "  br label %again",
            "again:",
            "  %t = phi i64 [0, %entry], [%t.next, %after]",
            "  br label %loop",
            "loop:",
            "  %i = phi i64 [0, %again], [%next, %loop]",
            *(f"  %i{k} = add i64 %i, {k}" for k in copies),
            *(f"  %p{k} = getelementptr {vector}, ptr %from, i64 %i{k}" for k in copies),
            *(f"  %q{k} = getelementptr {vector}, ptr %to, i64 %i{k}" for k in copies),
            *(f"  %v{k} = load {vector}, ptr %p{k}, align 4" for k in copies),
            *(f"  store {vector} %v{k}, ptr %q{k}, align 4" for k in copies),
            "  %next = add i64 %i, 4",
            "  %more = icmp ult i64 %next, %vectors",
            "  br i1 %more, label %loop, label %after",
            "after:",
            "  %t.next = add i64 %t, 1",
            "  %repeat = icmp ult i64 %t.next, %times",
            "  br i1 %repeat, label %again, label %done",
            "done:",
            "  ret void",
            "}",
        ]
    )


def _best(run: Callable[[], object], units: float) -> float:
    """Units in a second: the second best of several runs, since a clock that is set in between makes one look fast."""
    run()
    times: list[float] = []
    deadline = time.perf_counter() + 3 * _SECONDS
    while len(times) < 5 or time.perf_counter() < deadline:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return units / sorted(times)[1]


def measure() -> Peak:
    """Measure this machine: about a fifth of a second."""
    target = toolchain.host()
    width = target.vector_bits // 32
    addresses = toolchain.load(toolchain.compile_ir(_source(width, target.has_fma)), ("multiply", "copy"))
    word = ctypes.c_int64
    multiply = ctypes.CFUNCTYPE(ctypes.c_float, word, ctypes.c_float)(addresses["multiply"])
    copy = ctypes.CFUNCTYPE(None, word, word, word, word)(addresses["copy"])
    steps = 100_000
    flops = _best(lambda: multiply(steps, 0.25), 2.0 * width * _ACCUMULATORS * steps)
    copies = []
    for size in _SIZES:
        vectors = size // 2 // (4 * width) // 4 * 4
        source, target_array = np.ones(size // 8 + 64, np.float32), np.zeros(size // 8 + 64, np.float32)
        times = max(1, (8 << 20) // size)
        to, start = target_array.ctypes.data, source.ctypes.data
        moved = 2 * vectors * 4 * width * times
        rate = _best(functools.partial(copy, to, start, vectors, times), moved)
        copies.append((size, rate))
    return Peak(flops, tuple(copies), "measured now")


@functools.lru_cache(maxsize=1)
def peak() -> Peak:
    """The roofline of this machine: from the cache folder, else measured now and kept there."""
    key = hashlib.sha256(repr((toolchain.host(), _SIZES, _ACCUMULATORS, 1)).encode()).hexdigest()[:16]
    place = cache.folder()
    path = None if place is None else place / f"peak-{key}.json"
    if path is not None:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            data = json.loads(path.read_text())
            copies = tuple((int(size), float(rate)) for size, rate in data["copies"])
            if len(copies) == len(_SIZES) and data["flops"] > 0:
                return Peak(float(data["flops"]), copies, f"measured on {data['date']} and kept in the cache folder")
    found = measure()
    if path is not None:
        with contextlib.suppress(OSError):
            _write(path, json.dumps({**asdict(found), "date": time.strftime("%Y-%m-%d")}))
    return found


def _write(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(temporary, path)
