"""No primitive is silently wrong on complex numbers: it refuses them, or its rules hold for them too."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.errors import ChainruleError
from chainrule.ops import REGISTRY

from . import test_table as rules  # not its tests by name: they would run here again
from .table import ROWS, Case, Row, floats
from .test_table import apply_case

#: primitives whose attributes prescribe the dtypes of operands, and factorisations that are determined up to phases:
#: their own tests try them
NOT_HERE = ("branch", "custom_jvp", "custom_vjp", "eigh", "scan", "svd", "while_loop")


def turned(case: Case) -> Case | None:
    """The case with its floating operands made complex, None if it has none."""
    if not any(operand.dtype == "float64" for operand in case.operands):
        return None
    operands = list(case.operands)
    for i, operand in enumerate(operands):
        if operand.dtype == "float64":
            operands[i] = operand + 1j * floats(*operand.shape, low=-0.5, high=0.5, seed=70 + i)
    return Case(case.attributes, tuple(np.asarray(operand) for operand in operands), True)


def candidates(row: Row) -> list[Case]:
    """The first smooth cases of a row that have elements."""
    cases = [case for case in row.cases if case.smooth and all(operand.size for operand in case.operands)]
    return [found for case in cases if (found := turned(case)) is not None][:2]


CASES = [
    pytest.param(row, case, id=f"{row.name}-{number}")
    for row in ROWS
    if REGISTRY[row.name].differentiable and row.name not in NOT_HERE
    for number, case in enumerate(candidates(row))
]


@pytest.mark.parametrize(("row", "case"), CASES)
def test_rules_hold_or_the_operation_refuses(row, case) -> None:
    try:
        apply_case(row.name, case)
    except ChainruleError as error:
        assert "complex" in str(error)
        return
    rules.test_first_derivative(row, case)
    rules.test_each_operand_alone(row, case)
    rules.test_second_derivative(row, case)
