"""What the command prints: remarks, progress, tables."""

from __future__ import annotations

import shutil
import sys
import time
from typing import Any

from ..train.tabular import Reporter

#: lines of progress where the output is no terminal
_LINES = 10


def warn(text: str) -> None:
    """Print a warning on the error stream."""
    print(f"chainrule: warning: {text}", file=sys.stderr)


def print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """A table with aligned columns: names at the left, numbers at the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, width=1000)  # wider than any table: nothing is ever cut off
    print(title)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()))


def describe_record(record: dict[str, Any]) -> str:
    """An epoch's figures in one line."""
    parts = []
    for name, value in record.items():
        if name != "epoch":
            parts.append(f"{name.replace('_', ' ')} {value:.4g}")
    return "  ".join(parts)


class ConsoleReporter(Reporter):
    """Prints remarks and tables; progress as a line that renews itself on a terminal, else as about ten lines."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.live = sys.stdout.isatty() and not quiet
        self.epochs = 0
        self.last: dict[str, Any] | None = None
        self.shown = True
        self.began = self.drawn = 0.0

    def note(self, text: str) -> None:
        """See `Reporter`."""
        if not self.quiet:
            print(text)

    def warn(self, text: str) -> None:
        """See `Reporter`."""
        warn(text)

    def start(self, title: str, epochs: int) -> None:
        """See `Reporter`."""
        self.epochs = epochs
        self.began = time.perf_counter()
        self.note(f"training {title}")

    def epoch(self, record: dict[str, Any]) -> None:
        """See `Reporter`."""
        self.last, self.shown = record, False
        if self.quiet:
            return
        now = time.perf_counter()
        if self.live:
            if now - self.drawn > 0.1:
                self.drawn = now
                self._draw(record)
        elif record["epoch"] == 1 or record["epoch"] % max(1, self.epochs // _LINES) == 0:
            self._draw(record)

    def _draw(self, record: dict[str, Any]) -> None:
        number = int(record["epoch"])
        line = f"epoch {number:>{len(str(self.epochs))}}/{self.epochs}  {describe_record(record)}"
        if self.live:
            filled = 10 * number // max(1, self.epochs)
            room = shutil.get_terminal_size().columns - 1  # a line that wraps could not be renewed
            sys.stdout.write("\r\x1b[2K" + f"[{'=' * filled}{' ' * (10 - filled)}] {line}"[:room])
            sys.stdout.flush()
        else:
            print(line)
        self.shown = True

    def finish(self) -> None:
        """See `Reporter`."""
        if self.quiet or self.last is None:
            return
        if not self.shown or self.live:
            self._draw(self.last)
        if self.live:
            print()
        print(f"{int(self.last['epoch'])} epochs in {time.perf_counter() - self.began:.2f} s")

    def table(self, title: str, header: list[str], rows: list[list[str]]) -> None:
        """See `Reporter`."""
        print_table(title, header, rows)
        sys.stdout.flush()
