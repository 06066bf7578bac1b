"""The array functions against NumPy."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, IndexOutOfRangeError, ShapeError

rng = np.random.default_rng(0)
A = rng.normal(size=(3, 4)).astype(np.float32)
B = rng.normal(size=(3, 4)).astype(np.float32)
C = rng.normal(size=(2, 3, 4))
I = rng.integers(-5, 6, (3, 4))  # noqa: E741
J = rng.integers(1, 6, (3, 4))


def close(found, wanted, rtol=1e-6, atol=1e-6):
    assert isinstance(found, cr.Tensor)
    wanted = np.asarray(wanted)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found.numpy(), wanted, rtol=rtol, atol=atol)


@pytest.mark.parametrize(
    "name",
    "exp expm1 sin cos tan sinh cosh tanh asinh abs sign square floor ceil round trunc negative positive isfinite "
    "isnan isinf signbit".split(),
)
def test_unary(name):
    close(getattr(cr, name)(cr.asarray(A)), getattr(np, name)(A), 2e-6)
    assert getattr(cr, name)(cr.asarray(A)).dtype in (cr.float32, cr.bool)


@pytest.mark.parametrize("name", "log log1p sqrt asin acos atan atanh log2 log10 reciprocal".split())
def test_unary_on_the_unit_interval(name):
    x = (np.abs(A) / 4 + 0.01).astype(np.float32).clip(0, 0.99)
    aliases = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atanh": "arctanh"}
    close(getattr(cr, name)(cr.asarray(x)), getattr(np, aliases.get(name, name))(x), 2e-6)


def test_other_unary():
    close(cr.rsqrt(cr.asarray(A * A)), 1 / np.abs(A), 1e-5)
    close(cr.sigmoid(cr.asarray(A)), 1 / (1 + np.exp(-A)), 1e-5)
    close(cr.acosh(cr.asarray(A * A + 1.5)), np.arccosh(A * A + 1.5), 1e-5)
    assert cr.erf(0.0).item() == 0
    close(cr.floor(cr.asarray(I)), I)
    close(cr.bitwise_invert(cr.asarray(I)), ~I)
    close(cr.logical_not(cr.asarray(A > 0)), ~(A > 0))


@pytest.mark.parametrize("name", "add subtract multiply divide maximum minimum hypot logaddexp copysign".split())
def test_binary_broadcasts(name):
    f, g = getattr(cr, name), getattr(np, name)
    close(f(cr.asarray(A), cr.asarray(B)), g(A, B), 2e-6)
    close(f(cr.asarray(A), cr.asarray(B[0])), g(A, B[0]), 2e-6)
    close(f(cr.asarray(A[:, :1]), cr.asarray(B[:1])), g(A[:, :1], B[:1]), 2e-6)
    close(f(cr.asarray(A), cr.asarray(C)), g(A, C), 2e-6)


@pytest.mark.parametrize("name", "remainder floor_divide add multiply bitwise_and bitwise_or bitwise_xor".split())
def test_binary_on_integers(name):
    close(getattr(cr, name)(cr.asarray(I), cr.asarray(J)), getattr(np, name)(I, J))


def test_shifts_and_logic():
    close(cr.bitwise_left_shift(cr.asarray(J), 2), J << 2)
    close(cr.bitwise_right_shift(cr.asarray(I), 1), I >> 1)
    for name in ("logical_and", "logical_or", "logical_xor"):
        close(getattr(cr, name)(cr.asarray(A > 0), cr.asarray(B > 0)), getattr(np, name)(A > 0, B > 0))
    close(cr.atan2(cr.asarray(A), cr.asarray(B)), np.arctan2(A, B))
    close(cr.pow(cr.asarray(np.abs(A)), cr.asarray(B)), np.abs(A) ** B, 5e-6)


def test_comparisons():
    for name, operation in {
        "equal": np.equal, "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal,
        "greater": np.greater, "greater_equal": np.greater_equal,
    }.items():  # fmt: skip
        found = getattr(cr, name)(cr.asarray(I), cr.asarray(J))
        assert found.dtype is cr.bool
        close(found, operation(I, J))


@pytest.mark.parametrize("power", [2, 3, 4, 0.5, -1, 1, 0, 1.7, -2])
def test_powers(power):
    x = np.abs(A) + 0.1
    close(cr.asarray(x) ** power, x**power, 1e-5)
    close(cr.pow(cr.asarray(x), power), x**power, 1e-5)
    close(2.0 ** cr.asarray(x), 2.0**x, 1e-5)


def test_where_and_clip():
    close(cr.where(cr.asarray(A > 0), cr.asarray(A), 0.0), np.where(A > 0, A, 0))
    close(cr.where(cr.asarray(A > 0), 1, 2), np.where(A > 0, 1, 2))
    close(cr.where(cr.asarray(A[:, :1] > 0), cr.asarray(A), cr.asarray(B[0])), np.where(A[:, :1] > 0, A, B[0]))
    close(cr.clip(cr.asarray(A), -0.5, 0.5), A.clip(-0.5, 0.5))
    close(cr.clip(cr.asarray(I), min=0), I.clip(0))
    with pytest.raises(DTypeError, match="not bool"):
        cr.where(cr.asarray(I), 1, 2)


@pytest.mark.parametrize("name", "sum prod max min mean var std any all".split())
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (), (2, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name, axis, keepdims):
    x = C > 0 if name in ("any", "all") else C
    found = getattr(cr, name)(cr.asarray(x), axis=axis, keepdims=keepdims)
    close(found, getattr(np, name)(x, axis=axis, keepdims=keepdims), 1e-9)
    assert found.dtype is (cr.bool if name in ("any", "all") else cr.float64)


def test_reductions_of_integers_and_bools():
    assert cr.sum(cr.asarray(I.astype(np.int8))).dtype is cr.int64
    assert cr.sum(cr.asarray(I.astype(np.uint8))).dtype is cr.uint64
    assert cr.sum(cr.asarray(A > 0)).item() == (A > 0).sum()
    close(cr.max(cr.asarray(I), 1), I.max(1))
    assert cr.any(cr.asarray(I)).item() and not cr.all(cr.asarray([1, 0])).item()
    close(cr.count_nonzero(cr.asarray(I), axis=0), np.count_nonzero(I, axis=0))
    with pytest.raises(DTypeError, match="floating dtype"):
        cr.mean(cr.asarray(I))


def test_statistics():
    close(cr.var(cr.asarray(C), 1, correction=1), C.var(1, ddof=1), 1e-9)
    close(cr.std(cr.asarray(C), correction=1), C.std(ddof=1), 1e-9)
    close(cr.asarray(C).var(dim=0, correction=1), C.var(0, ddof=1), 1e-9)
    with pytest.raises(ConfigError, match="correction=1"):
        cr.asarray(C).var(dim=0)
    with pytest.raises(ConfigError, match="axis="):
        cr.asarray(C).max(dim=0)
    close(cr.logsumexp(cr.asarray(C * 500), -1), np.logaddexp.reduce(C * 500, -1), 1e-9)
    assert cr.logsumexp(cr.full((3,), -np.inf)).item() == -np.inf
    close(cr.average(cr.asarray(C), 0, weights=cr.asarray(np.abs(C))), np.average(C, 0, np.abs(C)), 1e-9)


def test_arg_reductions():
    for name in ("argmax", "argmin"):
        close(getattr(cr, name)(cr.asarray(C)), getattr(np, name)(C))
        close(getattr(cr, name)(cr.asarray(C), 1), getattr(np, name)(C, 1))
        close(getattr(cr, name)(cr.asarray(C), axis=-1, keepdims=True), getattr(np, name)(C, -1, keepdims=True))
    with pytest.raises(ShapeError, match="0 elements"):
        cr.max(cr.zeros((3, 0)), 1)


def test_cumulative():
    close(cr.cumulative_sum(cr.asarray(C), axis=1), C.cumsum(1), 1e-9)
    close(cr.cumulative_prod(cr.asarray(C), axis=-1), C.cumprod(-1), 1e-9)
    close(cr.cumulative_sum(cr.asarray(I[0]), include_initial=True), np.concatenate([[0], I[0].cumsum()]))
    close(cr.diff(cr.asarray(C), axis=1, n=2), np.diff(C, n=2, axis=1), 1e-9)


def test_movement():
    x = cr.asarray(C)
    close(cr.reshape(x, (4, -1)), C.reshape(4, -1))
    close(x.reshape(6, 4), C.reshape(6, 4))
    close(cr.permute_dims(x, (2, 0, 1)), C.transpose(2, 0, 1))
    close(x.permute(1, 0, 2), C.transpose(1, 0, 2))
    close(cr.moveaxis(x, 0, -1), np.moveaxis(C, 0, -1))
    close(cr.moveaxis(x, (0, 1), (2, 0)), np.moveaxis(C, (0, 1), (2, 0)))
    close(cr.expand_dims(x, -1), C[..., None])
    close(cr.expand_dims(x, (0, 2)), np.expand_dims(C, (0, 2)))
    close(cr.squeeze(cr.asarray(C[:1]), 0), C[0])
    close(cr.flip(x, 1), np.flip(C, 1))
    close(cr.flip(x), np.flip(C))
    close(cr.roll(x, 2), np.roll(C, 2))
    close(cr.roll(x, (1, -1), axis=(0, 2)), np.roll(C, (1, -1), (0, 2)))
    close(cr.tile(x, (2, 1, 3)), np.tile(C, (2, 1, 3)))
    close(cr.tile(x, (2,)), np.tile(C, 2))
    close(cr.repeat(x, 2, axis=1), np.repeat(C, 2, 1))
    close(cr.repeat(x, 2), np.repeat(C, 2))
    close(cr.broadcast_to(cr.asarray(A), (2, 3, 4)), np.broadcast_to(A, (2, 3, 4)))
    close(cr.pad(x, ((1, 0), (0, 2), (1, 1)), 5.0), np.pad(C, ((1, 0), (0, 2), (1, 1)), constant_values=5))
    close(x.flatten(1), C.reshape(2, -1))
    close(cr.concat([x, x], axis=1), np.concatenate([C, C], 1))
    close(cr.concat([x, x], axis=None), np.concatenate([C, C], None))
    close(cr.stack([x, x], axis=-1), np.stack([C, C], -1))
    assert [p.shape for p in cr.split(x, 3, axis=2)] == [(2, 3, 3), (2, 3, 1)]
    assert [p.shape for p in cr.chunk(x, 2, 2)] == [(2, 3, 2), (2, 3, 2)]
    close(cr.unstack(x, axis=1)[2], C[:, 2])
    close(cr.tril(x), np.tril(C))
    close(cr.triu(x, k=1), np.triu(C, 1))
    close(x.mT, C.swapaxes(-1, -2))
    assert cr.broadcast_shapes((3, 1), (4,)) == (3, 4)
    assert [t.shape for t in cr.broadcast_arrays(cr.zeros((3, 1)), cr.zeros(4))] == [(3, 4), (3, 4)]


def test_creation():
    close(cr.zeros((2, 3)), np.zeros((2, 3)))
    close(cr.ones(2, 3, dtype=cr.int32), np.ones((2, 3)))
    close(cr.full((2,), 7), [7, 7])
    assert cr.full((2,), 7).dtype is cr.int64 and cr.full((2,), 1.5).dtype is cr.float32
    close(cr.arange(5), np.arange(5))
    close(cr.arange(1, 2, 0.25), np.arange(1, 2, 0.25))
    close(cr.arange(5, 0, -2), np.arange(5, 0, -2))
    assert cr.arange(3).dtype is cr.int64 and cr.arange(3.0).dtype is cr.float32
    close(cr.linspace(0, 1, 5), np.linspace(0, 1, 5))
    close(cr.eye(3, 4, k=1), np.eye(3, 4, 1))
    close(cr.zeros_like(cr.asarray(I)), np.zeros_like(I))
    assert cr.ones_like(cr.asarray(A > 0)).dtype is cr.bool
    for indexing in ("xy", "ij"):
        for a, b in zip(
            cr.meshgrid(cr.arange(2), cr.arange(3), cr.arange(4), indexing=indexing),
            np.meshgrid(np.arange(2), np.arange(3), np.arange(4), indexing=indexing),
        ):
            close(a, b)
    close(cr.one_hot(cr.asarray([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    with pytest.raises(IndexOutOfRangeError):
        cr.one_hot(cr.asarray([3]), 3).numpy()


def test_searching():
    x = cr.asarray(C)
    close(cr.sort(x, axis=1), np.sort(C, 1))
    close(cr.argsort(x, axis=1), np.argsort(C, 1, stable=True) if np.__version__ > "2" else np.argsort(C, 1))
    close(cr.sort(x, descending=True), -np.sort(-C))
    close(cr.argsort(cr.asarray([1, 2, 2, 0]), descending=True), [1, 2, 0, 3])
    close(cr.take(x, cr.asarray([1, 0, -1]), axis=1), np.take(C, [1, 0, -1], 1))
    index = rng.integers(0, 3, (2, 5, 4))
    close(cr.take_along_axis(x, cr.asarray(index), axis=1), np.take_along_axis(C, index, 1))
    close(cr.gather(x, 1, cr.asarray(index[:1])), np.take_along_axis(C[:1], index[:1], 1))
    wanted = A.copy()
    np.add.at(wanted, [0, 2, 0], B)
    close(cr.scatter_add(cr.asarray(A), cr.asarray([0, 2, 0]), cr.asarray(B)), wanted)
    close(cr.nonzero(cr.asarray(I))[1], np.nonzero(I)[1])
    found = cr.unique_all(cr.asarray(I))
    close(found.values, np.unique(I))
    close(found.values[found.inverse_indices], I)
    close(cr.searchsorted(cr.asarray([1.0, 2.0, 4.0]), cr.asarray([2.0, 5.0, 0.0])), [1, 3, 0])
    close(cr.isin(cr.asarray(I), cr.asarray([1, 2])), np.isin(I, [1, 2]))
    close(cr.topk(cr.asarray(A), 2).values, -np.sort(-A)[:, :2])


def test_data_types():
    assert cr.result_type(cr.float32, cr.float64) is cr.float64
    assert cr.result_type(cr.asarray(I), 1) is cr.int64
    assert cr.can_cast(cr.int8, cr.int16) and not cr.can_cast(cr.int16, cr.int8)
    assert cr.isdtype(cr.int8, "integral") and not cr.isdtype(cr.float32, ("bool", "integral"))
    assert cr.finfo(cr.float32).eps == 2.0**-23 and cr.iinfo(cr.int8).max == 127
    close(cr.astype(cr.asarray(A * 3), cr.int32), (A * 3).astype(np.int32))
    assert cr.__array_namespace_info__().dtypes(kind="bool") == {"bool": cr.bool}


@pytest.mark.parametrize(
    "a, b",
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 4)),
     ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((1, 2, 3), (5, 3, 4)),
     ((5, 2, 3), (1, 3, 4)), ((6, 1, 2, 3), (5, 3, 4)), ((1, 1, 2, 3), (1, 3, 4)), ((1, 3), (3, 1)),
     ((5, 1, 3), (5, 3, 1)), ((1, 3), (3,)), ((3,), (3, 1)), ((2, 0), (0, 3))],
)  # fmt: skip
def test_matmul(a, b):
    x, y = rng.normal(size=a), rng.normal(size=b)
    close(cr.matmul(cr.asarray(x), cr.asarray(y)), np.matmul(x, y), 1e-9)
    close(cr.asarray(x) @ y, np.matmul(x, y), 1e-9)


def test_products():
    x, y = rng.normal(size=(3, 4)), rng.normal(size=(4, 3))
    close(cr.outer(cr.asarray(x[0]), cr.asarray(y[0])), np.outer(x[0], y[0]))
    close(cr.tensordot(cr.asarray(C), cr.asarray(x), axes=((1, 2), (0, 1))), np.tensordot(C, x, ((1, 2), (0, 1))))
    close(cr.tensordot(cr.asarray(C), cr.asarray(y), axes=1), np.tensordot(C, y, 1))
    close(cr.tensordot(cr.asarray(x[0]), cr.asarray(y), axes=0), np.tensordot(x[0], y, 0))
    close(cr.vecdot(cr.asarray(C), cr.asarray(x)), (C * x).sum(-1))
    close(cr.linalg.vector_norm(cr.asarray(C), axis=1), np.linalg.norm(C, axis=1))
    close(cr.linalg.vector_norm(cr.asarray(C), ord=np.inf), np.abs(C).max())
    close(cr.linalg.matrix_norm(cr.asarray(C), ord=1), np.linalg.norm(C, 1, (1, 2)))
    close(cr.linalg.trace(cr.asarray(C)), np.trace(C, axis1=1, axis2=2))
    close(cr.linalg.diagonal(cr.asarray(C)), np.diagonal(C, axis1=1, axis2=2))


@pytest.mark.parametrize(
    "text, shapes",
    [("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
     ("ij,kj->ki", [(2, 3), (4, 3)]), ("i,i->", [(3,), (3,)]), ("ij->j", [(2, 3)]), ("ij->ji", [(2, 3)]),
     ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("iij,j->i", [(3, 3, 2), (2,)]), ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
     ("ijk,jk->ik", [(2, 3, 4), (3, 4)]), ("i,j->ij", [(2,), (3,)]), ("i,j->ji", [(2,), (3,)]),
     ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)]), ("ij,kl->i", [(2, 3), (4, 5)]), ("i,ij,j->", [(2,), (2, 3), (3,)]),
     ("bhid,bhjd->bhij", [(2, 2, 3, 4), (2, 2, 5, 4)])],
)  # fmt: skip
def test_einsum(text, shapes):
    arrays = [rng.normal(size=s) for s in shapes]
    close(cr.einsum(text, *[cr.asarray(a) for a in arrays]), np.einsum(text, *arrays), 1e-9)


@pytest.mark.parametrize(
    "call, kind, text",
    [
        (lambda: cr.zeros((2, 3)) + cr.zeros((2, 4)), ShapeError, "3 and 4"),
        (lambda: cr.zeros((2, 3)) @ cr.zeros((2, 3)), ShapeError, "transposed"),
        (lambda: cr.zeros((2, 3)).reshape(4, 2), ShapeError, "6 elements"),
        (lambda: cr.zeros((2, 3)).sum(2), ShapeError, "axis 2"),
        (lambda: cr.zeros(3) + cr.arange(3), DTypeError, "do not mix"),
        (lambda: cr.arange(3) * 0.5, DTypeError, "0.5"),
        (lambda: cr.arange(3) / cr.arange(3), DTypeError, "//"),
        (lambda: cr.asarray(np.zeros(3, np.uint8)) + 300, DTypeError, "300"),
        (lambda: cr.zeros((2, 3)).expand_dims(5), ShapeError, "axis 5"),
        (lambda: cr.concat([cr.zeros((2, 3)), cr.zeros((2, 4))]), ShapeError, "3 and 4"),
        (lambda: cr.einsum("ij,jk->ik", cr.zeros((2, 3)), cr.zeros((4, 5))), ShapeError, "'j' has 3 and 4"),
        (lambda: cr.einsum("ij->k", cr.zeros((2, 3))), ConfigError, "'k'"),
        (lambda: cr.zeros((2, 3)).T.size(), TypeError, "x.shape"),
        (lambda: cr.zeros((2, 3, 4)).T, ShapeError, "mT"),
        (lambda: cr.asarray("text"), DTypeError, "not numbers"),
        (lambda: cr.zeros((2, -3)), ShapeError, "negative"),
        (lambda: cr.zeros(3, dtype="float128"), DTypeError, "float128"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_errors_name_the_users_line():
    with pytest.raises(ShapeError) as caught:
        cr.zeros((2, 3)) * cr.zeros((2, 4))
    message = str(caught.value)
    assert message.startswith("mul: ") and "float32[2, 3], float32[2, 4]" in message
    line = test_errors_name_the_users_line.__code__.co_firstlineno + 2
    assert f"recorded at {__file__}:{line}" in message
