"""Normalisation against PyTorch in value and all gradients; derivatives of second order; refusals."""

# ruff: noqa: B023 (the functions are called within the turn of the loop that makes them)

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule.errors import CompileError, ConfigError, DTypeError, ShapeError

from .compare import close, same_as_torch, torch

TF = torch.nn.functional
DTYPES = (np.float64, np.float32)
#: in units of compare.TOLERANCE: gradients divide by the standard deviation and add up the whole batch
SCALE = {np.float64: 1.0, np.float32: 8.0}


def shapes(seed, ranks=(2, 3, 4, 5), number=3):
    """Random shapes (batch, channels, ...), two positions at least."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        rank = int(rng.choice(ranks))
        yield (int(rng.integers(2, 6)), int(rng.integers(1, 7)), *map(int, rng.integers(2, 6, size=rank - 2)))


def arrays(shape, vector, seed=0):
    """x away from 0, a weight and a bias."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) * 2 + 3, rng.normal(size=vector) + 1, rng.normal(size=vector)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", ["both", "weight", "none"])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(training, affine, dtype):
    for seed, shape in enumerate(shapes(1)):
        rng = np.random.default_rng(seed)
        running = [rng.normal(size=shape[1]).astype(dtype), rng.uniform(0.5, 2, size=shape[1]).astype(dtype)]
        ours = [cr.asarray(r) for r in running]
        theirs = [torch.tensor(r) for r in running]
        given = arrays(shape, shape[1:2], seed)
        options = {"training": training, "momentum": 0.3, "eps": 1e-4}

        def vectors(w, b):
            return {"both": (w, b), "weight": (w, None), "none": (None, None)}[affine]

        same_as_torch(
            lambda x, w, b: F.batch_norm(x, *ours, *vectors(w, b), **options),
            lambda x, w, b: TF.batch_norm(x, *theirs, *vectors(w, b), **options),
            given,
            dtype,
            differentiate={"both": [0, 1, 2], "weight": [0, 1], "none": [0]}[affine],
            scale=SCALE[dtype],
        )
        for a, b in zip(ours, theirs):
            close(a.numpy(), b.numpy(), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", ["both", "weight", "none"])
def test_group_norm(affine, dtype):
    for seed, shape in enumerate(shapes(2, (3, 4, 5))):
        for groups in sorted({1, shape[1], *(g for g in (2, 3) if shape[1] % g == 0)})[:2]:

            def vectors(w, b):
                return {"both": (w, b), "weight": (w, None), "none": (None, None)}[affine]

            same_as_torch(
                lambda x, w, b: F.group_norm(x, groups, *vectors(w, b)),
                lambda x, w, b: TF.group_norm(x, groups, *vectors(w, b)),
                arrays(shape, shape[1:2], seed),
                dtype,
                differentiate={"both": [0, 1, 2], "weight": [0, 1], "none": [0]}[affine],
                scale=SCALE[dtype],
            )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("use_input_stats", [True, False])
def test_instance_norm(use_input_stats, dtype):
    for seed, shape in enumerate(shapes(3, (3, 4, 5))):
        rng = np.random.default_rng(seed)
        running = [rng.normal(size=shape[1]).astype(dtype), rng.uniform(0.5, 2, size=shape[1]).astype(dtype)]
        ours, theirs = [cr.asarray(r) for r in running], [torch.tensor(r) for r in running]
        options = {"use_input_stats": use_input_stats, "momentum": 0.2}
        same_as_torch(
            lambda x, w, b: F.instance_norm(x, *ours, w, b, **options),
            lambda x, w, b: TF.instance_norm(x, *theirs, w, b, **options),
            arrays(shape, shape[1:2], seed),
            dtype,
            scale=SCALE[dtype],
        )
        for a, b in zip(ours, theirs):
            close(a.numpy(), b.numpy(), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [1, 2])
def test_layer_norm_and_rms_norm(axes, dtype):
    for seed, shape in enumerate(shapes(4, (2, 3, 4))):
        shape = (*shape[:-1], shape[-1] + 1)
        normalized = shape[-axes:]
        given = arrays(shape, normalized, seed)
        same_as_torch(
            lambda x, w, b: F.layer_norm(x, normalized, w, b, 1e-4),
            lambda x, w, b: TF.layer_norm(x, normalized, w, b, 1e-4),
            given, dtype, scale=SCALE[dtype],
        )  # fmt: skip
        for eps in (None, 1e-3):
            same_as_torch(
                lambda x, w: F.rms_norm(x, normalized, w, eps),
                lambda x, w: TF.rms_norm(x, normalized, w, eps),
                given[:2], dtype, scale=SCALE[dtype],
            )  # fmt: skip
        same_as_torch(
            lambda x: F.layer_norm(x, normalized), lambda x: TF.layer_norm(x, normalized), given[:1], dtype,
            scale=SCALE[dtype],
        )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_local_response_norm(size, dtype):
    for seed, shape in enumerate(shapes(5, (3, 4, 5))):
        options = {"alpha": 0.3, "beta": 0.6, "k": 1.5}
        same_as_torch(
            lambda x: F.local_response_norm(x, size, **options),
            lambda x: TF.local_response_norm(x, size, **options),
            arrays(shape, 1, seed)[:1], dtype, scale=SCALE[dtype],
        )  # fmt: skip


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
def test_normalize(p):
    for dim in (0, 1, -1):
        x = arrays((3, 4, 2), 1)[0]
        same_as_torch(lambda x: F.normalize(x, p, dim), lambda x: TF.normalize(x, p, dim), [x])
    zero = cr.zeros((1, 3)).requires_grad_()
    y = F.normalize(zero, p)
    assert y.tolist() == [[0.0, 0.0, 0.0]]
    (grad,) = cr.vjp(lambda z: F.normalize(z, p), cr.zeros((1, 3)))[1](cr.ones((1, 3)))
    assert np.isfinite(grad.numpy()).all()


def layer(kind):
    """A function of (x, w, b), x of shape (4, 6, 3)."""
    return {
        "batch": lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        "group": lambda x, w, b: F.group_norm(x, 3, w, b),
        "instance": lambda x, w, b: F.instance_norm(x, None, None, w, b),
        "layer": lambda x, w, b: F.layer_norm(x, (6, 3), cr.expand_dims(w, 1) * cr.ones((6, 3), dtype=w.dtype)),
        "rms": lambda x, w, b: F.rms_norm(x, 3, w[:3]),
    }[kind]


@pytest.mark.parametrize("kind", ["batch", "group", "instance", "layer", "rms"])
def test_second_derivatives_forward_mode_and_compiled_bits(kind):
    """The detached mean leaves no trace in any derivative."""
    f = layer(kind)
    x, w, b = (cr.asarray(a) for a in arrays((4, 6, 3), 6))
    rng = np.random.default_rng(9)
    weights, u = (cr.asarray(rng.normal(size=x.shape)) for _ in range(2))

    def loss(x):
        return (f(x, w, b) * weights).sum()

    gradient = cr.grad(loss)
    step = 1e-5
    numeric = (gradient(x + u * step).numpy() - gradient(x - u * step).numpy()) / (2 * step)
    exact = cr.grad(lambda x: (gradient(x) * u).sum())(x).numpy()
    np.testing.assert_allclose(exact, numeric, rtol=1e-6, atol=1e-7)
    slope = cr.jvp(loss, (x,), (u,))[1].item()
    assert slope == pytest.approx(float((gradient(x) * u).sum()), rel=1e-9)
    both = cr.compile(lambda x: (f(x, w, b), gradient(x)))(x)
    np.testing.assert_array_equal(both[0].numpy(), f(x, w, b).numpy())
    np.testing.assert_array_equal(both[1].numpy(), gradient(x).numpy())


def test_variance_far_from_zero_keeps_its_digits():
    """Two passes: a mean 1e4 times the deviation costs the digits of x itself, none of the variance."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(512, 3)) + 1e4).astype(np.float32)
    exact = (x.astype(np.float64) - x.astype(np.float64).mean(0)) / x.astype(np.float64).std(0)
    y = F.batch_norm(cr.asarray(x), None, None, training=True, eps=0.0).numpy()
    assert abs(y - exact).max() < 5e-3  # a few roundings of the mean, each 1e4 * 2^-24 = 6e-4
    assert abs(y.std(0) - 1).max() < 1e-5


def test_statistics_of_half_precision_are_float32():
    x = (np.random.default_rng(0).normal(size=(64, 2)) + 200).astype(np.float16)
    try:
        half = cr.asarray(x)
        assert half.dtype.name == "float16"
        y = F.batch_norm(half, None, None, training=True)
        values = y.astype("float32").numpy()
    except (DTypeError, AttributeError):
        pytest.skip("no half precision here")
    wide = x.astype(np.float32)
    assert y.dtype.name == "float16"
    np.testing.assert_allclose(values, (wide - wide.mean(0)) / wide.std(0), atol=4e-3)


def test_vmap_maps_layers_without_state_and_refuses_state():
    x = cr.asarray(arrays((5, 4, 3), 1)[0])
    mapped = cr.vmap(lambda v: F.layer_norm(v, 3))(x)
    np.testing.assert_allclose(mapped.numpy(), F.layer_norm(x, 3).numpy(), rtol=1e-12)
    batches = cr.vmap(lambda v: F.batch_norm(v, None, None, training=True))(x)
    one = F.batch_norm(x[1], None, None, training=True)
    np.testing.assert_allclose(batches[1].numpy(), one.numpy(), rtol=1e-12, atol=1e-12)
    mean, var = cr.zeros((3,), dtype="float64"), cr.ones((3,), dtype="float64")
    with pytest.raises(CompileError) as caught:
        cr.vmap(lambda v: F.batch_norm(v, mean, var, training=True))(x)
    text = str(caught.value)
    assert "batch_norm: inside vmap the state that it writes would differ from example to example" in text
    assert "help: call eval() on the layer" in text


REFUSED = {
    "one value": (
        lambda: F.batch_norm(cr.ones((1, 4)), None, None, training=True), ShapeError,
        "batch_norm: training needs more than one value per channel, there is 1 (batch 1 times 1 positions); "
        "operands float32[1, 4]",
    ),
    "no running": (lambda: F.batch_norm(cr.ones((2, 4)), None, None), ConfigError,
                   "batch_norm: evaluation needs running_mean and running_var; operands float32[2, 4]"),
    "weight": (lambda: F.batch_norm(cr.ones((2, 4)), None, None, cr.ones((3,)), training=True), ShapeError,
               "batch_norm: weight has shape (3,), input has 4 channels (axis 1); operands float32[2, 4], float32[3]"),
    "dtype": (lambda: F.layer_norm(cr.ones((2, 4)), 4, cr.ones((4,), dtype="float64")), DTypeError,
              "layer_norm: input is float32, weight is float64; operands float32[2, 4], float64[4]"),
    "groups": (lambda: F.group_norm(cr.ones((2, 4)), 3), ShapeError,
               "group_norm: 4 channels (axis 1) do not divide into 3 groups; operands float32[2, 4]"),
    "instance": (lambda: F.instance_norm(cr.ones((2, 4, 1))), ShapeError,
                 "instance_norm: training needs more than one position per channel, there is 1; "
                 "operands float32[2, 4, 1]"),
    "layer": (lambda: F.layer_norm(cr.ones((2, 4)), (2, 3)), ShapeError,
              "layer_norm: input has shape (2, 4), its last axes should be (2, 3); operands float32[2, 4]"),
    "integers": (lambda: F.rms_norm(cr.asarray([1, 2]), 2), DTypeError,
                 "rms_norm: input must be floating, not int64; operands int64[2]"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    function, kind, problem = REFUSED[case]
    with pytest.raises(kind) as caught:
        function()
    lines = str(caught.value).splitlines()
    assert lines[0] == problem
    assert lines[1].startswith("help:") or "test_normalisation.py:" in lines[1]
