"""Every public function in every mode, and the page docs/modes.md that says so.

``CHAINRULE_UPDATE=1 pytest tests/modes`` writes the page anew.
"""

from __future__ import annotations

import inspect
import os
from functools import partial
from pathlib import Path

import pytest

import chainrule as cr
from chainrule.ops import REGISTRY
from tests.ops.table import ROWS

from . import engine, rows_top
from .page import page
from .rows import Row
from .tables import TABLES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "modes.md"
UPDATE = "CHAINRULE_UPDATE"

#: primitives whose rules need a function or a region, tested where these are made (tests/transforms,
#: tests/test_control.py, tests/test_distributions.py)
ELSEWHERE = {
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "gamma_draw",
    "opaque_draw",
    "scan",
    "vonmises_draw",
    "while_loop",
}

SMOOTH = [(f"{t}.{r.name}", r) for t, table in TABLES.items() for r in table.rows.values() if r.kind == "smooth"]
PLAIN = [(f"{t}.{r.name}", r) for t, table in TABLES.items() for r in table.rows.values() if r.kind == "plain"]


def floating(row: Row) -> list[int]:
    """The places of the floating operands of a plain row."""
    return [n for n, operand in enumerate(row.operands) if operand.dtype.kind == "f"]


#: with an operand by which somebody might differentiate; what is made without regard to its operand has derivative 0
REFUSED = [(name, row) for name, row in PLAIN if floating(row) and row.reason != rows_top.MADE]


def public(module) -> set[str]:
    """Names of the functions and classes of ours that a module offers."""
    names = set()
    for name in getattr(module, "__all__", ()) if module is not cr else dir(module):
        value = getattr(module, name)
        if name.startswith("_") or inspect.ismodule(value) or not callable(value):
            continue
        if (getattr(value, "__module__", None) or "chainrule").startswith("chainrule"):
            names.add(name)
    return names


@pytest.mark.parametrize("name", list(TABLES))
def test_every_public_function_has_a_row(name):
    table = TABLES[name]
    names = public(table.module)
    assert not names - table.rows.keys(), "no row: " + " ".join(sorted(names - table.rows.keys()))
    assert not table.rows.keys() - names, "no such function: " + " ".join(sorted(table.rows.keys() - names))


def test_every_plain_function_and_tool_has_a_reason():
    for table in TABLES.values():
        for row in table.rows.values():
            assert row.kind == "smooth" or row.reason, row.name


@pytest.fixture(scope="module")
def interpreted():
    """Everything but the compiled mode runs by NumPy, which needs no machine code."""
    before = os.environ.get("CHAINRULE_BACKEND")
    os.environ["CHAINRULE_BACKEND"] = "interpreter"
    yield
    if before is None:
        del os.environ["CHAINRULE_BACKEND"]
    else:
        os.environ["CHAINRULE_BACKEND"] = before


def run(row: Row, mode: str, check) -> None:
    """Run a check that has to pass, or, where the row names a hole, to raise one of our errors."""
    if mode in row.differs:
        with pytest.raises(AssertionError, match="off by"):
            check()
        return
    if mode not in row.holes:
        check()
        return
    with pytest.raises(cr.errors.ChainruleError):
        check()


@pytest.mark.parametrize(("name", "row"), SMOOTH, ids=[name for name, _ in SMOOTH])
def test_differentiable(name, row, interpreted):
    subject = engine.Subject(row)
    for mode, check in engine.SMOOTH.items():
        run(row, mode, partial(check, subject))


@pytest.mark.parametrize(("name", "row"), PLAIN, ids=[name for name, _ in PLAIN])
def test_without_derivative(name, row, interpreted):
    for mode in engine.plain_modes(row):
        run(row, mode, partial(engine.plain, row, mode))


@pytest.mark.parametrize(("name", "row"), REFUSED, ids=[name for name, _ in REFUSED])
def test_a_derivative_that_is_not_there_is_refused(name, row, interpreted):
    """One clear error, never a silent zero."""
    places = floating(row)

    def total(*given):
        operands = [cr.asarray(operand) for operand in row.operands]
        for place, x in zip(places, given):
            operands[place] = x
        return sum(leaf.sum() for leaf in cr.tree_leaves(row.function(*operands)))

    with pytest.raises(cr.errors.DifferentiationError, match="the function has to return one floating number"):
        cr.grad(total)(*[cr.asarray(row.operands[place]) for place in places])


def test_every_differentiable_primitive_is_differentiated_by_the_table_of_primitives():
    smooth = {row.name for row in ROWS if any(case.smooth for case in row.cases)}
    missing = {name for name, kind in REGISTRY.items() if kind.differentiable} - smooth - ELSEWHERE
    assert not missing, "no smooth case in tests/ops: " + " ".join(sorted(missing))


def test_page_is_up_to_date():
    text = page()
    if os.environ.get(UPDATE):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.exists() and PAGE.read_text(encoding="utf-8") == text, f"run {UPDATE}=1 pytest tests/modes"
