"""Einstein's summation against NumPy: every form of labels, every order of contraction."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, ShapeError
from chainrule.functions.contraction_paths import contraction_path

from .beyond import everywhere, refused, same

rng = np.random.default_rng(0)


def arrays(*shapes):
    return [rng.normal(size=shape) for shape in shapes]


CASES = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ba", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iij->ji", (3, 3, 2)),
    ("iii->i", (3, 3, 3)),
    ("ijj->i", (2, 3, 3)),
    ("ij->", (2, 3)),
    ("ij->ji", (2, 3)),
    ("->", ()),
    (",i->i", (), (3,)),
    ("i,j->ij", (2,), (3,)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("ij,kl->jl", (2, 3), (4, 5)),
    ("ij,ij->ij", (1, 3), (4, 3)),
    ("ii,i->", (3, 3), (3,)),
    ("...ij,...jk->...ik", (5, 2, 3), (1, 3, 4)),
    ("...ij,jk", (5, 2, 3), (3, 4)),
    ("...,...", (), ()),
    ("...i->...", (2, 3, 4)),
    ("i...,j...->ij...", (2, 3, 4), (5, 4)),
    ("a,b,c->abc", (2,), (3,), (4,)),
    ("ab,bc,cd,de->ae", (2, 3), (3, 4), (4, 5), (5, 6)),
    ("bij,bjk,bkl,i->bl", (2, 3, 4), (2, 4, 5), (2, 5, 6), (3,)),
    ("ab,bc,ca->", (2, 3), (3, 4), (4, 2)),
    ("ab,bc,ca,b->a", (2, 3), (3, 4), (4, 2), (3,)),
    ("ab,bc,cd,de,ef,fg,gh,ha->", *[(2, 2)] * 8),
    ("i,ij,j", (2,), (2, 3), (3,)),
    ("ij,j->ij", (2, 0), (0,)),
    ("ij,jk->ik", (2, 0), (0, 3)),
]


@pytest.mark.parametrize("optimize", [True, False, "greedy", "optimal"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_against_numpy(case, optimize):
    operands = arrays(*case[1:])
    wanted = np.einsum(case[0], *operands)
    same(cr.einsum(case[0], *operands, optimize=optimize), wanted, 1e-10, 1e-13)


@pytest.mark.parametrize("dtype", ["float32", "int64", "complex128"])
def test_dtypes(dtype):
    a, b, c = (x.astype(dtype) for x in (3 * v for v in arrays((2, 3), (3, 4), (4,))))
    found = cr.einsum("ij,jk,k->i", a, b, c)
    same(found, np.einsum("ij,jk,k->i", a, b, c), 1e-5 if dtype == "float32" else 1e-12)
    assert found.numpy().dtype == dtype


def test_lists_of_labels():
    x, y = arrays((2, 3), (3, 4))
    same(cr.einsum(x, [0, 1], y, [1, 2], [0, 2]), x @ y)
    same(cr.einsum(x, [0, 1], y, [1, 2]), x @ y)
    same(cr.einsum(x, [..., 1], y, [1, 2], [..., 2]), x @ y)
    same(cr.einsum(x, ["row", "inner"], y, ["inner", "column"], ["column", "row"]), (x @ y).T)
    same(cr.einsum(x, [5, 3]), np.einsum(x, [5, 3]))


@pytest.mark.parametrize("text", ["ab,bc,cd->ad", "ii,ij,j->i", "...a,ab,b...->a..."])
def test_everywhere(text):
    shapes = {"ab,bc,cd->ad": ((2, 3), (3, 4), (4, 2)), "ii,ij,j->i": ((3, 3), (3, 2), (2,))}
    operands = arrays(*shapes.get(text, ((2, 3), (3, 4), (4, 2))))
    everywhere(lambda *x: cr.einsum(text, *x), *operands, order=2)


def test_paths():
    a, b, c = arrays((2, 50), (50, 40), (40, 3))
    path, text = cr.einsum_path("ij,jk,kl->il", a, b, c)
    assert path == np.einsum_path("ij,jk,kl->il", a, b, c, optimize="optimal")[0]
    assert text.splitlines() == [
        "multiplications at once: 24000",
        "multiplications by steps: 4240",
        "elements of the largest result: 80",
        "  (0, 1): 4000 over i=2 j=50 k=40",
        "  (0, 1): 240 over i=2 k=40 l=3",
    ]
    same(cr.einsum("ij,jk,kl->il", a, b, c, optimize=path), a @ b @ c, 1e-10)
    same(cr.einsum("ij,jk,kl->il", a, b, c, optimize=[(1, 2), (0, 1)]), a @ b @ c, 1e-10)
    same(cr.einsum("ij,jk,kl->il", a, b, c, optimize=[(0, 1, 2)]), a @ b @ c, 1e-10)
    assert cr.einsum_path("ij,jk,kl->il", a, b, c, optimize=("greedy", 1000)).path == path
    assert cr.einsum_path("ij,jk,kl->il", c.T, b.T, a.T).path == ["einsum_path", (1, 2), (0, 1)]


def test_optimal_is_the_cheapest_of_all():
    """Against a search through all orders; greedy is never cheaper."""

    def least(terms, result, extents):
        if len(terms) == 1:
            return 0
        costs = []
        for i in range(len(terms)):
            for j in range(i + 1, len(terms)):
                rest = [t for k, t in enumerate(terms) if k not in (i, j)]
                both = terms[i] | terms[j]
                made = both & result.union(*rest)
                costs.append(int(np.prod([extents[c] for c in both])) + least([*rest, made], result, extents))
        return min(costs)

    for seed in range(25):
        draw = np.random.default_rng(seed)
        extents = dict(zip("abcdef", draw.integers(2, 30, 6).tolist()))
        terms = [frozenset(draw.choice(list("abcdef"), draw.integers(1, 4), replace=False)) for _ in range(5)]
        result = frozenset(draw.choice(list(frozenset().union(*terms)), 1))
        wanted = least(terms, result, extents)
        costs = [sum(s.cost for s in contraction_path(terms, result, extents, how, "einsum"))
                 for how in ("optimal", "greedy", False)]  # fmt: skip
        assert costs[0] == wanted <= min(costs[1:])


def test_refusals():
    x = cr.ones(2, 3)
    refused(ConfigError, "einsum: 'ij,jk' has 2 terms for 1 operands; operands float32[2, 3]", cr.einsum, "ij,jk", x)
    refused(ConfigError, "einsum: term 'i' names 1 axes, its operand has 2; operands float32[2, 3]", cr.einsum, "i", x)
    refused(ConfigError, "einsum: the result 'ik' of 'ij->ik' has to name labels of the operands, each once; operands "
            "float32[2, 3]", cr.einsum, "ij->ik", x)  # fmt: skip
    refused(ConfigError, "einsum: '2' in 'i2' is no label; there are letters and one ellipsis a term; operands "
            "float32[2, 3]", cr.einsum, "i2", x)  # fmt: skip
    refused(ShapeError, "einsum: label 'j' has 3 and 2 elements (axis 0 of 'jk'); operands float32[2, 3], "
            "float32[2, 3]", cr.einsum, "ij,jk->ik", x, x)  # fmt: skip
    refused(ShapeError, "einsum: label 'i' has 2 and 3 elements (axis 1 of 'ii'); operands float32[2, 3]",
            cr.einsum, "ii", x)  # fmt: skip
    refused(ConfigError, "einsum: there are no operands", cr.einsum, "")
    refused(ConfigError, "einsum: optimize is True, False, 'greedy', 'optimal' or a path, not 'best'",
            lambda: cr.einsum("ij,jk,kl", x, x.mT, x, optimize="best"))  # fmt: skip
    refused(ConfigError, "einsum: optimize is True, False, 'greedy', 'optimal' or a path, not 3",
            lambda: cr.einsum("ij,jk", x, x.mT, optimize=3))  # fmt: skip
    refused(ConfigError, "einsum: step (0, 3) of the path does not name different ones of 3 operands",
            lambda: cr.einsum("ij,jk,kl", x, x.mT, x, optimize=[(0, 3)]))  # fmt: skip
    with pytest.raises(DTypeError):
        cr.einsum("ij,ij", x, cr.ones(2, 3, dtype=cr.int64))
