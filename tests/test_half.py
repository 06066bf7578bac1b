"""float16 and bfloat16 as dtypes of tensors: making, converting, showing, storing them, and mixing them with others."""

from __future__ import annotations

import copy
import hashlib
import pickle

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.dtypes import as_dtype, converted, promote, widened
from chainrule.errors import DTypeError
from chainrule.train.runfolder import RunWriter, load_weights

HALVES = (cr.float16, cr.bfloat16)
EPS = {cr.float16: 2.0**-10, cr.bfloat16: 2.0**-7}


def exact(x: float, dtype) -> float:
    """`x` rounded to nearest even, by exact arithmetic on whole numbers of the last place."""
    digits, smallest, largest = (11, -24, 65504.0) if dtype is cr.float16 else (8, -133, 3.3895313892515355e38)
    if x == 0 or not np.isfinite(x):
        return x
    _, exponent = np.frexp(x)
    unit = 2.0 ** max(int(exponent) - digits, smallest)
    value = float(np.rint(x / unit)) * unit
    return float(np.copysign(np.inf, x)) if abs(value) > largest else value


@pytest.mark.parametrize("source", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", HALVES, ids=lambda d: d.name)
def test_conversion_rounds_once(dtype, source):
    rng = np.random.default_rng(0)
    scales = 2.0 ** rng.integers(-140 if dtype is cr.bfloat16 else -30, 128 if dtype is cr.bfloat16 else 18, 3000)
    x = rng.standard_normal(3000) * scales
    digits = 11 if dtype is cr.float16 else 8
    ties = (1 + (2 * np.arange(40) + 1) * 2.0**-digits) * 2.0 ** rng.integers(-4, 5, 40)
    nearly = [np.nextafter(t, s * np.inf) for t in ties for s in (-1, 1)]  # float32 would round these to the tie
    special = [0.0, -0.0, np.inf, -np.inf, 65504, 65519.9, 65520, 3.3895e38, 3.3962e38, 2.0**-24, 2.0**-25, 1e-45]
    x = np.concatenate([x, ties, nearly, special]).astype(source)
    expected = np.array([exact(float(v), dtype) for v in x])
    got = widened(converted(x, dtype)).astype(np.float64)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))
    np.testing.assert_array_equal(cr.asarray(x).astype(dtype).astype("float64").numpy(), expected)
    assert np.isnan(widened(converted(np.array([np.nan], source), dtype))).all()


def test_all_bit_patterns_survive_the_way_through_float32():
    bits = np.arange(1 << 16, dtype=np.uint16)
    for dtype in HALVES:
        x = bits.view(dtype.numpy)
        back = converted(widened(x), dtype).view(np.uint16)
        through = cr.asarray(x).astype("float32").astype(dtype)._value("test").view(np.uint16)
        number = ~np.isnan(widened(x))
        np.testing.assert_array_equal(back[number], bits[number])
        np.testing.assert_array_equal(through[number], bits[number])
        assert np.isnan(widened(through.view(dtype.numpy)))[~number].all()


def test_dtypes_and_their_arrays():
    assert as_dtype("bfloat16") is cr.bfloat16 and as_dtype(np.float16) is cr.float16
    assert as_dtype(cr.bfloat16.numpy) is cr.bfloat16 and as_dtype(np.uint16) is cr.uint16
    assert pickle.loads(pickle.dumps(cr.bfloat16)) is cr.bfloat16
    x = cr.asarray([1.0, 2.5, 3.14159], dtype=cr.bfloat16)
    assert (x.dtype, x.itemsize, x.nbytes) == (cr.bfloat16, 2, 6)
    assert repr(x) == "tensor([1.      , 2.5     , 3.140625], dtype=bfloat16)"
    assert repr(x[2]) == "tensor(3.140625, dtype=bfloat16)"
    assert x.tolist() == [1.0, 2.5, 3.140625] and x[1].item() == 2.5 and float(x[1]) == 2.5
    values = x.numpy()
    assert values.dtype == np.float32 and np.asarray(x).dtype == np.float32
    assert np.asarray(x, dtype=np.float64).tolist() == [1.0, 2.5, 3.140625]
    half = cr.asarray([0.1], dtype="float16")
    assert half.numpy().dtype == np.float16 and np.shares_memory(half.numpy(), half.numpy())
    assert cr.asarray(np.array([0.1], np.float16)).dtype is cr.float16
    assert cr.asarray(np.array([0.1], np.float64), dtype="bfloat16").item() == 0.10009765625
    assert cr.tensor([True, False], dtype="bfloat16").tolist() == [1.0, 0.0]
    with pytest.raises((BufferError, RuntimeError), match=r"bfloat16|Unsupported dtype"):  # NumPy has no such dtype
        np.from_dlpack(x)
    with pytest.raises(ValueError, match="needs a copy"):
        np.array(x, copy=False)
    with pytest.raises(TypeError):  # the bit patterns are no numbers to NumPy
        x._value("test") + x._value("test")


def test_bfloat16_of_other_packages():
    other = pytest.importorskip("ml_dtypes")
    x = np.array([1.0, 2.5, 3.140625]).astype(other.bfloat16)
    assert cr.asarray(x).dtype is cr.bfloat16 and cr.asarray(x).tolist() == [1.0, 2.5, 3.140625]


def test_creation():
    for dtype in HALVES:
        assert cr.zeros(3, dtype=dtype).dtype is dtype and cr.ones_like(cr.zeros(2, dtype=dtype)).dtype is dtype
        assert cr.arange(5, dtype=dtype).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert cr.arange(1, 2, 0.5, dtype=dtype).tolist() == [1.0, 1.5]
        assert cr.linspace(0, 1, 3, dtype=dtype).tolist() == [0.0, 0.5, 1.0]
        assert cr.full((2,), 0.1, dtype=dtype).tolist() == [exact(0.1, dtype)] * 2
        assert cr.eye(2, dtype=dtype).tolist() == [[1.0, 0.0], [0.0, 1.0]]
        assert cr.full((1,), 1e39, dtype=dtype).item() == float("inf")
        assert cr.zeros(2, dtype="float32").half().dtype is cr.float16
        assert cr.zeros(2).bfloat16().dtype is cr.bfloat16
        for draw in (cr.rand(2000, dtype=dtype), cr.randn(2000, dtype=dtype)):
            assert draw.dtype is dtype
        uniform = cr.rand(20000, dtype=dtype).numpy().astype(np.float64)
        assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.02
        assert cr.bernoulli(cr.full((500,), 0.5, dtype=dtype)).dtype is cr.bool


def test_limits():
    info = cr.finfo("bfloat16")
    assert (info.bits, info.eps, info.dtype) == (16, 2.0**-7, cr.bfloat16)
    assert info.max == exact(3.3895e38, cr.bfloat16) == -info.min and info.smallest_normal == 2.0**-126
    assert cr.asarray([info.max], dtype="bfloat16").item() == info.max
    assert cr.finfo(cr.float16).max == 65504.0 and cr.finfo(cr.float16).eps == 2.0**-10


def test_promotion():
    f16, bf16, f32, f64 = cr.float16, cr.bfloat16, cr.float32, cr.float64
    table = {(f16, f16): f16, (bf16, bf16): bf16, (f16, bf16): f32, (f16, f32): f32, (bf16, f32): f32}
    table |= {(f16, f64): f64, (bf16, f64): f64}
    for (a, b), result in table.items():
        assert promote(a, b) is result and promote(b, a) is result
        assert (cr.ones(2, dtype=a) + cr.ones(2, dtype=b)).dtype is result
        assert cr.result_type(a, b) is result
    for dtype in HALVES:
        x = cr.ones(2, dtype=dtype)
        for value in (x + 1, x * 0.1, 2.0 - x, x / 3, x**2, -x, cr.exp(x), x.mean(), x @ x, cr.where(x > 0, x, 0.0)):
            assert value.dtype is dtype
        assert (x > 0.5).dtype is cr.bool and cr.can_cast(dtype, "float32") and not cr.can_cast("float32", dtype)
        with pytest.raises(DTypeError, match="do not mix"):
            x + cr.arange(2)
        assert cr.isdtype(dtype, "real floating")


def test_products_accumulate_in_float32():
    for dtype in HALVES:
        x = cr.full((3000,), 1.0 + EPS[dtype], dtype=dtype)
        expected = exact(3000 * (1 + EPS[dtype]) ** 2, dtype)
        assert (x @ x).item() == cr.vecdot(x, x).item() == expected
        assert (x.reshape(1, -1) @ x).item() == expected
        assert cr.einsum("i,i->", x, x).item() == expected
        matrix = x.reshape(1, -1) @ cr.stack([x, x], axis=1)
        assert matrix.dtype is dtype and matrix.tolist() == [[expected, expected]]


def test_compiled_functions_take_and_give_half_dtypes():
    @cr.compile
    def function(x, y):
        return cr.tanh(x) * 2.0 + y, (x.astype("float32") * 3.0).sum()

    for dtype in HALVES:
        x, y = (cr.randn(7, 5, dtype=dtype) for _ in range(2))
        first, second = function(x, y)
        assert first.dtype is dtype and second.dtype is cr.float32
        a, b = cr.tanh(x) * 2.0 + y, (x.astype("float32") * 3.0).sum()
        assert first._value("test").tobytes() == a._value("test").tobytes() and second.item() == b.item()
    assert len(function.programs) == 2
    stacked = cr.compile(lambda x: x * 2.0).repeat(3, cr.ones(2, dtype="bfloat16"))
    assert stacked.dtype is cr.bfloat16 and stacked.tolist() == [[2.0, 2.0]] * 3


def test_gradients_and_copies():
    for dtype in HALVES:
        x = cr.tensor([1.0, 2.0, 3.0], dtype=dtype, requires_grad=True)
        (x * x).sum().backward()
        assert x.grad.dtype is dtype and x.grad.tolist() == [2.0, 4.0, 6.0]
        for other in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
            assert other.dtype is dtype and other.tolist() == x.tolist() and other.requires_grad
        wide = cr.tensor([1.0], requires_grad=True)
        wide.astype(dtype).sum().backward()
        assert wide.grad.dtype is cr.float32


@pytest.mark.parametrize("dtype", HALVES, ids=lambda d: d.name)
def test_modules_in_half_dtypes(dtype, tmp_path):
    cr.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).to(dtype)
    state = model.state_dict()
    assert all(value.dtype is dtype for value in state.values())
    other = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).to(dtype)
    other.load_state_dict(state)
    x = cr.randn(3, 4, dtype=dtype)
    assert other(x).tolist() == model(x).tolist() and model(x).dtype is dtype
    optimizer = cr.optim.SGD(model.parameters(), lr=0.25)
    first = None
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        first = loss.item() if first is None else first
    assert loss.item() < 0.5 * first and loss.dtype is dtype
    with pytest.raises(DTypeError) as caught:
        nn.Linear(4, 8).load_state_dict(nn.Linear(4, 8).to(dtype).state_dict())
    assert f"'weight' is {dtype.name}, the module's is float32" in str(caught.value)

    arrays = {name: value._value("test") for name, value in state.items()}
    with RunWriter(tmp_path / "run") as writer:
        checksum = writer.write_weights(arrays | {"count": np.arange(3)})
        writer.commit()
    path = tmp_path / "run" / "model.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == checksum
    loaded = load_weights(path, checksum)
    assert {name: array.dtype for name, array in loaded.items()} == {
        **dict.fromkeys(arrays, dtype.numpy), "count": np.dtype(np.int64),
    }  # fmt: skip
    assert all(loaded[name].tobytes() == array.tobytes() for name, array in arrays.items())


def test_safetensors_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    values = {"a": torch.tensor([1.5, 3.140625]).bfloat16(), "b": torch.arange(3).half()}
    save_file(values, tmp_path / "x.safetensors")
    loaded = load_weights(tmp_path / "x.safetensors", None)
    assert cr.asarray(loaded["a"]).tolist() == [1.5, 3.140625] and loaded["b"].tolist() == [0.0, 1.0, 2.0]
    with RunWriter(tmp_path / "run") as writer:
        writer.write_weights(loaded)
        writer.commit()
    back = load_file(tmp_path / "run" / "model.safetensors")
    assert back["a"].dtype is torch.bfloat16 and torch.equal(back["a"], values["a"])
