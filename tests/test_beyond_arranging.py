"""Joining, splitting, turning, diagonals, triangles and indices against NumPy and PyTorch."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, IndexOutOfRangeError, ShapeError

from .beyond import everywhere, refused, same

rng = np.random.default_rng(0)
X, Y, Z, V = (rng.normal(size=s) for s in ((3, 4), (3, 4), (2, 3, 4), (4,)))


def test_ranks():
    for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
        for x in (np.float64(3.0), V, X, Z, rng.normal(size=(1, 2, 3, 4))):
            same(getattr(cr, name)(x), getattr(np, name)(x))
        same(getattr(cr, name)(V, X), getattr(np, name)(V, X))


@pytest.mark.parametrize("name", "hstack vstack dstack column_stack".split())
def test_stacks(name):
    for arrays in ((X, Y), (V, V), (Z, Z)):
        same(getattr(cr, name)(arrays), getattr(np, name)(arrays))
    everywhere(lambda a, b: getattr(cr, name)((a, b)), X, Y)


def test_block():
    for parts in ([[X, Y], [X, Y]], [V, V], [[V], [V]], [1.0, 2.0], [[np.eye(2), np.ones((2, 1))], [np.zeros((1, 3))]]):
        same(cr.block(parts), np.block(parts))
    refused(ConfigError, "block: blocks stand at different depths: [0, 1]", cr.block, [[V], V])
    refused(ConfigError, "block: a list of blocks is empty", cr.block, [])


def test_splits():
    torch = pytest.importorskip("torch")
    for sections in (3, 5, [1, 3], [2, 9], [3, 1], [-1]):
        same(cr.array_split(V, sections), np.array_split(V, sections))
        same(cr.array_split(X, sections, 1), np.array_split(X, sections, 1))
    for sections in (3, 5, [1, 3]):
        wanted = torch.tensor_split(torch.tensor(X), sections, 1)
        same(cr.tensor_split(X, sections, 1), tuple(w.numpy() for w in wanted))
    same(cr.hsplit(X, 2), np.hsplit(X, 2))
    same(cr.hsplit(V, 2), np.hsplit(V, 2))
    same(cr.hsplit(X, [1, 3]), np.hsplit(X, [1, 3]))
    same(cr.vsplit(X, 3), np.vsplit(X, 3))
    same(cr.dsplit(Z, 2), np.dsplit(Z, 2))
    refused(
        ShapeError, "hsplit: 4 elements of axis 1 do not make 3 equal parts; operands float64[3, 4]", cr.hsplit, X, 3
    )
    refused(ShapeError, "dsplit: 3 axes at least are needed; operands float64[3, 4]", cr.dsplit, X, 2)


def test_turning():
    same(cr.flipud(X), np.flipud(X))
    same(cr.fliplr(X), np.fliplr(X))
    for k in range(-2, 5):
        same(cr.rot90(Z, k, (1, 2)), np.rot90(Z, k, (1, 2)))
        same(cr.rot90(Z, k, (2, 0)), np.rot90(Z, k, (2, 0)))
    for axis in range(-3, 3):
        for start in range(-3, 4):
            same(cr.rollaxis(Z, axis, start), np.rollaxis(Z, axis, start))
    everywhere(lambda x: cr.rot90(x), X)
    refused(ShapeError, "rot90: axes (0, 0) name one axis twice; operands float64[3, 4]", cr.rot90, X, 1, (0, 0))


def test_insert_delete_append():
    for places in (1, -1, [0, 2], slice(0, 3, 2), [True, False, False, True]):
        same(cr.delete(V, places), np.delete(V, places))
        same(cr.delete(X, places, 1), np.delete(X, places, 1))
    same(cr.delete(X, [0, 5]), np.delete(X, [0, 5]))
    for places, values in (
        (1, 5.0),
        ([0, 2], [7.0, 8.0]),
        (slice(0, 3, 2), 9.0),
        (2, [1.0, 2.0]),
        ([1, 1], [3.0, 4.0]),
    ):
        same(cr.insert(V, places, values), np.insert(V, places, values))
    for places, values, axis in ((1, [1.0, 2, 3], 1), ([1], [[1.0], [2], [3]], 1), (1, Y[:2], 0), ([0, 3], 5.0, 1)):
        same(cr.insert(X, places, values, axis=axis), np.insert(X, places, values, axis=axis))
    same(cr.append(X, Y), np.append(X, Y))
    same(cr.append(X, Y, 0), np.append(X, Y, 0))
    everywhere(lambda x, v: cr.insert(x, [1, 3], v), V, V[:2])
    everywhere(lambda x: cr.delete(x, [1, 3]), V)
    refused(IndexOutOfRangeError, "delete: index 9 is out of bounds for axis 0 with size 4; operands float64[4]",
            cr.delete, V, 9)  # fmt: skip
    refused(ShapeError, "insert: values of shape (3,) do not broadcast to (2,); operands float64[4], float64[3]",
            cr.insert, V, [0, 1], np.ones(3))  # fmt: skip


def test_apply_along_axis():
    for axis in (0, 1, -1):
        same(
            cr.apply_along_axis(lambda r: cr.cumsum(r), axis, Z), np.apply_along_axis(np.cumsum, axis, Z), 1e-12, 1e-14
        )
        same(cr.apply_along_axis(lambda r, k: k * r.sum(), axis, Z, 2.0),
             np.apply_along_axis(lambda r: 2 * r.sum(), axis, Z), 1e-12, 1e-14)  # fmt: skip
        same(cr.apply_along_axis(lambda r: r[:, None] * r[None], axis, Z),
             np.apply_along_axis(lambda r: np.outer(r, r), axis, Z))  # fmt: skip


def test_products_and_combinations():
    torch = pytest.importorskip("torch")
    a, b = torch.tensor([1, 2]), torch.tensor([3, 4, 5])
    same(cr.cartesian_prod([1, 2], [3, 4, 5]), torch.cartesian_prod(a, b).numpy())
    for r in (1, 2, 3):
        for again in (False, True):
            same(
                cr.combinations([3, 4, 5, 7], r, again),
                torch.combinations(torch.tensor([3, 4, 5, 7]), r, again).numpy(),
            )
    same(cr.trim_zeros([0, 0, 1, 0, 2, 0]), [1, 0, 2])
    same(cr.trim_zeros([0, 1, 0], "f"), [1, 0])


@pytest.mark.parametrize("k", [-2, -1, 0, 1, 3])
def test_diagonals(k):
    torch = pytest.importorskip("torch")
    for name in ("diag", "diagflat"):
        for x in (V, X, (X * 3).astype(int), X > 0):
            same(getattr(cr, name)(x, k), getattr(np, name)(x, k))
    same(cr.diag_embed(Z, k, 0, 2), torch.diag_embed(torch.tensor(Z), k, 0, 2).numpy())
    same(cr.tri(3, 5, k), np.tri(3, 5, k))
    same(cr.tril_indices(3, k, 4), np.tril_indices(3, k, 4))
    same(cr.triu_indices(3, k, 4), np.triu_indices(3, k, 4))
    everywhere(lambda x: cr.diag(x, k), V)
    everywhere(lambda x: cr.diag(x, k), X)


@pytest.mark.parametrize("shape", [(3, 3), (7, 3), (3, 5), (3, 3, 3)])
def test_fill_diagonal(shape):
    for wrap in (False, True):
        for value in (2.0, [1.0, 2.0]):
            wanted = np.zeros(shape)
            np.fill_diagonal(wanted, value, wrap)
            same(cr.fill_diagonal(np.zeros(shape), value, wrap), wanted)
    everywhere(lambda x: cr.fill_diagonal(x, 0.0), rng.normal(size=shape))
    refused(ShapeError, "fill_diagonal: two axes at least are needed; operands float64[4]", cr.fill_diagonal, V, 0.0)


def test_indices():
    same(cr.identity(3), np.identity(3))
    same(cr.indices((2, 3)), np.indices((2, 3)))
    same(cr.diag_indices(3, 3), np.diag_indices(3, 3))
    same(cr.ix_([0, 2], [1, 3]), np.ix_([0, 2], [1, 3]))
    same(cr.asarray(X)[cr.ix_([True, False, True], [1, 3])], X[np.ix_([True, False, True], [1, 3])])
    for order in "CF":
        same(cr.unravel_index([5, 11, 0], (3, 4), order), np.unravel_index([5, 11, 0], (3, 4), order))
        pair = ([1, 2], [3, 0])
        same(cr.ravel_multi_index(pair, (3, 4), order=order), np.ravel_multi_index(pair, (3, 4), order=order))
    outside = ([4, -2], [3, 9])
    modes = ("wrap", "clip")
    same(cr.ravel_multi_index(outside, (3, 4), mode=modes), np.ravel_multi_index(outside, (3, 4), mode=modes))
    everywhere(lambda i: cr.unravel_index(i, (3, 4)), np.array([5, 7, 0]), smooth=False)
    refused(IndexOutOfRangeError, "unravel_index: place 12 is out of range for 12; operands int64[1]",
            cr.unravel_index, [12], (3, 4))  # fmt: skip
    refused(IndexOutOfRangeError, "ravel_multi_index: index of axis 0 3 is out of range for 3; operands int64[1]",
            cr.ravel_multi_index, ([3], [0]), (3, 4))  # fmt: skip


def test_choices():
    a = rng.integers(0, 3, (3, 4))
    same(cr.choose(a, [X, Y, V]), np.choose(a, [X, Y, V]))
    for mode in ("wrap", "clip"):
        same(cr.choose(a + 5, [X, Y, 1.0], mode=mode), np.choose(a + 5, [X, Y, 1.0], mode=mode))
    same(cr.select([X < 0, X < 1], [X, Y], 7.0), np.select([X < 0, X < 1], [X, Y], 7.0))
    same(cr.piecewise(X, [X < 0, X > 1], [lambda t: -t, 2.0]), np.piecewise(X, [X < 0, X > 1], [lambda t: -t, 2.0]))
    same(cr.piecewise(X, [X < 0], [-1, lambda t: t * t]), np.piecewise(X, [X < 0], [-1, lambda t: t * t]))
    everywhere(lambda x, y: cr.select([x < 0, x < 1], [x * x, y], 7.0), X, Y)
    everywhere(lambda x: cr.piecewise(x, [x < 0], [cr.exp, lambda t: t * t]), X)
    same(cr.vander(V), np.vander(V))
    same(cr.vander(V, 3, True), np.vander(V, 3, True))
    refused(IndexOutOfRangeError, "choose: choice 5 is out of range for 1; operands int64[1]", cr.choose, [5], [X])
    refused(ConfigError, "select: 1 conditions for 2 choices", cr.select, [X > 0], [X, Y])
    refused(ConfigError, "piecewise: 3 functions for 1 conditions; operands float64[3, 4]", cr.piecewise, X, [X > 0],
            [0, 1, 2])  # fmt: skip
