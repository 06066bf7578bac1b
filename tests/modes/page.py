"""The text of docs/modes.md."""

from __future__ import annotations

import chainrule.ops.rare  # noqa: F401  (all primitives are registered)
from chainrule.ops import REGISTRY

from .engine import plain_modes
from .rows import MODES, Row
from .tables import TABLES

HEAD = """# Operations and modes

What can be done with each operation: its value, reverse mode (`grad`, `vjp`, `backward`), forward mode (`jvp`), second
derivatives (forward over reverse and reverse over reverse), `vmap` and `compile` of value and gradient. Written by
`tests/modes`, which tries every cell: reverse and forward mode against central differences in float64 along random
directions to 1e-6 relative, second order against differences of the analytic gradient, `jvp` against `vjp` to 1e-12,
batches against a loop, compiled against uncompiled. Functions without a derivative say why. A number in a cell is a
note below the table.
"""


EXCEPTIONS = """Each of these has all modes but three, which refuse with one message: `while_loop` has no reverse mode
unless `max_steps` bounds it (then it is made of others), `custom_vjp` no forward mode, and `opaque_draw`, a random draw
made by rejection, no derivative by the parameters of its distribution.""".splitlines()


def _cells(row: Row, notes: list[str]) -> list[str]:
    cells = []
    for mode in MODES:
        there = row.kind == "smooth" or (row.kind == "plain" and mode in plain_modes(row))
        if mode in row.holes:
            if row.holes[mode] not in notes:
                notes.append(row.holes[mode])
            cells.append(str(notes.index(row.holes[mode]) + 1))
        elif mode in row.differs:
            if row.differs[mode] not in notes:
                notes.append(row.differs[mode])
            cells.append(f"yes ({notes.index(row.differs[mode]) + 1})")
        else:
            cells.append("yes" if there else "")
    return cells


def _table(title: str, rows: list[Row]) -> list[str]:
    lines = [f"## {title}", ""]
    notes: list[str] = []
    lines += [f"| function | {' | '.join(MODES)} | |", f"| --- |{' --- |' * (len(MODES) + 1)}"]
    for row in sorted(rows, key=lambda row: row.name.lower()):
        if row.kind != "tool":
            lines.append(f"| `{row.name}` | {' | '.join(_cells(row, notes))} | {row.reason} |")
    if notes:
        lines += ["", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    tools: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: row.name.lower()):
        if row.kind == "tool":
            tools.setdefault(row.reason, []).append(f"`{row.name}`")
    if tools:
        lines += ["", "Not operations: " + "; ".join(f"{', '.join(n)} ({why})" for why, n in tools.items()) + "."]
    return [*lines, ""]


def _primitives() -> list[str]:
    smooth = sorted(name for name, kind in REGISTRY.items() if kind.differentiable)
    rest = sorted(name for name, kind in REGISTRY.items() if not kind.differentiable)
    return [
        "## Primitives",
        "",
        "What all functions are made of, each with a row in `tests/ops`, where its rules are tested one by one.",
        "",
        f"Differentiable ({len(smooth)}): {', '.join(f'`{name}`' for name in smooth)}.",
        "",
        *EXCEPTIONS,
        "",
        "Without a derivative, because they have no operand, or integers, truth values or random bits as operands or "
        f"result ({len(rest)}): {', '.join(f'`{name}`' for name in rest)}.",
        "",
    ]


def page() -> str:
    lines = [HEAD]
    for name, table in TABLES.items():
        lines += _table(name if name == "chainrule" else f"chainrule.{name}", list(table.rows.values()))
    return "\n".join([*lines, *_primitives()]).rstrip() + "\n"
