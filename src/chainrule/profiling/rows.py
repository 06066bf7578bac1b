"""What a profile has counted, call by call, and the rows of its tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..compiler.measure import flops, traffic
from ..compiler.plan import CallPlan, Plan
from ..explanation.facts import KernelFact, calls_of
from ..explanation.kernels import chain_text, loops_text
from ..layers import Layers
from .peak import Peak
from .recorder import Place, Recorder

#: primitives whose line and layer a fused kernel is counted under, if it has one
_MAIN = ("contraction", "reduction", "indexing", "random")


@dataclass
class CallTime:
    """One call of one program, and all the time that it has taken.

    Attributes:
        kernel: identifies the code: equal kernels, equal functions; "" for an operation on the host.
        kind, label, loops: of the kernel, as `explain` shows them.
        calls, chunks: how often it ran, and in how many pieces.
        seconds: over all threads, less what the measuring itself takes.
        flops, moved: operations, and distinct bytes read and written, of one call.
        least: seconds that one call takes at least, by the roofline of one thread.
        phase, layer, line: of the main one of its nodes.
    """

    kernel: str
    kind: str
    label: str
    loops: str
    calls: int
    chunks: int
    seconds: float
    flops: int
    moved: int
    least: float
    phase: str
    layer: str
    line: str


@dataclass
class Row:
    """Calls that are shown together; numbers are sums over all of them."""

    name: str
    kind: str = ""
    loops: str = ""
    calls: int = 0
    chunks: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    moved: float = 0.0
    least: float = 0.0
    phases: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def gflops(self) -> float:
        """1e9 operations in a second of one thread."""
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gbytes(self) -> float:
        """1e9 bytes in a second of one thread."""
        return self.moved / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def roofline(self) -> float:
        """The share of what one thread could do at best: the least time by the roofline over the time taken."""
        return self.least / self.seconds if self.seconds else 0.0

    def add(self, call: CallTime) -> None:
        """Count a call."""
        self.calls += call.calls
        self.chunks += call.chunks
        self.seconds += call.seconds
        self.flops += call.calls * call.flops
        self.moved += call.calls * call.moved
        self.least += call.calls * call.least
        for kept, value in ((self.phases, call.phase), (self.layers, call.layer), (self.lines, call.line)):
            if value and value not in kept:
                kept.append(value)


#: what tables may be grouped by -> the key and the name of a row
GROUPS: dict[str, tuple[Callable[[CallTime], object], Callable[[CallTime], str]]] = {
    "kernel": (lambda c: (c.kernel or c.label, c.label, c.loops), lambda c: c.label),
    "layer": (lambda c: (c.layer, c.phase), lambda c: f"{c.layer or '(no layer)'}, {c.phase}"),
    "line": (lambda c: c.line, lambda c: c.line or "(unknown)"),
    "phase": (lambda c: c.phase, lambda c: c.phase),
    "call": (id, lambda c: c.label),
}
#: what rows may be sorted by -> the number, the greatest first
ORDERS: dict[str, Callable[[Row], float]] = {
    "time": lambda r: r.seconds,
    "calls": lambda r: r.calls,
    "flops": lambda r: r.flops,
    "bytes": lambda r: r.moved,
    "gflops": lambda r: r.gflops,
    "gbytes": lambda r: r.gbytes,
    "roofline": lambda r: -r.roofline,
    "lost": lambda r: r.seconds - r.least,
}


def grouped(calls: Sequence[CallTime], by: str, sort: str) -> list[Row]:
    """Rows of a table."""
    key, name = GROUPS[by]
    rows: dict[object, Row] = {}
    for call in calls:
        row = rows.setdefault(key(call), Row(name(call), call.kind, call.loops))
        row.add(call)
    return sorted(rows.values(), key=ORDERS[sort], reverse=True)


def main_place(call: CallPlan, places: dict[int, Place]) -> Place | None:
    """The node that says best what a call is for."""
    found = [places[serial] for serial in call.origin if serial in places]
    return next((place for place in found if place.family in _MAIN), found[0] if found else None)


def call_times(recorder: Recorder, peak: Peak) -> tuple[list[CallTime], dict[int, CallTime]]:
    """All calls that ran, and which of them each record (by address) belongs to."""
    everywhere = [p for source in recorder.sources.values() if source.trail is None for p in source.places.values()]
    shared = Layers(recorder.needed(recorder.trail), everywhere)
    found: list[CallTime] = []
    by_record: dict[int, CallTime] = {}
    for number, plan in recorder.plans.items():
        source = recorder.sources.get(number)
        places = source.places if source is not None else {}
        layers = shared if source is None or source.trail is None else Layers(source.trail, list(places.values()))
        footprint = sum(b.bytes for b in plan.buffers if b.kind in ("leaf", "output")) + plan.arena_bytes
        for _, _, call in calls_of(plan):
            counted = recorder.counted(plan, call)
            calls = counted.calls + sum(int(record[2]) for record in counted.records)
            if not calls:
                continue
            chunks = sum(int(record[3]) for record in counted.records)
            ticks = sum(int(record[4]) for record in counted.records) - recorder.floor * chunks
            seconds = counted.seconds + max(recorder.clock.seconds(ticks), 0.0)
            place = main_place(call, places)
            time = _fact(plan, call, peak, footprint)
            time.calls, time.chunks, time.seconds = calls, chunks, seconds
            if place is not None:
                time.phase, time.layer, time.line = layers.phase(place), layers.layer(place), place.location
            found.append(time)
            for record in counted.records:
                by_record[record.__array_interface__["data"][0]] = time
    return found, by_record


def _fact(plan: Plan, call: CallPlan, peak: Peak, footprint: int) -> CallTime:
    """What one call does, without its times."""
    if call.kernel < 0:
        sizes = {b.number: b.bytes for b in plan.buffers}
        moved = sum(sizes.get(number, 0) for number in (*call.reads, *call.writes))
        least = peak.attainable(0, moved, 4, footprint)
        return CallTime("", "host", call.label, "", 0, 0, 0.0, 0, moved, least, "", "", "")
    kernel = plan.kernels[call.kernel].with_arguments(call.arguments)
    fact = KernelFact(call.kernel, kernel, call.label)
    work, (read, written) = flops(kernel), traffic(kernel)
    itemsize = max((a.dtype.itemsize for a in kernel.accesses if a.dtype.kind == "f"), default=4)
    least = peak.attainable(work, read + written, itemsize, footprint)
    key = plan.keys[call.kernel]
    label = chain_text(fact) or kernel.kind
    return CallTime(key, kernel.kind, label, loops_text(kernel), 0, 0, 0.0, work, read + written, least, "", "", "")
