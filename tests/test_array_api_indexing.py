"""Indexing and assignment with random keys, against NumPy; derivatives of assignment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import assignment
from chainrule.errors import DTypeError, IndexOutOfRangeError, PlaceholderError, ShapeError

EXTENTS = st.sampled_from([0, 1, 2, 3, 3, 4])


@st.composite
def shapes_and_keys(draw):
    """A shape and a key of every kind of part: mostly one that fits, sometimes one that is out of range."""
    shape = tuple(draw(st.lists(EXTENTS, max_size=4)))
    common = draw(st.sampled_from([(), (2,), (3,), (2, 1), (1, 3)]))
    parts: list = []
    axis = 0
    while axis < len(shape) and draw(st.integers(0, 6)):
        extent = shape[axis]
        kind = draw(st.sampled_from(["number", "slice", "slice", "new", "array", "array", "mask", "ellipsis", "bool"]))
        if kind == "number":
            part = draw(st.integers(-extent - 1, extent) if draw(st.integers(0, 30)) == 0 else _within(extent))
            parts.append(
                draw(st.sampled_from([int, np.int64, np.asarray, cr.asarray]))(part) if extent else slice(None)
            )
            axis += 1
        elif kind == "slice":
            bound = st.none() | st.integers(-extent - 2, extent + 2)
            parts.append(slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -2, 3]))))
            axis += 1
        elif kind == "new":
            parts.append(None)
        elif kind == "array" and extent:
            shaped = draw(st.sampled_from([common, (), tuple(1 for _ in common)]))
            values = draw(st.lists(_within(extent), min_size=_size(shaped), max_size=_size(shaped)))
            part = np.asarray(values, np.int64).reshape(shaped)
            parts.append(cr.asarray(part) if draw(st.booleans()) else part)
            axis += 1
        elif kind == "mask":
            rank = draw(st.integers(1, len(shape) - axis))
            covered = tuple(draw(st.sampled_from([n] * 9 + [0])) for n in shape[axis : axis + rank])
            bits = draw(st.lists(st.booleans(), min_size=_size(covered), max_size=_size(covered)))
            mask = np.asarray(bits, bool).reshape(covered)
            parts.append(cr.asarray(mask) if draw(st.booleans()) else mask)
            axis += rank
        elif kind == "ellipsis" and not any(part is Ellipsis for part in parts):
            parts.append(Ellipsis)
            axis += draw(st.integers(0, len(shape) - axis))
        elif kind == "bool" and draw(st.integers(0, 4)) == 0:
            parts.append(draw(st.booleans()))
    return shape, tuple(parts)


def _within(extent: int):
    return st.integers(-extent, max(extent - 1, -extent))


def _size(shape) -> int:
    return int(np.prod(shape, dtype=int))


def for_numpy(key):
    return tuple(part.numpy() if isinstance(part, cr.Tensor) else part for part in key)


def attempt(function):
    """The result, or None for an error that says that key or value do not fit."""
    try:
        return function()
    except (IndexError, ValueError):
        return None


@given(shapes_and_keys(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_any_key(case, random):
    shape, key = case
    array = np.arange(float(_size(shape))).reshape(shape)
    wanted = attempt(lambda: array[for_numpy(key)])
    found = attempt(lambda: cr.asarray(array)[key].numpy())
    assert (wanted is None) == (found is None)
    if wanted is None:
        return
    assert found.shape == wanted.shape and np.array_equal(found, wanted)
    fitting = tuple(1 if random.random() < 0.4 else extent for extent in wanted.shape)[random.randrange(4) :]
    for part in (-1.0, -1.0 - np.arange(float(_size(wanted.shape))).reshape(wanted.shape), -np.ones(fitting)):
        expected = array.copy()
        expected = attempt(lambda: (expected.__setitem__(for_numpy(key), part), expected)[1])  # noqa: B023
        for small in (1 << 14, -1):  # slices by way of places, and by padding
            assignment.SMALL, kept = small, assignment.SMALL
            try:
                x = cr.asarray(array)
                written = attempt(lambda: (x.__setitem__(key, part), x.numpy())[1])  # noqa: B023
            finally:
                assignment.SMALL = kept
            assert (written is None) == (expected is None)
            assert expected is None or np.array_equal(written, expected)


def test_an_ellipsis_for_no_axis_keeps_arrays_apart():
    array = np.arange(24).reshape(2, 3, 4)
    key = (slice(None), np.array([0, 1]), Ellipsis, np.array([2, 3]))
    assert array[key].shape == (2, 2) and np.array_equal(cr.asarray(array)[key].numpy(), array[key])


A = np.random.default_rng(0).normal(size=(4, 5, 3))
KEYS = [
    0, (1, 2), slice(1, 3), (slice(None), slice(None, None, -2)), (..., 1), np.array([0, 2]),
    (slice(None), np.array([1, 1, 4])), A[..., 0] > 0, A > 0, (None, 2),
    (np.array([0, 1]), slice(None), np.array([2, 0])),
    A[:, 0, 0] > 0, (slice(None), A[0, :, 0] > 0), ...,
]  # fmt: skip


@pytest.mark.parametrize("small", [1 << 14, -1])
@pytest.mark.parametrize("number", range(len(KEYS)))
def test_assignment_is_differentiable(number, small, monkeypatch):
    monkeypatch.setattr(assignment, "SMALL", small)
    key = KEYS[number]
    rng = np.random.default_rng(1)
    weights, part = rng.normal(size=A.shape), rng.normal(size=A[key].shape)

    def loss(x, v):
        y = x * 1.0
        y[key] = v * v
        return (y * weights).sum()

    source = np.full(A.shape, -1)
    source[key] = np.arange(part.size).reshape(part.shape)
    kept = np.where(source < 0, weights, 0)
    of_part = np.zeros(part.size)
    of_part[source[source >= 0]] = weights[source >= 0]  # of equal places the last one counts
    of_part = of_part.reshape(part.shape) * 2 * part
    x, v = cr.asarray(A), cr.asarray(part)
    gradients = cr.grad(loss, argnums=(0, 1))(x, v)
    np.testing.assert_allclose(gradients[0].numpy(), kept)
    np.testing.assert_allclose(gradients[1].numpy(), of_part)
    directions = rng.normal(size=A.shape), rng.normal(size=part.shape)
    tangent = cr.jvp(loss, (x, v), tuple(map(cr.asarray, directions)))[1]
    np.testing.assert_allclose(tangent.item(), (kept * directions[0]).sum() + (of_part * directions[1]).sum())
    value = loss(x, v).item()
    np.testing.assert_allclose(cr.compile(loss)(x, v).item(), value)
    batched = cr.vmap(loss)(cr.stack([x, x + 1]), cr.stack([v, v + 1])).numpy()
    np.testing.assert_allclose(batched, [value, loss(x + 1, v + 1).item()])


def test_assignment_at_placeholders():
    rng = np.random.default_rng(2)
    x = cr.asarray(A)

    def at_rows(x, i, v):
        y = x * 1
        y[i] = v
        return y

    def apart(x, i, j, v):
        y = x * 1
        y[i, :, j] = v
        return y

    index, part = np.array([0, 2, 2, -1]), rng.normal(size=(4, 5, 3))
    wanted = A.copy()
    wanted[index] = part
    arguments = (x, cr.asarray(index), cr.asarray(part))
    assert np.array_equal(cr.compile(at_rows)(*arguments).numpy(), wanted)
    assert np.array_equal(cr.vmap(at_rows)(*(cr.stack([a, a]) for a in arguments))[1].numpy(), wanted)
    i, j, part = np.array([[0], [3]]), np.array([0, 2]), rng.normal(size=(2, 2, 5))
    wanted = A.copy()
    wanted[i, :, j] = part
    assert np.array_equal(cr.compile(apart)(x, *map(cr.asarray, (i, j, part))).numpy(), wanted)
    single = cr.compile(at_rows)(x, cr.asarray(-1), cr.asarray(7.0, dtype=cr.float64))
    assert (single.numpy()[-1] == 7).all() and np.array_equal(single.numpy()[:-1], A[:-1])
    with pytest.raises(IndexOutOfRangeError):
        cr.compile(at_rows)(x, cr.asarray([0, 1, 2, 4]), cr.asarray(rng.normal(size=(4, 5, 3)))).numpy()


def test_masks_that_are_placeholders():
    @cr.compile
    def written(x, mask):
        y = x * 1
        y[mask] = 0.0
        y[mask[:, 0, 0]] = cr.asarray(np.arange(3.0))  # one row for whatever the mask holds
        return y

    wanted = A.copy()
    wanted[A > 0] = 0
    wanted[A[:, 0, 0] > 0] = np.arange(3.0)
    assert np.array_equal(written(cr.asarray(A), cr.asarray(A > 0)).numpy(), wanted)

    def too_much(x, mask):
        x[mask] = cr.asarray(np.ones(3))

    with pytest.raises(PlaceholderError) as caught:
        cr.compile(too_much)(cr.asarray(A), cr.asarray(A > 0))
    first, second, third = str(caught.value).splitlines()
    problem = "the shape of the part depends on the values of a mask that is a placeholder"
    assert first == f"setitem: {problem}; operands float64[4, 5, 3], bool[4, 5, 3]"
    assert "test_array_api_indexing.py" in second and third == "help: use where(mask, value, x)"


def test_dtypes_of_assignment():
    x = cr.zeros(3)
    x[0], x[1], x[2] = True, 2, cr.asarray(3.5, dtype=cr.float64)
    assert x.tolist() == [1, 2, 3.5] and x.dtype is cr.float32
    z = cr.zeros(2, dtype=cr.complex64)
    z[0], z[1:] = 1j, cr.asarray([2.0])
    assert z.tolist() == [1j, 2]
    whole, truth = cr.zeros(2, dtype=cr.int8), cr.zeros(2, dtype=cr.bool)
    truth[1] = True
    assert truth.tolist() == [False, True]
    for target, value, text in (
        (whole, 1.5, "setitem: the float 1.5 does not mix with int8"),
        (whole, 300, "setitem: 300 does not fit int8, whose range is -128 to 127"),
        (whole, cr.asarray(1.5), "setitem: the value's dtype does not fit; operands int8[2], float32[]"),
        (truth, 1, "setitem: the number 1 does not mix with bool"),
        (cr.zeros(2), 1j, "setitem: the complex number 1j does not mix with float32"),
    ):
        with pytest.raises(DTypeError) as caught:
            target[0] = value
        assert str(caught.value).splitlines()[0] == text


def test_shapes_of_assignment():
    x = cr.zeros((2, 3))
    x[0] = cr.ones((1, 1, 3))
    assert x.tolist() == [[1, 1, 1], [0, 0, 0]]
    with pytest.raises(ShapeError) as caught:
        x[0] = cr.ones(2)
    assert str(caught.value).splitlines()[0] == (
        "setitem: a value of shape (2,) does not fit the part of shape (3,); operands float32[2, 3], float32[2]"
    )
    with pytest.raises(IndexOutOfRangeError, match=r"^index: index 2 is out of range for axis 0 with 2 elements"):
        x[2] = 0.0
    with pytest.raises(IndexOutOfRangeError, match=r"^setitem: axis 0 of the mask has 3 elements, axis 0 has 2"):
        x[cr.asarray([True, False, True])] = 0.0
