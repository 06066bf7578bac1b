"""The scalar expressions of the elementwise primitives, compiled, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.ops import REGISTRY, primitive
from chainrule.ops.random import philox
from tests.backends import harness

from .table import ROWS, Case, Row
from .test_table import assert_close


def is_complex(case: Case) -> bool:
    """Whether complex numbers come in or out: those are NumPy's."""
    return any(x.dtype.kind == "c" for x in case.operands) or any(
        getattr(attribute, "kind", "") == "c" for attribute in case.attributes
    )


CASES = [
    pytest.param(row, case, id=f"{row.name}-{i}")
    for row in ROWS
    if hasattr(REGISTRY[row.name], "scalar")
    for i, case in enumerate(row.cases)
    if case.operands[0].size and not is_complex(case)
]


@pytest.mark.parametrize(("row", "case"), CASES)
def test_scalar(row: Row, case: Case) -> None:
    op = primitive(row.name, case.attributes)
    with np.errstate(all="ignore"):
        expected = np.asarray(op.numpy(*case.operands))
    actual = harness.run(op.scalar, *case.operands, width=8).reshape(expected.shape)
    assert_close(actual, expected, row.loose)


def test_random_bits() -> None:
    op = primitive("random_bits", ((1000,),))
    key = np.array([2**63 + 99, 2**35 + 1], "uint64")
    index = np.arange(1000) + 2**33
    low = harness.run(op.scalar_at, np.full(1000, key[0]), np.full(1000, key[1]), np.arange(1000))
    np.testing.assert_array_equal(low, op.numpy(key))
    high = harness.run(op.scalar_at, np.full(1000, key[0]), np.full(1000, key[1]), index)
    assert len(np.unique(np.concatenate([low, high]))) == 2000


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_vectors(counter: tuple, key: tuple, words: tuple) -> None:
    """Known answers of the generator's authors (Random123, kat_vectors)."""
    given = [np.array([word], "uint32") for word in (*counter, *key)]
    for i, word in enumerate(words):
        assert harness.run(lambda b, *v, i=i: philox(b, v[:4], v[4:])[i], *given)[0] == word
