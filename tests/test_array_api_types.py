"""Type promotion, Python scalars, values without axes, and the errors of the array functions."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import AxisError, ConfigError, DTypeError, IndexOutOfRangeError, PlaceholderError, ShapeError
from chainrule.recording import MAXIMUM_AXES

SIGNED, UNSIGNED = ("int8", "int16", "int32", "int64"), ("uint8", "uint16", "uint32", "uint64")
FLOATING = ("float32", "float64")
NAMES = ("bool", *SIGNED, *UNSIGNED, *FLOATING, "complex64", "complex128")
#: what a signed and an unsigned type become, by the standard's table: rows int8 to int64, columns uint8 to uint64
MIXED = """
int16 int32 int64 -
int16 int32 int64 -
int32 int32 int64 -
int64 int64 int64 -
"""
#: rows and columns float32, float64, complex64, complex128
INEXACT = """
float32 float64 complex64 complex128
float64 float64 complex128 complex128
complex64 complex128 complex64 complex128
complex128 complex128 complex128 complex128
"""


def expected(first: str, second: str) -> str | None:
    """The name of the common dtype, None where the standard leaves it undefined."""
    if first == second:
        return first
    for family in (SIGNED, UNSIGNED):
        if first in family and second in family:
            return family[max(family.index(first), family.index(second))]
    if first in UNSIGNED and second in SIGNED:
        first, second = second, first
    if first in SIGNED and second in UNSIGNED:
        found = MIXED.split()[SIGNED.index(first) * 4 + UNSIGNED.index(second)]
        return None if found == "-" else found
    inexact = (*FLOATING, "complex64", "complex128")
    if first in inexact and second in inexact:
        return INEXACT.split()[inexact.index(first) * 4 + inexact.index(second)]
    return None


@pytest.mark.parametrize("first, second", list(itertools.product(NAMES, NAMES)))
def test_promotion(first, second):
    a, b = getattr(cr, first), getattr(cr, second)
    x, y = cr.ones(2, dtype=a), cr.ones(2, dtype=b)
    wanted = expected(first, second)
    joined = lambda u, v: cr.concat([u, v])  # noqa: E731
    chosen = lambda u, v: cr.where(cr.asarray([True, False]), u, v)  # noqa: E731
    arithmetic = operator.or_ if first == "bool" else operator.mul
    if wanted is None:
        for function in (cr.equal, joined, chosen, arithmetic, lambda u, v: cr.result_type(u, v.dtype)):
            with pytest.raises(DTypeError, match="mix"):
                function(x, y)
        assert not cr.can_cast(a, b)
        return
    wanted = getattr(cr, wanted)
    assert cr.result_type(a, b) is wanted and cr.result_type(x, b) is wanted and cr.result_type(x, y, a) is wanted
    for function in (joined, chosen, arithmetic):
        assert function(x, y).dtype is wanted
    assert cr.equal(x, y).dtype is cr.bool
    if a is not b and wanted is not b:
        assert cr.all(cr.equal(x, y))
    assert cr.can_cast(a, b) is (wanted is b) and cr.can_cast(x, b) is (wanted is b)


@pytest.mark.parametrize("name", NAMES)
def test_python_scalars_are_weak(name):
    dtype = getattr(cr, name)
    x = cr.ones(3, dtype=dtype)
    kind = dtype.kind
    takes = {"b": (bool,), "i": (int,), "u": (int,), "f": (int, float), "c": (int, float, complex)}[kind]
    for scalar in (True, 1, 1.0, 1j):
        if type(scalar) in takes:
            for result in (cr.where(x == x, x, scalar), cr.where(x == x, scalar, x)):
                assert result.dtype is dtype
            if kind != "b":
                assert (x + scalar).dtype is dtype and (scalar * x).dtype is dtype and cr.add(scalar, x).dtype is dtype
            assert cr.result_type(x, scalar) is dtype and cr.result_type(scalar, dtype) is dtype
        elif kind == "f" and type(scalar) is complex:
            wide = {"float32": cr.complex64, "float64": cr.complex128}[name]
            assert (x + scalar).dtype is wide and cr.result_type(dtype, scalar) is wide
        else:
            for function in (cr.where.__get__(x == x), lambda u, v: cr.equal(u, v), cr.result_type):
                with pytest.raises(DTypeError, match="mix"):
                    function(x, scalar)


def test_numbers_of_numpy_are_not_weak():
    assert (cr.ones(2) + np.float64(1)).dtype is cr.float64
    assert cr.result_type(cr.float32, np.float64(1)) is cr.float64


def test_result_type_of_scalars_alone():
    assert cr.result_type(1) is cr.int64 and cr.result_type(1, 2.0) is cr.float32
    assert cr.result_type(1, 2.0, 3j) is cr.complex64
    with pytest.raises(DTypeError, match=r"^result_type: at least one tensor, dtype or number is needed"):
        cr.result_type()
    with pytest.raises(DTypeError, match=r"^result_type: int8 and a Python float do not mix"):
        cr.result_type(cr.int8, 1.0)


@pytest.mark.parametrize("name", SIGNED + UNSIGNED)
def test_comparisons_with_numbers_beyond_the_range(name):
    x = cr.asarray([0, 1, 100], dtype=getattr(cr, name))
    info = cr.iinfo(x.dtype)
    relations = (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)
    for number in (info.max + 1, info.min - 1, 10**30, -(10**30), info.max, info.min, 1):
        for relation in relations:
            wanted = [relation(value, number) for value in (0, 1, 100)]
            assert relation(x, number).tolist() == wanted
            assert relation(number, x).tolist() == [relation(number, value) for value in (0, 1, 100)]
    assert cr.less(x, info.max + 1).tolist() == [True] * 3
    with pytest.raises(DTypeError) as caught:
        x + (info.max + 1)
    assert str(caught.value).splitlines()[0] == (
        f"add: {info.max + 1} does not fit {name}, whose range is {info.min} to {info.max}"
    )


def test_numbers_out_of_tensors():
    assert bool(cr.asarray(2)) and not bool(cr.asarray(0.0)) and bool(cr.asarray(1j))
    assert int(cr.asarray(2.9)) == 2 and int(cr.asarray(True)) == 1 and float(cr.asarray(3)) == 3.0
    assert complex(cr.asarray(1.5)) == 1.5 and complex(cr.asarray(1 + 2j)) == 1 + 2j
    assert operator.index(cr.asarray(7, dtype=cr.uint8)) == 7 and [1, 2, 3][cr.asarray(-1)] == 3
    for function in (int, float):
        with pytest.raises(DTypeError):
            function(cr.asarray(1j))
    with pytest.raises(DTypeError, match=r"^index: only integer tensors without axes stand for an index"):
        operator.index(cr.asarray([1]))
    with pytest.raises(ValueError):
        int(cr.asarray(float("nan")))
    with pytest.raises(OverflowError):
        int(cr.asarray(float("inf")))
    with pytest.raises(ShapeError, match=r"^bool: one element is needed, there are 2"):
        bool(cr.asarray([1, 2]))


def test_limits():
    for name in ("float32", "float64", "complex64", "complex128"):
        info, wanted = cr.finfo(getattr(cr, name)), np.finfo(name)
        assert (info.bits, info.eps, info.max, info.min, info.smallest_normal) == (
            wanted.bits, float(wanted.eps), float(wanted.max), float(wanted.min), float(wanted.smallest_normal),
        )  # fmt: skip
        assert info.dtype is getattr(cr, str(wanted.dtype)) and isinstance(info.eps, float)
    for name in SIGNED + UNSIGNED:
        info, wanted = cr.iinfo(cr.ones(1, dtype=getattr(cr, name))), np.iinfo(name)
        assert (info.bits, info.max, info.min) == (wanted.bits, wanted.max, wanted.min)
    with pytest.raises(DTypeError, match=r"^finfo: int8 is not a floating dtype"):
        cr.finfo(cr.int8)
    with pytest.raises(DTypeError, match=r"^iinfo: float32 is not an integer dtype"):
        cr.iinfo(cr.float32)


def test_isdtype():
    kinds = {
        "bool": "b", "signed integer": "i", "unsigned integer": "u", "integral": "iu", "real floating": "f",
        "complex floating": "c", "numeric": "iufc",
    }  # fmt: skip
    for name in NAMES:
        dtype = getattr(cr, name)
        for kind, letters in kinds.items():
            assert cr.isdtype(dtype, kind) is (dtype.kind in letters)
        assert cr.isdtype(dtype, dtype) and cr.isdtype(dtype, ("bool", dtype)) and not cr.isdtype(dtype, ())
    with pytest.raises(DTypeError, match=r"^isdtype: 'float' is no kind of dtype"):
        cr.isdtype(cr.float32, "float")


def test_astype():
    x = cr.asarray([1.7, -1.7, 0.0])
    assert x.astype(cr.int32).tolist() == [1, -1, 0] and x.astype(cr.bool).tolist() == [True, True, False]
    assert cr.astype(x, cr.float32, copy=False) is x and cr.astype(x, cr.float32) is not x
    assert cr.astype(x, cr.complex128, device="cpu").dtype is cr.complex128
    with pytest.raises(DTypeError, match="complex"):
        cr.asarray([1j]).astype(cr.float32)


def test_arange():
    for arguments in ((5,), (2, 7), (7, 2, -2), (0, 1, 0.25), (3.5,), (5, 0), (-3, 3)):
        found = cr.arange(*arguments)
        assert found.tolist() == np.arange(*arguments).tolist()
        assert found.dtype is (cr.int64 if all(isinstance(a, int) for a in arguments) else cr.float32)
    assert cr.arange(2**63, 2**63 + 2, dtype=cr.uint64).tolist() == [2**63, 2**63 + 1]
    assert cr.arange(start := 1, stop=4, step=start, dtype=cr.float64).tolist() == [1, 2, 3]
    with pytest.raises(ConfigError, match=r"^arange: the step is 0"):
        cr.arange(1, 2, 0)


def test_neighbours_and_signs():
    x = cr.asarray(np.array([1.0, -1.0, 0.0, -0.0, np.inf, np.nan, -np.nan]))
    for towards in (0.0, 2.0, -np.inf):
        wanted = np.nextafter(x.numpy(), towards)
        assert np.array_equal(cr.nextafter(x, towards).numpy(), wanted, equal_nan=True)
    assert cr.signbit(x).tolist() == np.signbit(x.numpy()).tolist()
    assert cr.signbit(cr.copysign(3.0, x)).tolist() == np.signbit(x.numpy()).tolist()
    assert cr.copysign(cr.asarray([1.0, -2.0]), -1.0).tolist() == [-1, -2]
    with pytest.raises(DTypeError, match=r"^nextafter: needs float32 or float64 operands"):
        cr.nextafter(cr.ones(2, dtype=cr.bfloat16), 2.0)


def test_repeat_with_counts():
    array = np.arange(6).reshape(2, 3)
    x = cr.asarray(array)
    for counts, axis in (([1, 0, 2], 1), ([2, 3], 0), ([2], 0), (np.arange(6), None), (np.int32(2), 1), ([0, 0], 0)):
        wanted = np.repeat(array, counts, axis)
        assert np.array_equal(cr.repeat(x, cr.asarray(counts), axis=axis).numpy(), wanted)
        assert np.array_equal(cr.repeat(x, counts, axis=axis).numpy(), wanted)
    y = cr.tensor([1.0, 2.0], requires_grad=True)
    (cr.repeat(y, [3, 1]) * cr.arange(4, dtype=cr.float32)).sum().backward()
    assert y.grad.tolist() == [3, 3]
    with pytest.raises(ShapeError, match=r"^repeat: 2 numbers of repetitions for 3 elements along axis 1; operands"):
        cr.repeat(x, [1, 2], axis=1)
    with pytest.raises(ConfigError, match=r"^repeat: elements are repeated -1 times"):
        cr.repeat(x, [1, -1], axis=0)
    with pytest.raises(DTypeError, match=r"^repeat: repeats are one whole number, or a vector of them"):
        cr.repeat(x, [1.0, 2.0], axis=0)
    with pytest.raises(PlaceholderError, match="numbers of repetitions, which are placeholders"):
        cr.compile(lambda a, n: cr.repeat(a, n, axis=0))(x, cr.asarray([1, 2]))


def test_diff():
    array = np.array([[1.0, 4, 9], [2, 3, 5]])
    x = cr.asarray(array)
    for options in ({}, {"axis": 0}, {"n": 2}, {"n": 0}, {"n": 5}, {"axis": 0, "n": 2}):
        assert np.array_equal(cr.diff(x, **options).numpy(), np.diff(array, **options))
    edge = np.array([[7.0], [8.0]])
    wanted = np.diff(array, prepend=edge, append=edge, n=2)
    assert np.array_equal(cr.diff(x, prepend=cr.asarray(edge), append=cr.asarray(edge), n=2).numpy(), wanted)
    with pytest.raises(ConfigError, match=r"^diff: differences are taken -1 times"):
        cr.diff(x, n=-1)


def test_clip():
    x = cr.asarray([-5, 0, 5], dtype=cr.int8)
    assert cr.clip(x, -1000, 3).tolist() == [-5, 0, 3] and cr.clip(x, -2, 1000).tolist() == [-2, 0, 5]
    assert cr.clip(x, min=cr.asarray([0, 1, 2], dtype=cr.int8)).tolist() == [0, 1, 5]
    with pytest.raises(DTypeError, match=r"^clip: 1000 does not fit int8"):
        cr.clip(x, 1000)
    with pytest.raises(DTypeError, match=r"^clip: the float 1.5 does not mix with int8"):
        cr.clip(x, 1.5)


MESSAGES = [
    (lambda: cr.sum(cr.ones((2, 3)), axis=2), AxisError, "sum: axis 2 is out of range for 2 axes"),
    (lambda: cr.expand_dims(cr.ones(2), axis=3), IndexError, "expand_dims: axis 3 is out of range for 2 axes"),
    (lambda: cr.squeeze(cr.ones((2, 1)), axis=0), ShapeError, "squeeze: axis 0 has 2 elements, not 1"),
    (lambda: cr.hypot(cr.arange(2), cr.arange(2)), DTypeError, "hypot: needs floating operands"),
    (lambda: cr.max(cr.zeros((2, 0)), axis=1), ShapeError, "max: axis 1 has 0 elements, so there is no greatest"),
    (lambda: cr.concat([cr.ones(2), cr.ones((2, 2))]), ShapeError, "concat: the operands have different numbers of"),
    (lambda: cr.take(cr.arange(3), cr.asarray([3])), IndexOutOfRangeError, "take: index 3 is out of range for axis 0"),
    (lambda: cr.zeros((1,) * 65), ShapeError, f"zeros: a shape has at most {MAXIMUM_AXES} axes, not 65"),
]


@pytest.mark.parametrize("call, kind, text", MESSAGES)
def test_messages(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    first, second = str(caught.value).splitlines()[:2]
    assert first.startswith(text)
    assert second.startswith("recorded at ") and "test_array_api_types.py" in second
