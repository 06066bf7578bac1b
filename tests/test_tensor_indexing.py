"""Indexing and assignment against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import DTypeError, IndexOutOfRangeError, PlaceholderError, ShapeError

A = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
I1, I2 = np.array([0, 2, -1]), np.array([[1], [0]])
MASK = A > 11

KEYS = [
    0, -1, (1, 2), (0, 1, 3), slice(None), slice(1, None), slice(None, None, -1), (slice(None), slice(2, None, -2)),
    (slice(None), slice(5, 2)), (Ellipsis, 0), (0, Ellipsis), Ellipsis, None,
    (None, Ellipsis, None), (slice(None), None, 1),
    (slice(None), I1), (I2, slice(None)), (slice(None), I1, slice(1, 3)), (I2, I1), (I2, slice(None), I1),
    (slice(None), I1, I1), (0, slice(None), I1), (slice(None), I1, 0), (0, I1), (Ellipsis, I1),
    (slice(None), slice(None), I1),
    MASK, A[:, :, 0] > 5, (slice(None), A[0] > 5), (0, A[0] > 5), [1, 0], (slice(None), [2, 0]),
    (slice(None), A[0, :, 0] > 3, slice(1, None)), (slice(None), A[0, :, 0] > 3, I1[:2]), (I2[:, 0], None, I1[:2]),
    (slice(None), np.array(1)), (np.int64(1), np.array(2)), [], (None, I2, I1), (1, slice(None), I2),
    (slice(None), I2, 1),
]  # fmt: skip


def convert(key):
    if isinstance(key, tuple):
        return tuple(convert(k) for k in key)
    return cr.asarray(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("number", range(len(KEYS)))
def test_getitem(number):
    key = KEYS[number]
    wanted = A[key]
    for used in (key, convert(key)):
        found = cr.asarray(A)[used]
        assert found.shape == wanted.shape
        assert np.array_equal(found.numpy(), wanted)


@pytest.mark.parametrize("number", range(len(KEYS)))
def test_setitem(number):
    key = KEYS[number]
    for value in (7.0, np.arange(A[key].size, dtype=np.float32).reshape(A[key].shape)):
        wanted = A.copy()
        wanted[key] = value
        x = cr.asarray(A)
        x[convert(key)] = cr.asarray(value) if isinstance(value, np.ndarray) else value
        assert np.array_equal(x.numpy(), wanted)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_random_slices(data):
    key = tuple(data.draw(st.slices(n)) for n in A.shape[: data.draw(st.integers(1, 3))])
    assert np.array_equal(cr.asarray(A)[key].numpy(), A[key])
    x, wanted = cr.asarray(A), A.copy()
    x[key] = -1.0
    wanted[key] = -1
    assert np.array_equal(x.numpy(), wanted)


def test_results_and_assignments_do_not_alias():
    x = cr.asarray(A)
    row = x[0]
    x[0] = 0.0
    assert np.array_equal(row.numpy(), A[0])
    y = x.detach()
    y[1] = 5.0
    assert np.array_equal(x[1].numpy(), A[1])
    x[0, 1] += 1
    assert x[0, 1].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "key, kind, text",
    [
        (2, IndexOutOfRangeError, "index 2 is out of range for axis 0 with 2"),
        ((0, -4), IndexOutOfRangeError, "axis 1"),
        ((0, 0, 0, 0), IndexOutOfRangeError, "4 indices for 3 axes"),
        ((Ellipsis, Ellipsis), IndexOutOfRangeError, "ellipsis"),
        (1.0, DTypeError, "1.0"),
        (np.array([0.5]), DTypeError, "float64"),
        (np.array([True, False, True]), IndexOutOfRangeError, "3 elements"),
        (np.array([5]), IndexOutOfRangeError, "5"),
    ],
)
def test_errors(key, kind, text):
    with pytest.raises(kind, match=text):
        cr.asarray(A)[key].numpy()


def test_assignment_errors():
    x = cr.asarray(A)
    with pytest.raises(ShapeError, match="shape"):
        x[0] = cr.zeros(3)
    with pytest.raises(IndexOutOfRangeError):
        x[5] = 0.0
    with pytest.raises(DTypeError):
        i = cr.arange(3)
        i[0] = cr.tensor(1.5)


def test_gradients_flow_through_indexing():
    x = cr.tensor(A.copy(), requires_grad=True)
    (x[1, ::2] * 2).sum().backward()
    wanted = np.zeros_like(A)
    wanted[1, ::2] = 2
    assert np.array_equal(x.grad.numpy(), wanted)
    x.grad = None
    x[:, [0, 0, 2]].sum().backward()
    wanted = np.zeros_like(A)
    np.add.at(wanted, (slice(None), [0, 0, 2]), 1)
    assert np.array_equal(x.grad.numpy(), wanted)
    x.grad = None
    x[MASK].sum().backward()
    assert np.array_equal(x.grad.numpy(), MASK)

    def assigned(t, v):
        y = t * 1
        y[0] = v
        return (y * y).sum()

    gx, gv = cr.grad(assigned, argnums=(0, 1))(cr.asarray(A), cr.asarray(A[1]))
    assert np.array_equal(gx.numpy()[0], np.zeros((3, 4))) and np.array_equal(gv.numpy(), 2 * A[1])


def test_indexing_under_vmap():
    x = cr.asarray(A)
    picked = cr.vmap(lambda row, i: row[i])(x, cr.tensor([2, 0]))
    assert np.array_equal(picked.numpy(), np.stack([A[0, 2], A[1, 0]]))

    def put(row, i):
        row = row * 1
        row[i] = 9.0
        return row

    found = cr.vmap(put)(x, cr.tensor([2, 0])).numpy()
    assert (found[0, 2] == 9).all() and (found[1, 0] == 9).all() and (found == 9).sum() == 8
    with pytest.raises(PlaceholderError, match="where"):
        cr.vmap(lambda row: row[row > 1])(x)

    def masked(row):
        row = row * 1
        row[row > 5] = 0.0
        return row

    assert np.array_equal(cr.vmap(masked)(x).numpy(), np.where(A > 5, 0, A))
