"""`profile`: what each kernel of the code inside takes, beside what the machine could do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..data.storage import write_atomically
from ..explanation.text import count, plural, table
from ..ops.base import misuse
from . import recorder
from .clock import LOG_HEAD, LOG_WORDS
from .peak import Peak, peak
from .rows import GROUPS, ORDERS, CallTime, Row, call_times, grouped

#: rows of a table that ``str()`` shows
ROWS = 20
#: stack addresses further apart than this belong to different threads
_STACK = 256 << 10


class Profile:
    """What `profile` measures: print it, ask for `text` or `rows`, or `save` it. Complete when the block is left.

    Attributes:
        calls: a `CallTime` for each call of each program that ran.
        peak: the roofline that the shares refer to, of one thread.
        seconds: length of the block; `running` of it in programs, `compiling` in making them.
        runs: how often a program was started.
    """

    def __init__(self) -> None:
        self.calls: list[CallTime] = []
        self.seconds = self.running = self.compiling = 0.0
        self.runs = 0
        self.peak: Peak
        self._recorder: recorder.Recorder | None = None
        self._events: list[dict[str, Any]] | None = None

    def __enter__(self) -> Profile:
        if self._recorder is not None:
            raise misuse("profile: this profile was used already; make another one")
        self.peak = peak()
        self._recorder = recorder.start()
        return self

    def __exit__(self, *error: object) -> None:
        found = self._recorder
        assert found is not None
        self.seconds = found.clock.now()
        recorder.stop(found)
        self.running, self.compiling, self.runs = found.running, found.compiling, found.runs
        self.calls, by_record = call_times(found, self.peak)
        self._events = _events(found, by_record)

    def rows(self, by: str = "kernel", sort: str = "time") -> list[Row]:
        """Sums over calls that belong together.

        Args:
            by: "kernel" (the same code and sizes), "layer", "line", "phase" or "call".
            sort: "time", "calls", "flops", "bytes", "gflops", "gbytes", "roofline" (the worst first) or "lost" (time
                beyond the roofline's); the greatest first.

        Raises:
            ConfigError: another word, or the block has not been left yet.
        """
        if self._events is None:
            raise misuse("profile: there is nothing to show before the block is left")
        for value, known, what in ((by, GROUPS, "group"), (sort, ORDERS, "order")):
            if value not in known:
                raise misuse(f"profile: there is no {what} {value!r}; there are {', '.join(known)}")
        return grouped(self.calls, by, sort)

    def text(self, by: str = "kernel", sort: str = "time", limit: int | None = ROWS) -> str:
        """A table of `rows`, the first `limit` of them (None: all)."""
        rows = self.rows(by, sort)
        total = sum(row.seconds for row in rows) or 1.0
        lines = []
        each = by in ("kernel", "call")
        for row in rows[:limit]:
            where = [_file(line) for line in row.lines] if by == "layer" else row.layers or row.phases
            more = len(where) - 1
            if each:
                where = [*where[:1], *(Path(line).name for line in row.lines[:1])]
            shown = ", ".join(where[: 1 + each])
            lines.append(
                (
                    row.name if by != "line" else _file(row.name),
                    row.loops if each else "",
                    str(row.calls),
                    _time(row.seconds),
                    f"{100 * row.seconds / total:.1f}",
                    count(row.flops),
                    _rate(row.gflops),
                    _rate(row.gbytes),
                    f"{100 * row.roofline:.0f}",
                    shown + (f" +{more}" if more > 0 else ""),
                )
            )
        header = (by, "loops" if each else "", "calls", "time", "%", "flop", "GFLOP/s", "GB/s",
                  "roof %", "of")  # fmt: skip
        limits = (25, 18, 0, 0, 0, 0, 0, 0, 0, 22) if each else (44, 0, 0, 0, 0, 0, 0, 0, 0, 30)
        shown_lines = table(lines, header, "<<>>>>>>><", limits)
        if limit is not None and len(rows) > limit:
            rest = 100 * sum(row.seconds for row in rows[limit:]) / total
            shown_lines.append(f"… {plural(len(rows) - limit, 'row')} not shown, {rest:.1f} % of the time")
        return "\n".join(shown_lines)

    def summary(self) -> str:
        """Where the time of the block went, and what the shares refer to."""
        busy = sum(call.seconds for call in self.calls)
        outside = max(self.seconds - self.running - self.compiling, 0.0)
        copies = ", ".join(f"{_size(size)} {rate / 1e9:.0f}" for size, rate in self.peak.copies)
        return "\n".join(
            [
                f"{_time(self.seconds)}: {_time(self.running)} in {plural(self.runs, 'run')} of programs, "
                f"{_time(self.compiling)} compiling, {_time(outside)} in Python; kernels {_time(busy)} in all threads",
                f"roofline of one thread, {self.peak.source}: {self.peak.flops / 1e9:.0f} GFLOP/s in float32,",
                f"GB/s read and written by copies of {copies}",
            ]
        )

    def __str__(self) -> str:
        if self._events is None:
            return "<profile that is still open>"
        if not self.calls:
            return f"{self.summary()}\nno program has run"
        return f"{self.summary()}\n\n{self.text()}\n\n{self.text(by='layer')}"

    def __repr__(self) -> str:
        return f"<Profile: {self.runs} runs, {len(self.calls)} calls>"

    def save(self, path: str | Path) -> None:
        """Write a Chrome trace (for chrome://tracing or ui.perfetto.dev): every chunk on the thread that ran it.

        The file is written aside and renamed. Raises RunError if it cannot be written.
        """
        if self._events is None:
            raise misuse("profile: there is nothing to save before the block is left")
        other = {"summary": self.summary().splitlines()}
        write_atomically(path, json.dumps({"traceEvents": self._events, "displayTimeUnit": "ns", "otherData": other}))


def profile() -> Profile:
    """Measure what runs inside a ``with`` block, compiled and uncompiled code alike, kernel by kernel.

    Results do not change. Each call of a kernel is timed by the processor's own counter, on the thread that runs it;
    code outside such blocks runs exactly as it does without.

    Returns:
        A `Profile`: print it after the block.

    Raises:
        ConfigError: another profile is open, or the processor has no counter.

    Numerics:
        Seconds are sums over threads, so that rates are those of one thread; reading the counter is subtracted. The
        roofline of a call is the larger of its operations at the peak rate and its distinct bytes at the rate of a copy
        as large as all memory of its program; above 100 % the bytes came from a nearer cache than that.

    Example:
        >>> import chainrule as cr
        >>> x = cr.ones((64, 64))
        >>> with cr.profile() as profile:
        ...     y = (x @ x).numpy()
        >>> [row.calls for row in profile.rows() if row.kind == "contract"]
        [1]
    """
    return Profile()


def _events(found: recorder.Recorder, by_record: dict[int, CallTime]) -> list[dict[str, Any]]:
    """The events of a trace file: runs and compilations on the threads of Python, chunks on those of the programs."""
    events: list[dict[str, Any]] = []

    def event(name: str, start: float, stop: float, thread: int, **about: Any) -> None:
        length = max(round(1e6 * (stop - start), 3), 0)
        event = {"name": name, "ph": "X", "ts": round(1e6 * start, 3), "dur": length, "pid": 1, "tid": thread}
        events.append({**event, "args": about} if about else event)

    def label(thread: int, name: str) -> None:
        events.append({"name": "thread_name", "ph": "M", "pid": 1, "tid": thread, "args": {"name": name}})

    threads = {thread: 1 + n for n, thread in enumerate(dict.fromkeys(span.thread for span in found.spans))}
    for number in threads.values():
        label(number, f"Python thread {number}: runs")
    for span in found.spans:
        event(span.name, span.start, span.stop, threads[span.thread])
    written = min(int(found.log[0]), int(found.log[1]))
    chunks = found.log[LOG_HEAD : LOG_HEAD + LOG_WORDS * written].reshape(-1, LOG_WORDS)
    lanes = _lanes(sorted(set(chunks[:, 3].tolist())))
    for number in sorted(set(lanes.values())):
        label(100 + number, f"kernels, thread {number}")
    for record, start, stop, stack in chunks.tolist():
        call = by_record.get(record)
        if call is None:
            continue
        about = {"loops": call.loops, "flop": call.flops, "bytes": call.moved, "layer": call.layer, "line": call.line}
        event(call.label, found.clock.when(start), found.clock.when(stop), 100 + lanes[stack], **about)
    return events


def _lanes(stacks: list[int]) -> dict[int, int]:
    """Numbers of the threads that sorted stack addresses belong to."""
    lanes: dict[int, int] = {}
    number, before = 0, None
    for stack in stacks:
        if before is None or stack - before > _STACK:
            number += 1
        lanes[stack] = number
        before = stack
    return lanes


def _time(seconds: float) -> str:
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}" if seconds < 999.5 * factor else f"{seconds / factor:.0f} {unit}"
    return f"{1e9 * seconds:.0f} ns"


def _rate(number: float) -> str:
    return f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


def _size(number: int) -> str:
    return f"{number >> 20} MiB" if number >= 1 << 20 else f"{number >> 10} KiB"


def _file(line: str) -> str:
    """The file's name and its folder's, with the line."""
    return "/".join(Path(line).parts[-2:])


__all__ = ["CallTime", "Profile", "Row", "profile"]
