"""``x.at[...]``, plain assignment, and PyTorch's and JAX's functions that write by index."""

import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, IndexOutOfRangeError, PlaceholderError, ShapeError

from .beyond import everywhere, refused, same

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 5, 3))
I, J = np.array([0, 2, 2, -1]), np.array([1, 1, 1, 0])  # noqa: E741
NUMPYS = {"set": None, "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
          "min": np.minimum, "max": np.maximum}  # fmt: skip
KEYS = [
    0, -1, slice(1, 3), (slice(None), 2), (slice(None, None, -2), slice(1, None, 2)), (Ellipsis, 1), (None, 2), I,
    (slice(None), I), (I, J), (I, slice(None), J[:, None] % 3), rng.random((4, 5)) > 0.5, rng.random(X.shape) > 0.5,
    (slice(None), I[:, None], J % 3), (2, I), np.zeros(0, int), slice(0, 0), (0, 0, 0), np.array([[0, 1], [1, 1]]),
]  # fmt: skip


def written(name, x, key, value):
    """NumPy's answer, with every repetition counted."""
    result = x.copy()
    if NUMPYS[name] is None:
        result[key] = value
    else:
        NUMPYS[name].at(result, key, value)
    return result


@pytest.mark.parametrize("name", NUMPYS)
@pytest.mark.parametrize("key", KEYS, ids=lambda k: str(k).replace("\n", "")[:40])
def test_against_numpy(key, name):
    part = X[key]
    x, value = cr.asarray(X), rng.uniform(0.5, 2, part.shape)
    same(getattr(x.at[key], name)(2.5), written(name, X, key, 2.5))
    wanted = written(name, X, key, value)
    same(getattr(x.at[key], name)(cr.asarray(value)), wanted, 1e-12)
    same(x, X)  # the tensor itself stays
    whole = (X * 4).astype(int)
    if name != "divide":
        same(getattr(cr.asarray(whole).at[key], name)(3), written(name, whole, key, 3))
    # a directional derivative in both operands
    weights, along, across = rng.normal(size=X.shape), rng.normal(size=X.shape), rng.normal(size=part.shape)

    def weighted(a, b):
        return cr.sum(getattr(a.at[key], name)(b) * cr.asarray(weights))

    to_x = cr.grad(lambda a: weighted(a, cr.asarray(value)))(x).numpy()
    to_value = cr.grad(lambda b: weighted(x, b))(cr.asarray(value)).numpy()
    step = 1e-6
    ends = [(written(name, X + s * along, key, value + s * across) * weights).sum() for s in (-step, step)]
    assert (to_x * along).sum() + (to_value * across).sum() == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-6,
                                                                            abs=1e-7)  # fmt: skip


@pytest.mark.parametrize("name", NUMPYS)
def test_indices_that_are_placeholders(name):
    value = rng.uniform(0.5, 2, (4, 5, 3))
    wanted = written(name, X, I, value)
    same(cr.compile(lambda x, i, v: getattr(x.at[i], name)(v))(*map(cr.asarray, (X, I, value))), wanted)
    both = cr.compile(lambda x, i, j, v: getattr(x.at[i, :, j], name)(v))
    same(both(*map(cr.asarray, (X, I, J, value[:, :, 0]))), written(name, X, (I, slice(None), J), value[:, :, 0]))
    places = np.stack([I, I[::-1]])
    found = cr.vmap(lambda x, i, v: getattr(x.at[i], name)(v), in_axes=(None, 0, None))(
        cr.asarray(X), cr.asarray(places), cr.asarray(value)
    )
    same(found, np.stack([written(name, X, p, value) for p in places]))


@pytest.mark.parametrize("name", ["set", "add", "multiply", "divide", "min", "max", "power"])
@pytest.mark.parametrize("key", [np.array([0, 2, 2, 1]), (slice(1, 3),)], ids=["places", "slice"])
def test_everywhere(name, key):
    x = np.array([1.3, 0.7, 2.1, 1.9])
    value = np.array([1.1, 0.4, 1.7, 0.9])[: x[key].size]
    everywhere(lambda a, b: getattr(a.at[key], name)(b), x, value, order=2)


def test_products_with_zeros():
    """The derivative of a product in one factor is the product of the others, also where that factor is 0."""
    x, key = cr.asarray(np.array([2.0, 3.0])), cr.tensor([0, 0, 1])
    value = np.array([0.0, 5.0, 0.0])
    same(cr.grad(lambda v: cr.sum(x.at[key].multiply(v)))(cr.asarray(value)), [10.0, 0.0, 3.0])
    cr.testing.check_grads(lambda v: x.at[key].multiply(v), (cr.asarray(value),), order=2)


def test_ties_share_the_derivative():
    x, key = cr.asarray(np.array([2.0, 2.0])), np.array([0, 0, 1])
    value = cr.asarray(np.array([2.0, 2.0, 1.0]))
    same(cr.grad(lambda v: cr.sum(x.at[key].max(v)))(value), [1 / 3, 1 / 3, 0.0])
    same(cr.grad(lambda a: cr.sum(a.at[key].max(value)))(x), [1 / 3, 1.0])


def test_get_apply_and_power():
    x = cr.asarray(X)
    same(x.at[1:, I].get(), X[1:, I])
    same(x.at[0].apply(cr.exp), np.concatenate([np.exp(X[:1]), X[1:]]))
    same(cr.tensor([3.0, 2.0]).at[[0, 0]].power(2.0), [81.0, 2.0])
    same(cr.tensor([4.0, 2.0]).at[0].mul(2.0).at[1].div(4.0).at[0].sub(1.0), [7.0, 0.5])
    mask = cr.tensor([True, False, True])
    same(cr.tensor([1.0, 2.0, 3.0]).at[mask].multiply(10.0), [10.0, 2.0, 30.0])
    same(cr.compile(lambda a: a.at[a > 1].set(0.0))(cr.tensor([1.0, 2.0, 3.0])), [1.0, 0.0, 0.0])


def test_modes():
    x = X[:, :, 0]
    t = cr.asarray(x)
    extended = np.pad(x, ((0, 1), (0, 1)), constant_values=-9)
    same(t.at[np.array([1, 7, -9])].get(mode="fill", fill_value=-9.0), extended[[1, 4, 4]][:, :5])
    same(t.at[:, np.array([0, 5])].get(mode="fill", fill_value=-9.0), extended[:4][:, [0, 5]])
    same(t.at[np.array([0, 9]), np.array([1, 1])].get(mode="fill"), [x[0, 1], np.nan])
    same(t.at[np.array([7, -9, -1])].get(mode="clip"), x[[3, 0, 3]])
    same(cr.zeros(3).at[cr.tensor([0, 5, -4])].add(1.0, mode="drop"), [1.0, 0.0, 0.0])
    same(cr.zeros(3).at[cr.tensor([0, 5])].add(1.0, mode="clip"), [1.0, 0.0, 1.0])
    same(cr.zeros(3).at[7].set(1.0, mode="drop"), [0.0, 0.0, 0.0])
    dropped = cr.compile(lambda a, i, j: a.at[i, 1:, j].set(5.0, mode="drop"))
    wanted = X.copy()
    wanted[2, 1:, 1] = 5.0
    same(dropped(cr.asarray(X), cr.tensor([2, 9]), cr.tensor([1, 0])), wanted)


def test_refusals():
    x = cr.asarray(np.zeros((2, 3)))
    with pytest.raises(IndexOutOfRangeError, match="index 5 is out of range for axis 0 of size 2"):
        x.at[cr.tensor([0, 5])].add(1.0)
    refused(ShapeError, "at.add: a value of shape (4,) does not fit the part of shape (3,); operands float64[2, 3], "
            "float64[4]", lambda: x.at[0].add(cr.ones(4)))  # fmt: skip
    refused(ConfigError, "at.set: mode is None, 'promise_in_bounds', 'clip', 'drop' or 'fill', not 'wrap'",
            lambda: x.at[0].set(1.0, mode="wrap"))  # fmt: skip
    with pytest.raises(ConfigError, match=r"at.set: a mask that is a placeholder takes one value"):
        cr.compile(lambda m, v: x.at[m].set(v))(cr.tensor([True, False]), cr.ones(1, 3))


@pytest.mark.parametrize("key", KEYS, ids=lambda k: str(k).replace("\n", "")[:40])
def test_plain_assignment_is_differentiable(key):
    value = rng.normal(size=X[key].shape)
    weights = rng.normal(size=X.shape)

    def assigned(a, b):
        copy = a * 1.0
        copy[key] = b
        return cr.sum(copy * cr.asarray(weights))

    kept, taken = weights.copy(), np.zeros(X.shape)
    kept[key] = 0
    same(cr.grad(lambda a: assigned(a, cr.asarray(value)))(cr.asarray(X)), kept)
    to_value = cr.grad(lambda b: assigned(cr.asarray(X), b))(cr.asarray(value)).numpy()
    numbers = taken.astype(int) - 1  # which element of the value each place got
    numbers[key] = np.arange(value.size).reshape(value.shape)
    wanted = np.zeros(value.size)
    np.add.at(wanted, numbers[numbers >= 0], weights[numbers >= 0])
    np.testing.assert_allclose(to_value.reshape(-1), wanted)


M = rng.normal(size=(4, 5))
M[0, 0] = 0
INDEX, SOURCE = rng.integers(0, 4, (3, 4)), rng.normal(size=(3, 4))
SOURCE[0, 0] = 0


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce(reduce, include_self, dim):
    torch = pytest.importorskip("torch")
    x, source = (torch.tensor(a, requires_grad=True) for a in (M, SOURCE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = torch.scatter_reduce(x, dim, torch.tensor(INDEX), source, reduce, include_self=include_self)
        whole = (M * 4).astype(int)
        of_integers = torch.scatter_reduce(torch.tensor(whole), dim, torch.tensor(INDEX), torch.tensor(whole[:3, :4]),
                                           reduce, include_self=include_self)  # fmt: skip
    weights = rng.normal(size=wanted.shape)
    (wanted * torch.tensor(weights)).sum().backward()

    def ours(a, b):
        return cr.scatter_reduce(a, dim, INDEX, b, reduce, include_self=include_self)

    found, pull_back = cr.vjp(ours, cr.asarray(M), cr.asarray(SOURCE))
    same(found, wanted.detach().numpy())
    same(pull_back(cr.asarray(weights)), (x.grad.numpy(), source.grad.numpy()), 1e-10, 1e-13)
    if reduce != "mean":
        same(
            cr.scatter_reduce(whole, dim, INDEX, whole[:3, :4], reduce, include_self=include_self), of_integers.numpy()
        )


def test_scatter():
    torch = pytest.importorskip("torch")
    index = np.stack([rng.permutation(4)[:3] for _ in range(4)], 1)
    t = [torch.tensor(a) for a in (M, index, SOURCE, INDEX)]
    same(cr.scatter(M, 0, index, SOURCE), torch.scatter(t[0], 0, t[1], t[2]).numpy())
    same(cr.scatter(M, 0, index, 7.0), torch.scatter(t[0], 0, t[1], 7.0).numpy())
    for reduce in ("add", "multiply"):
        same(cr.scatter(M, 0, INDEX, SOURCE, reduce=reduce), torch.scatter(t[0], 0, t[3], t[2], reduce=reduce).numpy())
    everywhere(lambda a, b: cr.scatter(a, 0, np.array([2, 0]), b), M[:, 0], SOURCE[:2, 0])
    refused(ShapeError, "scatter: the index has 4 elements along axis 1, src has 2; operands float64[4, 5], "
            "int64[3, 4], float64[3, 2]", lambda: cr.scatter(M, 0, INDEX, SOURCE[:, :2]))  # fmt: skip
    refused(ConfigError, "scatter: reduce is None, 'add' or 'multiply', not 'sum'",
            lambda: cr.scatter(M, 0, INDEX, SOURCE, reduce="sum"))  # fmt: skip


def test_functions_by_vector_of_indices():
    torch = pytest.importorskip("torch")
    index, source = np.array([3, 0, 1]), rng.normal(size=(4, 3))
    t = [torch.tensor(a) for a in (M, index, source)]
    same(cr.index_add(M, 1, index, source, alpha=2), torch.index_add(t[0], 1, t[1], t[2], alpha=2).numpy())
    same(cr.index_copy(M, 1, index, source), torch.index_copy(t[0], 1, t[1], t[2]).numpy())
    same(cr.index_fill(M, 1, index, 2.0), torch.index_fill(t[0], 1, t[1], 2.0).numpy())
    same(cr.index_select(M, 1, index), torch.index_select(t[0], 1, t[1]).numpy())
    everywhere(lambda a, b: cr.index_add(a, 0, [2, 2], b), M[:, 0], source[:2, 0])
    refused(ShapeError, "index_add: a source of shape (4, 2) should have (4, 3); operands float64[4, 5], int64[3], "
            "float64[4, 2]", lambda: cr.index_add(M, 1, index, source[:, :2]))  # fmt: skip
    refused(
        DTypeError, "index_copy: indices are integers; operands float64[3]", cr.index_copy, M, 1, index * 1.0, source
    )


def test_masks():
    mask = M > 0
    same(cr.masked_select(M, mask), M[mask])
    within = cr.compile(lambda a: cr.masked_select(a, a > 0, size=25, fill_value=-1.0))
    same(within(cr.asarray(M)), np.r_[M[mask], -np.ones(25 - mask.sum())])
    same(cr.masked_fill(M, mask, 3.0), np.where(mask, 3, M))
    same(cr.extract(mask, M), np.extract(mask, M))
    same(cr.compress([0, 1, 1], M, axis=1), np.compress([0, 1, 1], M, axis=1))
    same(cr.compress([0, 1, 1], M), np.compress([0, 1, 1], M))
    everywhere(lambda a: cr.masked_select(a, a > 0, size=3), M[1])
    refused(PlaceholderError, "masked_select: the size of the result depends on values, and the mask is a placeholder; "
            "operands float32[3], bool[3]", cr.compile(lambda a: cr.masked_select(a, a > 0)), cr.ones(3))  # fmt: skip


def test_put_along_axis():
    for index, values, axis in ((np.array([[1], [2], [0], [4]]), 99.0, 1), (INDEX[:1, :1] % 4, M[:1], 0),
                                (np.array([3, 7]), np.array([1.0, 2.0]), None)):  # fmt: skip
        wanted = M.copy()
        np.put_along_axis(wanted, index, values, axis)
        same(cr.put_along_axis(M, index, values, axis), wanted)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_segments(name):
    jax = pytest.importorskip("jax")
    ids = np.array([0, 2, 2, 5])
    ours, theirs = getattr(cr, f"segment_{name}"), getattr(jax.ops, f"segment_{name}")
    single = M.astype(np.float32)
    for x in (single, (M * 5).astype(np.int32)):
        for count in (4, 6, None):
            same(ours(x, ids, count), np.asarray(theirs(x, ids, count)), 1e-6)
    everywhere(lambda a: ours(a, [0, 1, 1, 0], 2), M, order=2)
    same(ours(single, np.array([-1, 0, 7, 0]), 1), np.asarray(theirs(single, np.array([-1, 0, 7, 0]), 1)), 1e-6)
    refused(PlaceholderError, f"segment_{name}: the number of segments depends on values, and the segments are a "
            "placeholder; operands float32[4, 5], int64[4]",
            cr.compile(ours), cr.asarray(single), cr.asarray(ids))  # fmt: skip


def test_indices_and_sources_that_do_not_fit_are_named_as_the_user_called_them():
    x, high, low = cr.zeros((2, 3)), cr.asarray([[3]]), cr.asarray([-3])
    outside = "index 3 is out of range for axis 1 of size 3; operands float32[2, 3], int64[1, 1]"
    for name, call in (
        ("gather", lambda: cr.gather(x, 1, high)),
        ("scatter", lambda: cr.scatter(x, 1, high, 1.0)),
        ("scatter_reduce", lambda: cr.scatter_reduce(x, 1, high, cr.ones((1, 1)), "sum")),
        ("take_along_axis", lambda: cr.take_along_axis(x[:1], high, axis=1)),
    ):
        text = f"{name}: {outside}" if name != "take_along_axis" else f"{name}: {outside}".replace("[2, 3]", "[1, 3]")
        refused(IndexOutOfRangeError, text, call)
    text = "index_add: index -3 is out of range for axis 0 of size 2; operands float32[2, 3], int64[1]"
    refused(IndexOutOfRangeError, text, lambda: cr.index_add(x, 0, low, cr.ones((1, 3))))
    flat = cr.asarray([1])
    for name, call in (
        ("gather", lambda: cr.gather(x, 1, flat)),
        ("take_along_axis", lambda: cr.take_along_axis(x, flat, axis=1)),
        ("put_along_axis", lambda: cr.put_along_axis(x, flat, 1.0, 1)),
    ):
        refused(ShapeError, f"{name}: x has 2 axes, the index 1; operands float32[2, 3], int64[1]", call)
    many = cr.zeros((3, 3), dtype="int64")
    text = "gather: the index has 3 elements along axis 0, x has 2; operands float32[2, 3], int64[3, 3]"
    refused(ShapeError, text, lambda: cr.gather(x, 1, many))
    text = "scatter: x is float32, src is float64; operands float32[2, 3], int64[3, 3], float64[3, 3]"
    refused(DTypeError, text, lambda: cr.scatter(x, 0, many, cr.ones((3, 3), dtype="float64")))
    text = "segment_sum: segment_ids (2,) are not one for each slice of data (3, 2); operands float32[3, 2], int64[2]"
    refused(ShapeError, text, lambda: cr.segment_sum(cr.zeros((3, 2)), cr.asarray([0, 1]), 2))
