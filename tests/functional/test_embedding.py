"""Embeddings and bags of them against PyTorch; repeated indices; refusals."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule import nn
from chainrule.errors import ConfigError, DTypeError, IndexOutOfRangeError, ShapeError

from .compare import close, same_as_torch, torch

TF = torch.nn.functional
DTYPES = (np.float64, np.float32)
RNG = np.random.default_rng(11)
TABLE = RNG.normal(size=(7, 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("freq", [False, True])
@pytest.mark.parametrize("padding", [None, 2, -1])
@pytest.mark.parametrize("shape", [(), (9,), (4, 5), (0,)])
def test_embedding(shape, padding, freq, dtype):
    """Nine draws of seven rows: some index is there twice."""
    options = {"padding_idx": padding, "scale_grad_by_freq": freq}
    indices = RNG.integers(0, 7, size=shape)
    same_as_torch(
        lambda i, w: F.embedding(i, w, **options), lambda i, w: TF.embedding(i, w, **options), [indices, TABLE], dtype,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64"])
def test_gradient_of_repeated_rows_adds_up_in_order(kind):
    indices = np.array([3, 3, 0, 3], kind)
    table = cr.asarray(TABLE.astype(np.float32)).requires_grad_()
    upstream = np.array([[1e8, 1, 2], [1, 1, 2], [5, 1, 2], [-1e8, 1, 2]], np.float32)
    (F.embedding(cr.asarray(indices), table) * cr.asarray(upstream)).sum().backward()
    expected = np.zeros((7, 3), np.float32)
    for i, g in zip(indices, upstream):
        expected[i] += g
    np.testing.assert_array_equal(table.grad.numpy(), expected)
    step = cr.compile(lambda i: cr.grad(lambda w: (F.embedding(i, w) * cr.asarray(upstream)).sum())(table.detach()))
    np.testing.assert_array_equal(step(cr.asarray(indices)).numpy(), expected)


@pytest.mark.parametrize("norm_type", [2.0, 1.0])
def test_max_norm_scales_the_rows_that_are_used(norm_type):
    indices = np.array([1, 4, 1])
    ours, theirs = cr.asarray(TABLE), torch.tensor(TABLE)
    y = F.embedding(cr.asarray(indices), ours, max_norm=0.5, norm_type=norm_type)
    z = TF.embedding(torch.tensor(indices), theirs, max_norm=0.5, norm_type=norm_type)
    close(y.numpy(), z.numpy())
    close(ours.numpy(), theirs.numpy())
    assert (ours.numpy()[[0, 2, 3, 5, 6]] == TABLE[[0, 2, 3, 5, 6]]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_rows(mode, padding, dtype):
    # max: no row twice in a bag, since equal extremes share the gradient here and the first takes it in PyTorch
    indices = np.array([[0, 1, 2], [3, 2, 5], [6, 4, 0]])
    same_as_torch(
        lambda i, w: F.embedding_bag(i, w, mode=mode, padding_idx=padding),
        lambda i, w: TF.embedding_bag(i, w, mode=mode, padding_idx=padding),
        [indices, TABLE], dtype,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_with_offsets(mode, padding, last, dtype):
    """An empty bag in the middle and one at the end; bags that share rows."""
    indices = np.array([0, 1, 2, 3, 2, 5, 6])
    offsets = np.array([0, 3, 3, 4, 7, *([7] if last else [])])
    options = {"mode": mode, "padding_idx": padding, "include_last_offset": last}
    same_as_torch(
        lambda i, w, o: F.embedding_bag(i, w, o, **options),
        lambda i, w, o: TF.embedding_bag(i, w, o, **options),
        [indices, TABLE, offsets], dtype, differentiate=[1],
    )  # fmt: skip


def test_weighted_bags():
    indices, offsets, factors = np.array([0, 1, 1, 3]), np.array([0, 2]), RNG.normal(size=4)
    same_as_torch(
        lambda i, w, o, f: F.embedding_bag(i, w, o, mode="sum", per_sample_weights=f),
        lambda i, w, o, f: TF.embedding_bag(i, w, o, mode="sum", per_sample_weights=f),
        [indices, TABLE, offsets, factors],
    )
    same_as_torch(
        lambda i, w, f: F.embedding_bag(i, w, mode="sum", per_sample_weights=f),
        lambda i, w, f: TF.embedding_bag(i, w, mode="sum", per_sample_weights=f),
        [indices.reshape(2, 2), TABLE, factors.reshape(2, 2)],
    )


def test_compiled_bits_and_pending_offsets():
    indices, offsets = cr.asarray(np.array([0, 1, 2, 3, 2, 5, 6])), cr.asarray(np.array([0, 3, 3, 4, 7]))
    table = cr.asarray(TABLE)
    for mode in ("sum", "mean", "max"):

        def both(i, o, w, mode=mode):
            return cr.value_and_grad(lambda w: F.embedding_bag(i, w, o, mode=mode).sum())(w)

        for a, b in zip(both(indices, offsets, table), cr.compile(both)(indices, offsets, table)):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_layers_have_the_keys_and_forms_of_pytorch():
    for ours, theirs in (
        (nn.Embedding(7, 3, padding_idx=-2), torch.nn.Embedding(7, 3, padding_idx=-2)),
        (nn.EmbeddingBag(7, 3, mode="sum"), torch.nn.EmbeddingBag(7, 3, mode="sum")),
    ):
        assert list(ours.state_dict()) == list(theirs.state_dict())
        ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
        i = np.array([[1, 5], [5, 0]])
        close(ours(cr.asarray(i)).detach().numpy(), theirs(torch.tensor(i)).detach().numpy(), np.float32)
    assert repr(nn.Embedding(7, 3, padding_idx=1)) == repr(torch.nn.Embedding(7, 3, padding_idx=1))
    layer = nn.Embedding(7, 3, padding_idx=-2)
    assert layer.padding_idx == 5 and layer.weight[5].tolist() == [0.0, 0.0, 0.0]
    frozen = nn.Embedding.from_pretrained(cr.asarray(TABLE))
    assert not frozen.weight.requires_grad and frozen.weight.dtype.name == "float64"
    np.testing.assert_array_equal(frozen(cr.asarray([2])).numpy()[0], TABLE[2])


def test_initial_values_are_standard_normal():
    cr.manual_seed(0)
    values = nn.Embedding(500, 40).weight.detach().numpy()
    assert abs(values.mean()) < 0.03 and abs(values.std() - 1) < 0.03


def problem(caught):
    return str(caught.value).splitlines()[0]


def test_an_index_out_of_range_is_named_with_the_size_of_the_table():
    table = cr.asarray(TABLE)
    with pytest.raises(IndexOutOfRangeError) as caught:
        F.embedding(cr.asarray([[1, 2], [9, 0]]), table)
    assert str(caught.value).splitlines()[::2] == [
        "embedding: index 9 (at [1, 0]) is out of range for the table, which has 7 rows; "
        "operands int64[2, 2], float64[7, 3]",
        "help: indices run from 0 to 6 (num_embeddings - 1)",
    ]
    assert "test_embedding.py:" in str(caught.value)
    with pytest.raises(IndexOutOfRangeError, match=r"index -1 \(at \[0\]\) is out of range for the table"):
        F.embedding(cr.asarray([-1]), table)
    compiled = cr.compile(lambda i: F.embedding(i, table))
    for bad in (7, -1):
        with pytest.raises(IndexOutOfRangeError, match=f"index {bad} is out of range for .* of size 7"):
            compiled(cr.asarray([0, bad]))
    compiled(cr.asarray([0, 6]))


def test_refusals():
    table = cr.asarray(TABLE)
    with pytest.raises(DTypeError) as caught:
        F.embedding(cr.asarray([1.0]), table)
    assert problem(caught) == "embedding: indices are float32; operands float32[1], float64[7, 3]"
    with pytest.raises(ShapeError) as caught:
        F.embedding(cr.asarray([1]), table[0])
    assert problem(caught) == "embedding: weight has 1 axes, it needs 2; operands float64[3]"
    with pytest.raises(ConfigError, match="padding_idx 7 is out of range for a table of 7 rows"):
        nn.Embedding(7, 3, padding_idx=7)
    with pytest.raises(ConfigError, match="mode must be one of 'sum', 'mean', 'max', not 'median'"):
        nn.EmbeddingBag(7, 3, mode="median")
    with pytest.raises(ConfigError, match="per_sample_weights go with mode='sum', not 'mean'"):
        F.embedding_bag(cr.asarray([[1]]), table, per_sample_weights=cr.ones((1, 1)))
    with pytest.raises(ShapeError) as caught:
        F.embedding_bag(cr.asarray([1, 2]), table, cr.asarray([1, 0]))
    assert problem(caught) == ("embedding_bag: offsets do not ascend from 0 to at most 2; operands int64[2], int64[2]")
    with pytest.raises(ShapeError, match="embedding_bag: input has 1 axes"):
        F.embedding_bag(cr.asarray([1, 2]), table)
