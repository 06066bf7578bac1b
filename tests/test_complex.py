"""Complex tensors: dtypes, conversion, and every function against NumPy."""

from __future__ import annotations

import copy
import itertools
import pickle

import numpy as np
import pytest

import chainrule as cr
from chainrule.dtypes import ALL
from chainrule.errors import DTypeError, ShapeError

random = np.random.default_rng(0)
COMPLEX = (cr.complex64, cr.complex128)


def numbers(*shape, dtype="complex128"):
    """Complex numbers from a normal distribution."""
    return np.asarray(random.normal(size=shape) + 1j * random.normal(size=shape)).astype(dtype)


Z, W = numbers(3, 4), numbers(3, 4)
ANY = [complex(a, b) for a, b in itertools.product((0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan), repeat=2)]


def close(found, wanted, tolerance=1e-14):
    """Equal types, and values up to a relative `tolerance`; NaN equals NaN in each part."""
    found, wanted = found.numpy(), np.asarray(wanted)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    np.testing.assert_allclose(found.real, wanted.real, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found.imag, wanted.imag, rtol=tolerance, atol=tolerance)


# -- dtypes -----------------------------------------------------------------------------------------------------------


def test_dtypes():
    assert cr.complex64.kind == cr.complex128.kind == "c"
    assert (cr.complex64.itemsize, cr.complex128.itemsize) == (8, 16)
    assert cr.zeros((2,), dtype=complex).dtype is cr.complex64
    assert cr.zeros((2,), dtype="complex128").dtype is cr.complex128
    assert cr.zeros((2,), dtype=np.complex64).dtype is cr.complex64
    assert pickle.loads(pickle.dumps(cr.complex64)) is cr.complex64
    assert cr.isdtype(cr.complex64, "complex floating") and cr.isdtype(cr.complex64, "numeric")
    assert not cr.isdtype(cr.float32, "complex floating") and not cr.isdtype(cr.complex64, "real floating")


@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize("other", ALL, ids=lambda d: d.name)
def test_promotion(dtype, other):
    """The standard's table: floating and complex dtypes mix, in the wider precision; others do not."""
    if other.kind not in "fc":
        with pytest.raises(DTypeError, match="do not mix"):
            cr.result_type(dtype, other)
        return
    narrow = other.is_half or other in (cr.float32, cr.complex64)
    wanted = cr.complex64 if dtype is cr.complex64 and narrow else cr.complex128
    assert cr.result_type(dtype, other) is cr.result_type(other, dtype) is wanted
    assert (cr.ones((2,), dtype=dtype) + cr.ones((2,), dtype=other)).dtype is wanted
    assert cr.can_cast(other, dtype) is (wanted is dtype)


def test_limits_are_those_of_the_parts():
    assert cr.finfo(cr.complex64) == cr.finfo(cr.float32)
    assert cr.finfo(cr.complex128).dtype is cr.float64
    with pytest.raises(DTypeError):
        cr.iinfo(cr.complex64)


def test_python_numbers_are_weak():
    single, double = cr.tensor([1.0, 2.0]), cr.tensor(np.ones(2))
    assert cr.result_type(single, 1j) is cr.complex64 and cr.result_type(double, 1j) is cr.complex128
    assert (single * 1j).dtype is (1j * single).dtype is (single.astype(complex) + 1).dtype is cr.complex64
    assert (double - 1j).dtype is (1j - double).dtype is (double.astype(cr.complex128) / 2.5).dtype is cr.complex128
    assert cr.where(cr.tensor([True, False]), single, 1j).dtype is cr.complex64
    assert cr.where(cr.tensor([True, False]), 1.0, 1j).dtype is cr.complex64
    assert (single + np.complex128(1j)).dtype is cr.complex128  # a NumPy scalar is an array without axes
    close(single * 1j, np.array([1j, 2j], "complex64"))
    close(1j - double, np.array([1j - 1, 1j - 1]))
    with pytest.raises(DTypeError, match="the complex 1j does not mix with int64"):
        cr.tensor([1, 2]) * 1j


def test_numbers_of_either_sign_of_zero_stay_apart():
    x = cr.tensor(np.array([1j]))
    close(x * complex(0.0, 0.0), np.array([1j]) * complex(0.0, 0.0))
    close(x * complex(0.0, -0.0), np.array([1j]) * complex(0.0, -0.0))
    found = (x + complex(-0.0, -0.0)).numpy(), (x + complex(0.0, 0.0)).numpy()
    assert [str(part) for part in found] == [str(np.array([1j]) + complex(-0.0, -0.0)), str(np.array([1j]) + 0j)]


def test_making():
    assert cr.tensor([1 + 2j, 3]).dtype is cr.complex64 and cr.asarray([[1, 2.5], [3j, 4]]).dtype is cr.complex64
    assert cr.asarray(1j).dtype is cr.complex64 and cr.asarray(Z).dtype is cr.complex128
    close(cr.asarray(Z), Z)
    close(cr.full((2, 3), 1 - 2j), np.full((2, 3), 1 - 2j, "complex64"))
    close(cr.full_like(cr.asarray(Z), 2j), np.full_like(Z, 2j))
    close(cr.zeros_like(cr.asarray(Z)), np.zeros_like(Z))
    close(cr.ones((2,), dtype=cr.complex128), np.ones(2, "complex128"))
    close(cr.eye(3, dtype=cr.complex64), np.eye(3, dtype="complex64"))
    close(cr.linspace(0, 1 + 2j, 5), np.linspace(0, 1 + 2j, 5).astype("complex64"), 1e-7)
    close(cr.tril(cr.asarray(Z)), np.tril(Z))
    close(cr.tensor([1.0, 2.0], dtype=cr.complex128), np.array([1, 2], "complex128"))
    assert str(cr.tensor([1 + 2j])) == "tensor([1.+2.j], dtype=complex64)"


def test_reading():
    z = cr.tensor(1 - 2j)
    assert z.item() == complex(z) == 1 - 2j and type(z.item()) is complex
    assert cr.tensor([1j, 2]).tolist() == [1j, 2 + 0j]
    assert bool(cr.tensor(1j)) and not bool(cr.tensor(0j))
    for what in (int, float):
        with pytest.raises(DTypeError, match=f"{what.__name__}: a complex number does not become a real one"):
            what(z)
    close(pickle.loads(pickle.dumps(cr.asarray(Z))), Z)
    close(copy.deepcopy(cr.asarray(Z)), Z)
    np.testing.assert_array_equal(np.asarray(cr.asarray(Z)), Z)


def test_casts():
    close(cr.asarray(Z).astype(cr.complex64), Z.astype("complex64"))
    for source in (cr.float16, cr.bfloat16, cr.float64, cr.int32, cr.uint8, cr.bool):
        close(cr.tensor([0, 1, 1], dtype=source).astype(cr.complex64), np.array([0, 1, 1], "complex64"))
    close(cr.tensor([0j, 1j, -0j]).astype(cr.bool), np.array([False, True, False]))


LINE = r"\nrecorded at .*test_complex\.py:\d+\nhelp: "
REFUSALS = {
    "cast": (lambda z: z.astype(cr.float64), r"cast: complex numbers do not become float64 ones; operands "
             rf"complex128\[3, 4\]{LINE}take real\(x\), imag\(x\) or abs\(x\)"),
    "integers": (lambda z: z.astype(cr.int64), "cast: complex numbers do not become int64 ones"),
    "list": (lambda z: cr.tensor([1.0, 2j], dtype=cr.float32), "tensor: complex numbers do not become float32 ones"
             rf"{LINE}take the real part first, as in real\(x\), or the absolute value"),
    "array": (lambda z: cr.tensor(Z, dtype=cr.float32), "tensor: complex numbers do not become float32 ones"),
    "full": (lambda z: cr.full((2,), 1j, dtype=cr.float32), "the complex number 1j does not mix with float32"),
    "arange": (lambda z: cr.arange(0j, 3), "arange: complex numbers have no order, in which there is a next one"),
    "order": (lambda z: z < z, r"lt: is not defined for complex numbers; operands complex128\[3, 4\], "
              rf"complex128\[3, 4\]{LINE}take real\(x\), imag\(x\) or abs\(x\)"),
    "maximum": (lambda z: cr.maximum(z, z), "maximum: is not defined for complex numbers"),
    "max": (lambda z: z.max(), "max: complex numbers have no order"),
    "argmin": (lambda z: z.argmin(0), "argmin: complex numbers have no order"),
    "sort": (lambda z: cr.sort(z), "sort: complex numbers have no order"),
    "floor": (lambda z: cr.floor(z), "floor: is not defined for complex numbers"),
    "floor_divide": (lambda z: z // z, "floor_divide: is not defined for complex numbers"),
    "bits": (lambda z: z & z, "bitwise_and: needs bool, signed, unsigned operands"),
    "logsumexp": (lambda z: cr.logsumexp(z), "logsumexp: a floating dtype is needed"),
    "view_as_real": (lambda z: cr.view_as_real(z.real), "view_as_real: a complex tensor is needed"),
    "half": (lambda z: cr.complex(cr.ones((2,), dtype=cr.float16), 1.0), "complex: needs float32 or float64 operands"),
    "whole": (lambda z: cr.complex(cr.tensor([1]), cr.tensor([1])), "complex: needs floating operands"),
    "setitem": (lambda z: cr.zeros((2,)).__setitem__(0, z[0, 0]), "setitem: the value's dtype does not fit"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
def test_refusals(case):
    function, text = case
    with pytest.raises(DTypeError, match=text):
        function(cr.asarray(Z))


def test_view_as_complex_needs_two_parts():
    with pytest.raises(ShapeError, match="view_as_complex: the last axis has 3 elements, not 2"):
        cr.view_as_complex(cr.ones((2, 3)))


# -- functions --------------------------------------------------------------------------------------------------------

UNARY = {
    name: getattr(np, other)
    for name, other in {
        **{name: name for name in (
            "abs sqrt exp expm1 log log1p log2 log10 sin cos tan sinh cosh tanh square reciprocal sign real imag conj "
            "negative positive round isfinite isinf isnan angle"
        ).split()},
        **{f"a{name}": f"arc{name}" for name in "sin cos tan sinh cosh tanh".split()},
    }.items()
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    z = numbers(4, 5, dtype=dtype)
    close(getattr(cr, name)(cr.asarray(z)), UNARY[name](z), 3e-6 if dtype == "complex64" else 1e-14)


@pytest.mark.parametrize("name", [name for name in UNARY if name != "expm1"])
def test_special_values(name):
    """Whatever NumPy makes of infinities, NaN and zeros of both signs."""
    z = np.array(ANY)
    with np.errstate(all="ignore"):
        close(getattr(cr, name)(cr.asarray(z)), UNARY[name](z))


def test_special_values_of_the_standard():
    """Where NumPy has others."""
    inf, nan = np.inf, np.nan
    cases = [  # real and imaginary part of the operand, of the result
        (0.0, 0.0, 0.0, 0.0), (-0.0, 0.0, 0.0, 0.0), (inf, 0.0, inf, 0.0), (-inf, inf, -1.0, 0.0), (inf, inf, inf, nan),
        (-inf, nan, -1.0, 0.0), (inf, nan, inf, nan), (nan, 0.0, nan, 0.0), (nan, 1.0, nan, nan), (2.0, inf, nan, nan),
        (-inf, 1.0, -1.0, 0.0),
    ]  # fmt: skip
    for a, b, real, imag in cases:
        found = cr.expm1(cr.asarray(np.array(complex(a, b)))).item()
        np.testing.assert_array_equal([abs(found.real) if real == inf else found.real, found.imag], [real, imag])
    assert str(cr.expm1(cr.asarray(np.array(complex(-0.0, -0.0)))).item()) == "-0j"
    for a, b in ((inf, 2.0), (-inf, 2.0), (inf, -2.0), (inf, -0.0)):
        found = cr.tanh(cr.asarray(np.array(complex(a, b)))).item()
        assert found.real == np.sign(a) and found.imag == 0 and np.signbit(found.imag) == np.signbit(b)


def test_logarithms_near_one():
    """log1p keeps the digits of small numbers, of which NumPy loses those of the real part."""
    z = np.array([1e-9 + 1e-9j, -3e-12 + 2e-7j, 1e-20j, 0.3 - 0.2j, complex(-0.0, 0.0)])
    parts = z.real.astype(np.longdouble), z.imag.astype(np.longdouble)
    wanted = np.log1p(parts[0] * (2 + parts[0]) + parts[1] ** 2) / 2, np.arctan2(parts[1], 1 + parts[0])
    found = cr.log1p(cr.asarray(z)).numpy()
    np.testing.assert_allclose(found.real, wanted[0].astype(float), rtol=1e-14)
    np.testing.assert_allclose(found.imag, wanted[1].astype(float), rtol=1e-14)


def test_sigmoid():
    z = np.concatenate([Z.ravel(), [1000 + 1j, -1000 + 1j]])
    close(cr.sigmoid(cr.asarray(z)), np.concatenate([1 / (1 + np.exp(-Z.ravel())), [1, 0]]), 1e-13)


def test_clipping_gradients():
    p = cr.tensor(Z, requires_grad=True)
    (abs(p) ** 2).sum().backward()
    size = cr.nn.utils.clip_grad_norm_([p], 0.5)
    assert size.item() == pytest.approx(np.linalg.norm(2 * Z)) and size.dtype is cr.float64
    close(p.grad, Z / np.linalg.norm(Z) / 2, 1e-6)


def test_other_unary():
    close(cr.rsqrt(cr.asarray(Z)), 1 / np.sqrt(Z))
    close(cr.var(cr.asarray(Z), axis=1), np.var(Z, axis=1))
    close(cr.std(cr.asarray(Z), correction=1), np.std(Z, ddof=1))
    assert cr.angle(cr.tensor([1.0, -1.0, 0.0])).tolist() == np.angle(np.array([1, -1, 0], "float32")).tolist()


@pytest.mark.parametrize("name", "add subtract multiply divide pow equal not_equal".split())
def test_binary(name):
    wanted = getattr(np, {"pow": "power"}.get(name, name))
    function = getattr(cr, name)
    close(function(cr.asarray(Z), cr.asarray(W)), wanted(Z, W), 1e-13)
    close(function(cr.asarray(Z), cr.asarray(W[0])), wanted(Z, W[0]), 1e-13)
    close(function(cr.asarray(Z), cr.asarray(W.real)), wanted(Z, W.real), 1e-13)
    close(function(cr.asarray(Z), 2), wanted(Z, 2), 1e-13)


def test_powers():
    z = cr.asarray(Z)
    for exponent in (-1, 0.5, 1, 2, 3, 4, -2.5, 1 + 1j):
        close(z**exponent, Z**exponent, 1e-13)
    close(2.0**z, 2.0**Z, 1e-13)
    close(cr.pow(cr.tensor(np.array([0j, 0j, 2j])), cr.tensor(np.array([0j, 2, 2]))), np.array([1, 0, -4 + 0j]))


def test_parts_and_pairs():
    z = cr.asarray(Z)
    close(z.real, Z.real)
    close(z.imag, Z.imag)
    close(z.conj(), Z.conj())
    close(cr.complex(z.real, z.imag), Z)
    close(cr.complex(z.real, 1.0), Z.real + 1j)
    close(cr.complex(z.real[0], z.imag), Z.real[0] + 1j * Z.imag)
    close(cr.polar(abs(z), z.angle()), Z)
    close(cr.view_as_real(z), np.stack([Z.real, Z.imag], -1))
    close(cr.view_as_complex(cr.view_as_real(z)), Z)
    close(z.mH, Z.conj().T)
    close(z.H, Z.conj().T)
    close(cr.adjoint(cr.asarray(np.stack([Z, W]))), np.stack([Z.conj().T, W.conj().T]))
    with pytest.raises(ShapeError, match="T: a matrix is needed"):
        cr.asarray(np.stack([Z, W])).H  # noqa: B018
    x = cr.tensor([1, 2])
    assert x.real is not None and cr.real(x).tolist() == [1, 2] and cr.imag(x).tolist() == [0, 0]
    assert cr.conj(x).tolist() == [1, 2] and cr.imag(cr.tensor([True])).dtype is cr.bool


REDUCTIONS = {
    "sum": np.sum, "prod": np.prod, "mean": np.mean, "all": np.all, "any": np.any, "cumulative_sum": np.cumsum,
    "cumulative_prod": np.cumprod, "count_nonzero": np.count_nonzero, "diff": np.diff,
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("axis", [0, 1])
def test_reductions(name, axis):
    z = Z * (np.abs(Z) > 0.7)
    close(getattr(cr, name)(cr.asarray(z), axis=axis), REDUCTIONS[name](z, axis=axis), 1e-13)


def test_products():
    a, b = cr.asarray(Z), cr.asarray(W)
    close(a @ b.mT, Z @ W.T, 1e-13)
    close(a @ b[0], Z @ W[0], 1e-13)
    close(a @ b.mT.real, Z @ W.T.real, 1e-13)
    close(cr.vecdot(a, b), np.sum(Z.conj() * W, -1), 1e-13)
    close(cr.tensordot(a, b, axes=2), np.tensordot(Z, W, 2), 1e-13)
    close(cr.tensordot(a, b, axes=([0], [0])), np.tensordot(Z, W, ([0], [0])), 1e-13)
    close(cr.einsum("ij,kj->ik", a, b), Z @ W.T, 1e-13)
    close(cr.einsum("ij,ij->", a, b), np.sum(Z * W), 1e-13)
    close(cr.einsum("ii->i", a @ b.mT), np.diagonal(Z @ W.T), 1e-13)
    close(cr.linalg.vector_norm(a, axis=1), np.linalg.norm(Z, axis=1))
    close(cr.linalg.vector_norm(a, ord=1), np.abs(Z).sum())
    close(cr.functional.conv1d(a[None], b[None]), np.array([[[np.sum(Z * W)]]]), 1e-13)


def test_moving():
    a, b = cr.asarray(Z), cr.asarray(W)
    close(a.reshape(2, 6), Z.reshape(2, 6))
    close(a.mT, Z.T)
    close(cr.broadcast_to(a[0], (2, 4)), np.broadcast_to(Z[0], (2, 4)))
    close(cr.concat([a, b], axis=1), np.concatenate([Z, W], 1))
    close(cr.concat([a, b.real], axis=0), np.concatenate([Z, W.real], 0))
    close(cr.stack([a, b]), np.stack([Z, W]))
    close(cr.flip(a, axis=1), Z[:, ::-1])
    close(cr.roll(a, 1, axis=1), np.roll(Z, 1, 1))
    close(cr.tile(a, (2, 1)), np.tile(Z, (2, 1)))
    close(cr.where(a.real > 0, a, b), np.where(Z.real > 0, Z, W))
    close(cr.where(a.real > 0, a, 1j), np.where(Z.real > 0, Z, 1j))


def test_indexing():
    a = cr.asarray(Z)
    close(a[1, ::2], Z[1, ::2])
    close(a[[0, 2], 1:], Z[[0, 2], 1:])
    close(a[a.imag > 0], Z[Z.imag > 0])
    close(cr.take(a, cr.tensor([3, 1]), axis=1), Z[:, [3, 1]])
    close(
        cr.take_along_axis(a, cr.tensor([[0], [1], [2]]), axis=1), np.take_along_axis(Z, np.array([[0], [1], [2]]), 1)
    )
    wanted = Z.copy()
    np.add.at(wanted, [0, 0, 2], W)
    close(cr.scatter_add(a, cr.tensor([0, 0, 2]), cr.asarray(W)), wanted)
    wanted = Z.copy()
    b = a.clone()
    for key, value in ((0, 1j), ((1, slice(2)), W[0, :2]), ((2, 3), 4.0), (np.abs(Z) > 2, 0)):
        wanted[key] = value
        b[key] = value
    close(b, wanted)
    close(a, Z)
    b.fill_(2 - 1j)
    close(b, np.full_like(Z, 2 - 1j))
    b.zero_()
    close(b, np.zeros_like(Z))


# -- compiled, batched, in loops --------------------------------------------------------------------------------------


def step(z, x):
    """Of everything a little: real and complex numbers, products, sums, movement."""
    y = cr.exp(z * 1j) * x + (z @ z.mH)[:, :1] / 3 - cr.concat([z, z], axis=1)[:, 2:6]
    return y, abs(y).sum(), y.real


def numpy_step(z, x):
    y = np.exp(z * 1j) * x + (z @ z.conj().T)[:, :1] / 3 - np.concatenate([z, z], 1)[:, 2:6]
    return y, np.abs(y).sum(), y.real


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_compiled(dtype):
    compiled = cr.compile(step)
    for _ in range(3):
        z = numbers(3, 4, dtype=dtype)
        x = random.normal(size=(3, 4)).astype(z.real.dtype)
        for found, wanted in zip(compiled(cr.asarray(z), cr.asarray(x)), numpy_step(z, x)):
            close(found, wanted, 2e-6 if dtype == "complex64" else 1e-13)


def test_numbers_are_inputs_of_compiled_functions():
    traced = []

    @cr.compile
    def scaled(z, by):
        traced.append(by)
        return z * by

    for by in (1j, 2 - 1j, 0.5j):
        close(scaled(cr.asarray(Z), by), Z * by, 1e-13)
    assert len(traced) == 1


def test_interpreter(monkeypatch):
    monkeypatch.setenv("CHAINRULE_BACKEND", "interpreter")
    for found, wanted in zip(step(cr.asarray(Z), cr.asarray(W.real)), numpy_step(Z, W.real)):
        close(found, wanted, 1e-13)


def test_vmap():
    stack = np.stack([Z, W])
    for axes, arguments in (((0, None), (stack, W.real)), ((0, 0), (stack, stack.imag))):
        found = cr.vmap(step, in_axes=axes)(*map(cr.asarray, arguments))
        wanted = [numpy_step(stack[i], arguments[1] if axes[1] is None else arguments[1][i]) for i in (0, 1)]
        for part, parts in zip(found, zip(*wanted)):
            close(part, np.stack(parts), 1e-13)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_scan(dtype, compiled):
    xs, start = numbers(5, 2, dtype=dtype), numbers(2, dtype=dtype)

    def loop(c, xs):
        c, stack = cr.scan(lambda c, x: (c * x + 0.5j, (c, abs(c))), c + c, xs)
        return c - 1, stack

    run = cr.compile(loop) if compiled else loop
    last, (stack, sizes) = run(cr.asarray(start), cr.asarray(xs))
    c, wanted = start + start, []
    for x in xs:
        wanted.append(c)
        c = (c * x + np.asarray(0.5j, dtype)).astype(dtype)
    tolerance = 1e-5 if dtype == "complex64" else 1e-13
    close(last, c - np.asarray(1, dtype), tolerance)
    close(stack, np.stack(wanted), tolerance)
    close(sizes, np.abs(np.stack(wanted)), tolerance)


def test_state_in_a_compiled_function():
    cell = cr.tensor(np.array([1j, 2.0]))

    @cr.compile
    def rotate(by):
        cell.copy_(cell * by)
        return cell.real

    for _ in range(3):
        rotate(cr.tensor(np.array(1j)))
    close(cell, np.array([1j, 2]) * (1j) ** 3)
