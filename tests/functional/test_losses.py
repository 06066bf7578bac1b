"""Losses against PyTorch in value and gradient; stability; refusals."""

from functools import partial

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule.errors import ConfigError, DTypeError, IndexOutOfRangeError, ShapeError

from .compare import same_as_torch, torch

TF = torch.nn.functional
RNG = np.random.default_rng(3)
REDUCTIONS = ("mean", "sum", "none")
DTYPES = (np.float64, np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [None, 2])
@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2), (2, 4, 3, 2)])
def test_cross_entropy_with_labels(shape, ignore, weighted, smoothing, reduction, dtype):
    z = RNG.normal(size=shape) * 5
    y = RNG.integers(0, 4, size=(shape[0], *shape[2:]))
    y.ravel()[0] = 2
    options = {"reduction": reduction, "label_smoothing": smoothing}
    if ignore is not None:
        options["ignore_index"] = ignore
    w = np.array([0.5, 1.0, 2.0, 0.1])
    if weighted:
        same_as_torch(
            lambda z, y, w: F.cross_entropy(z, y, w, **options),
            lambda z, y, w: TF.cross_entropy(z, y, w, **options),
            [z, y, w],
            dtype,
            differentiate=[0],
        )
    else:
        same_as_torch(
            lambda z, y: F.cross_entropy(z, y, **options), lambda z, y: TF.cross_entropy(z, y, **options), [z, y], dtype
        )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_with_probabilities(weighted, smoothing, reduction):
    z = RNG.normal(size=(5, 4))
    p = RNG.dirichlet(np.ones(4), size=5)
    w = np.array([0.5, 1.0, 2.0, 0.1])
    options = {"reduction": reduction, "label_smoothing": smoothing}
    same_as_torch(
        lambda z, p, w: F.cross_entropy(z, p, w if weighted else None, **options),
        lambda z, p, w: TF.cross_entropy(z, p, w if weighted else None, **options),
        [z, p, w],
        differentiate=[0, 1],
    )


def test_cross_entropy_without_batch_axis_and_unsigned_labels():
    z = RNG.normal(size=(4,))
    same_as_torch(F.cross_entropy, TF.cross_entropy, [z, np.array(3)])
    a = F.cross_entropy(cr.asarray(z[None]), cr.asarray(np.array([3], np.uint8)))
    b = F.cross_entropy(cr.asarray(z[None]), cr.asarray(np.array([3])))
    assert a.item() == b.item()


def test_known_and_pending_labels_give_the_same_bits():
    z = RNG.normal(size=(7, 4)).astype(np.float32)
    y = RNG.integers(0, 4, size=7)
    for options in ({}, {"reduction": "none"}, {"ignore_index": 1}, {"label_smoothing": 0.1}):
        results = []
        for labels in (cr.asarray(y), cr.asarray(y) + 0):
            leaf = cr.asarray(z).requires_grad_()
            loss = F.cross_entropy(leaf, labels, **options)
            loss.sum().backward()
            results.append((loss.detach().numpy().tobytes(), leaf.grad.numpy().tobytes()))
        assert results[0] == results[1]


def test_cross_entropy_gradient_is_softmax_minus_onehot():
    z = cr.asarray(RNG.normal(size=(6, 3))).requires_grad_()
    y = cr.asarray(RNG.integers(0, 3, size=6))
    F.cross_entropy(z, y, reduction="sum").backward()
    expected = F.softmax(z.detach(), 1).numpy() - F.one_hot(y, 3).numpy()
    np.testing.assert_allclose(z.grad.numpy(), expected, atol=1e-14)


def test_cross_entropy_is_stable():
    z = cr.asarray(np.array([[1e4, -1e4], [-1e4, 1e4]], np.float32)).requires_grad_()
    loss = F.cross_entropy(z, cr.asarray([0, 0]), reduction="none")
    assert loss.tolist() == [0.0, 20000.0]
    loss.sum().backward()
    assert z.grad.tolist() == [[0.0, 0.0], [-1.0, 1.0]]
    masked = cr.asarray(np.array([[0.0, -np.inf]])).requires_grad_()
    F.cross_entropy(masked, cr.asarray([0])).backward()
    assert masked.grad.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("label", [3, -1, 1000, -100000])
@pytest.mark.parametrize("pending", [False, True])
def test_label_out_of_range(label, pending):
    y = cr.asarray([0, label])
    with pytest.raises(IndexOutOfRangeError) as caught:
        F.cross_entropy(cr.zeros((2, 3)), y + 0 if pending else y).item()
    assert str(label) in str(caught.value) and "3" in str(caught.value)


def test_label_errors():
    z = cr.zeros((2, 3))
    with pytest.raises(ShapeError, match=r"squeeze\(-1\)"):
        F.cross_entropy(z, cr.asarray([[0], [1]]))
    with pytest.raises(DTypeError, match="class indices are integers"):
        F.cross_entropy(z, cr.asarray([0.0, 1.0]))
    with pytest.raises(ShapeError, match="one weight a class"):
        F.cross_entropy(z, cr.asarray([0, 1]), weight=cr.ones((2,)))
    with pytest.raises(ConfigError, match="label_smoothing"):
        F.cross_entropy(z, cr.asarray([0, 1]), label_smoothing=2.0)
    with pytest.raises(ConfigError, match="reduction"):
        F.cross_entropy(z, cr.asarray([0, 1]), reduction="average")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore", [-100, 1])
def test_nll_loss(ignore, weighted, reduction):
    logp = np.log(RNG.dirichlet(np.ones(4), size=(6,)))
    y = RNG.integers(0, 4, size=6)
    y[:2] = 0, 1
    w = np.array([0.5, 1.0, 2.0, 0.1])
    same_as_torch(
        lambda z, y, w: F.nll_loss(z, y, w if weighted else None, ignore, reduction),
        lambda z, y, w: TF.nll_loss(z, y, w if weighted else None, ignore_index=ignore, reduction=reduction),
        [logp, y, w],
        differentiate=[0],
    )


PAIRS = {
    "mse": (F.mse_loss, TF.mse_loss),
    "l1": (F.l1_loss, TF.l1_loss),
    "huber": (F.huber_loss, TF.huber_loss),
    "huber 0.4": (partial(F.huber_loss, delta=0.4), partial(TF.huber_loss, delta=0.4)),
    "smooth_l1": (F.smooth_l1_loss, TF.smooth_l1_loss),
    "smooth_l1 0.4": (partial(F.smooth_l1_loss, beta=0.4), partial(TF.smooth_l1_loss, beta=0.4)),
    "smooth_l1 0": (partial(F.smooth_l1_loss, beta=0), partial(TF.smooth_l1_loss, beta=0)),
    "poisson": (F.poisson_nll_loss, TF.poisson_nll_loss),
    "bce logits": (F.binary_cross_entropy_with_logits, TF.binary_cross_entropy_with_logits),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", PAIRS)
def test_elementwise_losses(name, reduction, dtype):
    ours, theirs = PAIRS[name]
    x, y = RNG.normal(size=(2, 6, 3))
    both = lambda f: lambda x, y: f(x, y, reduction=reduction)  # noqa: E731
    same_as_torch(both(ours), both(theirs), [x, np.abs(y)], dtype)


@pytest.mark.parametrize("log_input", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_poisson(full, log_input):
    x, y = RNG.uniform(0.1, 3, size=8), RNG.integers(0, 6, size=8).astype(float)
    same_as_torch(
        lambda x, y: F.poisson_nll_loss(x, y, log_input, full),
        lambda x, y: TF.poisson_nll_loss(x, y, log_input=log_input, full=full),
        [x, y],
        differentiate=[0],
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropy(reduction):
    p, y, w = RNG.uniform(0.01, 0.99, size=(5, 2)), RNG.uniform(size=(5, 2)), RNG.uniform(size=(5, 2))
    same_as_torch(
        lambda p, y, w: F.binary_cross_entropy(p, y, w, reduction),
        lambda p, y, w: TF.binary_cross_entropy(p, y, w, reduction=reduction),
        [p, y, w],
        differentiate=[0],
    )
    certain = cr.asarray(np.array([0.0, 1.0]))
    assert F.binary_cross_entropy(certain, cr.asarray([0, 1])).item() == 0.0
    assert F.binary_cross_entropy(certain, cr.asarray([1, 0]), reduction="none").tolist() == [100.0, 100.0]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropy_with_logits_weights(reduction):
    z, y, w = RNG.normal(size=(5, 2)) * 4, RNG.uniform(size=(5, 2)), RNG.uniform(size=(5, 2))
    pos = np.array([2.0, 0.5])
    same_as_torch(
        lambda z, y, w, p: F.binary_cross_entropy_with_logits(z, y, w, reduction, p),
        lambda z, y, w, p: TF.binary_cross_entropy_with_logits(z, y, w, reduction=reduction, pos_weight=p),
        [z, y, w, pos],
        differentiate=[0],
    )


def test_binary_cross_entropy_with_logits_is_stable():
    z = cr.asarray(np.array([-1e4, 0.0, 1e4], np.float32)).requires_grad_()
    loss = F.binary_cross_entropy_with_logits(z, cr.asarray([1, 1, 0]), reduction="none")
    loss.sum().backward()
    np.testing.assert_allclose(loss.detach().numpy(), [1e4, np.log(2), 1e4], rtol=1e-6)
    assert z.grad.tolist() == [-1.0, -0.5, 1.0]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("form", ["same", "row", "left out"])
def test_gaussian_nll(form, full, reduction):
    x, y = RNG.normal(size=(2, 5, 3))
    var = RNG.uniform(0.1, 2, size={"same": (5, 3), "row": (5, 1), "left out": (5,)}[form])
    same_as_torch(
        lambda x, y, v: F.gaussian_nll_loss(x, y, v, full=full, reduction=reduction),
        lambda x, y, v: TF.gaussian_nll_loss(x, y, v, full=full, reduction=reduction),
        [x, y, var],
    )


def test_gaussian_nll_clamps_small_variances_as_torch():
    same_as_torch(F.gaussian_nll_loss, TF.gaussian_nll_loss, [np.ones(2), np.zeros(2), np.array([0.0, 1e-9])])
    with pytest.raises(ShapeError, match="one variance a row"):
        F.gaussian_nll_loss(cr.zeros((2, 3)), cr.zeros((2, 3)), cr.zeros((3,)))


@pytest.mark.parametrize("log_target", [True, False])
@pytest.mark.parametrize("reduction", [*REDUCTIONS, "batchmean"])
@pytest.mark.filterwarnings("ignore:reduction")
def test_kl_div(reduction, log_target):
    p, q = RNG.dirichlet(np.ones(4), size=(2, 5))
    q[0] = [1.0, 0.0, 0.0, 0.0]
    target = np.log(q[1:]) if log_target else q[1:]
    same_as_torch(
        lambda a, b: F.kl_div(a, b, reduction, log_target),
        lambda a, b: TF.kl_div(a, b, reduction=reduction, log_target=log_target),
        [np.log(p[1:]), target],
    )
    assert F.kl_div(cr.log(cr.asarray(q[:1] + 1e-300)), cr.asarray(q[:1]), "sum").item() == 0.0


@pytest.mark.parametrize(
    "loss", [F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss, F.binary_cross_entropy_with_logits,
             F.binary_cross_entropy, F.poisson_nll_loss, F.kl_div]
)  # fmt: skip
def test_no_broadcasting(loss):
    with pytest.raises(ShapeError) as caught:
        loss(cr.zeros((4, 1)), cr.zeros((4,)))
    text = str(caught.value)
    assert "(4, 1)" in text and "(4,)" in text and "unsqueeze(-1)" in text and __file__ in text
    with pytest.raises(ShapeError, match=r"target\.squeeze\(-1\)"):
        loss(cr.zeros((4,)), cr.zeros((4, 1)))
    with pytest.raises(DTypeError, match="float64"):
        loss(cr.zeros((4,)), cr.zeros((4,), dtype="float64"))
