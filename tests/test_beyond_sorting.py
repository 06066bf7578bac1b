"""Sorting, order statistics by place, looking up, distinct values and sets, against NumPy and PyTorch."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, PlaceholderError, ShapeError

from .beyond import everywhere, refused, same

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 6))
WITH_NAN = np.array([[3.0, np.nan, -1.0, np.inf], [np.nan, -np.inf, np.nan, 2.0]])
OPERANDS = [X, X.astype(np.float32), rng.integers(-3, 4, (4, 6)), X > 0, WITH_NAN, np.zeros((0, 3)), np.zeros((3, 0))]


@pytest.mark.parametrize("x", OPERANDS, ids=lambda x: f"{x.dtype}{x.shape}")
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sort_family(x, axis):
    same(cr.sort(x, axis=axis), np.sort(x, axis, kind="stable"))
    same(cr.argsort(x, axis=axis), np.argsort(x, axis, kind="stable"))
    assert cr.sort(cr.asarray(x), axis=axis).numpy().dtype == x.dtype
    same(cr.msort(x), np.sort(x, 0))
    if x.shape[axis] > 1:
        k = (1, -1)
        same(cr.partition(x, k, axis)[(slice(None),) * (axis % 2) + (1,)], np.sort(x, axis).take(1, axis))
        same(cr.take_along_axis(x, cr.argpartition(x, k, axis), axis=axis), np.sort(x, axis))


def test_sort_by_other_spellings():
    same(cr.sort(X, None), np.sort(X, None))
    same(cr.argsort(X, 0), np.argsort(X, 0))
    same(cr.argsort(X, None), np.argsort(X, None))
    same(cr.argsort(X, dim=0, descending=True), np.argsort(-X, 0))
    same(cr.sort(WITH_NAN, descending=True), np.flip(np.sort(WITH_NAN), -1))
    ties = np.array([1, 0, 1, 0])
    same(cr.argsort(ties, descending=True), [0, 2, 1, 3])
    everywhere(lambda x: cr.sort(x, descending=True), X, order=2)
    everywhere(lambda x: cr.sort(x, -1), X)
    refused(ConfigError, "sort: dim= would return a pair in PyTorch; operands float64[4, 6]", lambda: cr.sort(X, dim=0))
    refused(
        PlaceholderError,
        "nonzero: the shape of the result depends on values, and the operand is a placeholder; operands float64[4, 6]",
        cr.compile(cr.nonzero), cr.asarray(X),
    )  # fmt: skip


def test_partition_of_all_elements():
    same(cr.partition(X, 3, None), np.sort(X, None))
    refused(ShapeError, "partition: place 6 is out of range for 6 elements; operands float64[4, 6]",
            lambda: cr.partition(cr.asarray(X), 6))  # fmt: skip


def test_lexsort():
    a, b = rng.integers(0, 3, 30), rng.integers(0, 3, 30)
    same(cr.lexsort((a, b)), np.lexsort((a, b)))
    same(cr.lexsort((X[0], b[:6], a[:6])), np.lexsort((X[0], b[:6], a[:6])))
    same(cr.lexsort(cr.asarray(np.stack([a, b]))), np.lexsort((a, b)))
    same(cr.lexsort((X, -X), axis=0), np.lexsort((X, -X), axis=0))
    refused(ConfigError, "lexsort: there are no keys", cr.lexsort, ())


@pytest.mark.parametrize("largest", [True, False])
def test_topk(largest):
    torch = pytest.importorskip("torch")
    for axis in (0, 1):
        for k in (0, 2, X.shape[axis]):
            wanted = torch.topk(torch.tensor(X), k, axis, largest)
            same(tuple(cr.topk(X, k, axis, largest=largest)), (wanted.values.numpy(), wanted.indices.numpy()))
    everywhere(lambda x: cr.topk(x, 3, largest=largest, sorted=True).values, X)
    same(cr.topk(WITH_NAN[0], 2).indices, [1, 3])  # NaN is the greatest
    many = np.random.default_rng(3).integers(0, 40, (5, 300)).astype(np.float32)  # many equal ones: the first count
    many[1, ::7] = np.nan
    for k in (1, 10, 150, 300):
        order = np.argsort(many, axis=1, kind="stable")
        if largest:
            order = 299 - np.flip(np.argsort(np.flip(many, 1), axis=1, kind="stable"), 1)
        same(cr.topk(many, k, largest=largest).indices, order[:, :k])
        half = cr.topk(cr.asarray(many).astype(cr.bfloat16), k, largest=largest)
        same(half.indices, order[:, :k])
        assert half.values.dtype is cr.bfloat16
    refused(ShapeError, "topk: 2.0 elements of the 6 along axis 1; operands float64[4, 6]", lambda: cr.topk(X, 2.0))
    refused(ShapeError, "topk: 7 elements of the 6 along axis 1; operands float64[4, 6]", lambda: cr.topk(X, 7))


def test_kthvalue_and_mode():
    torch = pytest.importorskip("torch")
    for axis in (0, 1):
        for keep in (False, True):
            wanted = torch.kthvalue(torch.tensor(X), 2, axis, keep)
            same(tuple(cr.kthvalue(X, 2, axis, keep)), (wanted.values.numpy(), wanted.indices.numpy()))
            whole = rng.integers(0, 3, (7, 8))
            common = torch.mode(torch.tensor(whole), axis, keep)
            same(tuple(cr.mode(whole, axis, keep)), (common.values.numpy(), common.indices.numpy()))
    everywhere(lambda x: cr.kthvalue(x, 2).values, X)
    everywhere(lambda x: cr.mode(x).values, X)
    refused(ShapeError, "kthvalue: element 0 of the 6 along axis 1; operands float64[4, 6]", lambda: cr.kthvalue(X, 0))


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side):
    table = np.array([-1.0, 0.0, 0.0, 0.5, 2.0])
    values = np.array([[-3.0, 0.0, 0.5], [np.nan, np.inf, 2.0]])
    same(cr.searchsorted(table, values, side), np.searchsorted(table, values, side))
    same(cr.searchsorted(table, 0.0, side=side), np.searchsorted(table, 0.0, side))
    same(cr.searchsorted(table[:0], values, side), np.zeros((2, 3), int))
    order = rng.permutation(5)
    shuffled = np.empty(5)
    shuffled[order] = table
    same(cr.searchsorted(shuffled, values, side, order), np.searchsorted(shuffled, values, side, order))
    everywhere(lambda t, v: cr.searchsorted(t, v, side=side), np.array([1.0, 1.0, 1.0]), values[0], smooth=False)
    torch = pytest.importorskip("torch")
    tables = np.sort(X, 1)
    wanted = torch.searchsorted(torch.tensor(tables), torch.tensor(X), right=side == "right")
    same(cr.searchsorted(tables, X, right=side == "right"), wanted.numpy())
    same(cr.bucketize(X, table, right=side == "right"),
         torch.bucketize(torch.tensor(X), torch.tensor(table), right=side == "right").numpy())  # fmt: skip


def test_searchsorted_refusals():
    refused(ConfigError, "searchsorted: side is 'left' or 'right', not 'up'", cr.searchsorted, X[0], X, "up")
    refused(ShapeError, "searchsorted: the tables and the values differ before the last axis; operands float64[4, 6], "
            "float64[3, 6]", lambda: cr.searchsorted(X, X[:3]))  # fmt: skip
    refused(DTypeError, "searchsorted: complex numbers have no order; operands complex128[6], complex128[6]",
            lambda: cr.searchsorted(X[0] + 0j, X[0] + 0j))  # fmt: skip


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("bins", [[0.0, 0.5, 1.0], [1.0, 0.5, 0.0], [0.5], [1, 2]])
def test_digitize(bins, right):
    x = np.array([[-1.0, 0.0, 0.2], [0.5, 1.0, 3.0]])
    same(cr.digitize(x, np.array(bins), right), np.digitize(x, bins, right))
    everywhere(lambda v, b: cr.digitize(v, b, right), x[0], np.array(bins, float), smooth=False)


@pytest.mark.parametrize("count", [0, 3, 40])
@pytest.mark.parametrize("dtype", ["float64", "int64", "bool", "complex128"])
def test_isin(count, dtype):
    x = rng.integers(0, 2 if dtype == "bool" else 9, (3, 4)).astype(dtype)
    table = rng.integers(0, 2 if dtype == "bool" else 5, count).astype(dtype)
    for invert in (False, True):
        same(cr.isin(x, table, invert=invert), np.isin(x, table, invert=invert))
    same(cr.isin(np.array([np.nan, 1.0]), np.array([np.nan] * 20 + [1.0])), [False, True])


UNIQUE = [
    rng.integers(0, 5, (3, 4)),
    X.round(),
    np.array([np.nan, 1.0, np.nan, 2.0, -0.0, 0.0]),
    np.array([True, False, True]),
    rng.integers(0, 2, 8) + 1j * rng.integers(0, 2, 8),
    np.array([]),
]


@pytest.mark.parametrize("x", UNIQUE, ids=lambda x: str(x.dtype))
def test_unique(x):
    every = {"return_index": True, "return_inverse": True, "return_counts": True}
    same(cr.unique(x), np.unique(x))
    found, wanted = cr.unique(cr.asarray(x), **every), np.unique(x, **every)
    same(found, wanted)
    assert [f.numpy().dtype for f in found] == [w.dtype for w in wanted]
    same(cr.unique(x, equal_nan=False), np.unique(x, equal_nan=False))
    same(cr.unique_values(x), np.unique(x, equal_nan=False))
    count = np.unique(x).size
    size = count + 2
    fill = x.dtype.type(1).item()
    within = cr.compile(lambda v: cr.unique(v, size=size, fill_value=fill, **every))(cr.asarray(x))
    same(within[0], np.concatenate([wanted[0], np.full(2, 1, x.dtype)]))
    same(within[2], wanted[2])
    same(within[3], np.concatenate([wanted[3], [0, 0]]))
    same(cr.unique(x, size=1)[:count], wanted[0][:1])


def test_unique_slices():
    every = {"return_index": True, "return_inverse": True, "return_counts": True}
    for x in (rng.integers(0, 2, (6, 2)), rng.integers(0, 2, (2, 3, 4)) * 1.5, rng.integers(0, 2, (5, 2)) * (1 + 1j)):
        for axis in range(x.ndim):
            same(cr.unique(x, axis=axis, **every), np.unique(x, axis=axis, **every))
    x = rng.integers(0, 2, (2, 5, 2))
    found = cr.vmap(lambda v: cr.unique(v, axis=0, size=5, fill_value=-1))(cr.asarray(x))
    for i in range(2):
        wanted = np.unique(x[i], axis=0)
        same(found[i], np.concatenate([wanted, np.full((5 - len(wanted), 2), -1)]))


def test_unique_is_differentiable():
    x = np.array([3.0, 1.0, 3.0, -2.0])
    everywhere(lambda v: cr.unique(v, size=4), np.array([3.0, 1.0, 0.5, -2.0]))
    same(cr.grad(lambda v: cr.sum(cr.unique(v) ** 2))(cr.asarray(x)), [6.0, 2.0, 0.0, -4.0])
    refused(
        PlaceholderError,
        "unique: the number of distinct values depends on values, and the operand is a placeholder; operands bool[4]",
        cr.compile(cr.unique), cr.asarray(x),
    )  # fmt: skip


def test_unique_consecutive():
    torch = pytest.importorskip("torch")
    x = rng.integers(0, 2, (5, 4))
    for dim in (None, 0, 1):
        wanted = torch.unique_consecutive(torch.tensor(x), True, True, dim)
        same(cr.unique_consecutive(x, True, True, dim), tuple(w.numpy() for w in wanted))
    same(cr.compile(lambda v: cr.unique_consecutive(v, size=4))(cr.tensor([2, 2, 1, 2])), [2, 1, 2, 2])


@pytest.mark.parametrize("name", ["union1d", "intersect1d", "setdiff1d", "setxor1d"])
def test_sets(name):
    ours, numpys = getattr(cr, name), getattr(np, name)
    for a, b in (
        (rng.integers(0, 6, 9), rng.integers(3, 9, (4, 2))),
        (np.array([1.0, 2.0, 2.0]), np.array([])),
        (np.array([]), np.array([1.0, 1.0])),
        (np.arange(40), np.arange(20, 60)),
        (np.array([1, 2]), np.array([3, 4])),
    ):
        wanted = numpys(a, b)
        same(ours(a, b), wanted)
        room = 60
        if a.size and b.size:
            found = cr.compile(lambda x, y, room=room: ours(x, y, size=room, fill_value=-7))(
                cr.asarray(a), cr.asarray(b)
            )
            same(found, np.concatenate([wanted, np.full(room - wanted.size, -7)]))
    same(cr.intersect1d([3, 1, 2, 1], [2, 1, 5], return_indices=True),
         np.intersect1d([3, 1, 2, 1], [2, 1, 5], return_indices=True))  # fmt: skip
    same(cr.setdiff1d([5, 3, 4], [3], assume_unique=True), np.setdiff1d([5, 3, 4], [3], assume_unique=True))


def test_nonzero():
    for x in (rng.integers(0, 3, (4, 5)), np.zeros((2, 2)), X > 0, np.zeros((0, 3))):
        same(cr.nonzero(x), np.nonzero(x))
        same(cr.argwhere(x), np.argwhere(x))
        same(cr.flatnonzero(x), np.flatnonzero(x))
        for size in (0, 3, 40):
            found = cr.compile(lambda v, size=size: cr.nonzero(v, size=size, fill_value=-1))(cr.asarray(x))
            for part, wanted in zip(found, np.nonzero(x)):
                same(part, np.concatenate([wanted, np.full(size, -1)])[:size])
    same(cr.argwhere(np.array(3.0)), np.argwhere(np.array(3.0)))
    everywhere(lambda v: cr.argwhere(v, size=4), np.array([0.0, 2.0, 0.0, 1.0]), smooth=False)


@pytest.mark.parametrize("kind", ["argmax", "argmin"])
def test_extremes_without_nan(kind):
    ours, numpys = getattr(cr, "nan" + kind), getattr(np, "nan" + kind)
    for x in (X, WITH_NAN, X.astype(int)):
        for axis in (None, 1):
            same(ours(x, axis), numpys(x, axis=axis))
            same(ours(x, axis, keepdims=True), numpys(x, axis=axis, keepdims=True))
    same(ours(np.array([np.nan, np.nan])), 0)
    same(ours(np.array([np.nan, np.inf, -np.inf, np.inf])), {"argmax": 1, "argmin": 2}[kind])


def test_sorting_keeps_the_order_of_zeros():
    """0.0 and -0.0 are equal, so that a stable order keeps them as they came."""
    x = np.where(np.arange(500) % 3 == 0, -0.0, 0.0)
    for values in (x, np.concatenate([x, [-1.0, np.nan, 1.0]]), np.zeros(5), -np.zeros(5)):
        assert cr.sort(values).numpy().tobytes() == np.sort(values, kind="stable").tobytes()


def test_unique_along_the_axis_of_a_vector_is_unique():
    x = np.array([3.0, np.nan, 1.0, np.nan])
    same(cr.unique(x, axis=0, return_counts=True), np.unique(x, axis=0, return_counts=True))
    same(cr.unique(x, axis=-1, return_inverse=True), np.unique(x, axis=-1, return_inverse=True))
