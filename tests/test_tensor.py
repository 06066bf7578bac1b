"""Tensors: values, state, operators, in-place writing, conversion."""

import copy
import pickle
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import (
    ConfigError,
    DifferentiationError,
    DTypeError,
    GradientNotStoredError,
    PlaceholderError,
    ShapeError,
)
from chainrule.tensor import NOT_STORED, Tensor, bump, flag, hyper, node_of, state, version


def test_creation_copies_once_and_keeps_dtypes():
    source = np.arange(6.0).reshape(2, 3)
    x = cr.asarray(source)
    source[0, 0] = 99
    assert x.numpy()[0, 0] == 0
    assert x.dtype is cr.float64
    assert cr.asarray(source.T).numpy().flags.c_contiguous
    assert cr.tensor([1.0, 2]).dtype is cr.float32
    assert cr.tensor([1, 2]).dtype is cr.int64
    assert cr.tensor([True]).dtype is cr.bool
    assert cr.tensor(np.float64(1)).dtype is cr.float64
    assert cr.tensor([np.float64(1)]).dtype is cr.float64
    assert cr.tensor([]).dtype is cr.float32
    assert cr.tensor([cr.tensor(1.0), cr.tensor(2.0)]).tolist() == [1, 2]
    assert cr.tensor([1, 2], dtype=cr.float64).dtype is cr.float64


def test_numpy_is_a_read_only_view():
    x = cr.tensor([1.0, 2.0])
    array = x.numpy()
    assert not array.flags.writeable and np.shares_memory(array, x.numpy())
    with pytest.raises(ValueError):
        array[0] = 3
    with pytest.raises(ValueError):
        array.flags.writeable = True
    with pytest.raises(ValueError):
        np.asarray(x)[0] = 3
    assert np.asarray(x, np.float64).dtype == np.float64
    copied = np.array(x)
    copied[0] = 5
    assert x.tolist() == [1, 2]


def test_dlpack_round_trip():
    x = cr.arange(6).reshape(2, 3) + 0
    assert np.array_equal(np.from_dlpack(x), x.numpy())
    assert cr.from_dlpack(np.arange(3.0)).tolist() == [0, 1, 2]
    torch = pytest.importorskip("torch")
    assert torch.from_dlpack(cr.tensor([1.0, 2.0])).tolist() == [1, 2]
    assert cr.asarray(torch.tensor([1.0, 2.0])).tolist() == [1, 2]


def test_attributes():
    x = cr.zeros((2, 3))
    assert (x.shape, x.ndim, x.size, x.numel(), x.itemsize, x.nbytes, x.device) == ((2, 3), 2, 6, 6, 4, 24, "cpu")
    assert len(x) == 2 and [r.shape for r in x] == [(3,), (3,)]
    assert x.T.shape == (3, 2) and x.mT.shape == (3, 2) and x.t().shape == (3, 2) and x.dim() == 2
    with pytest.raises(TypeError):
        len(cr.tensor(1.0))
    with pytest.raises(TypeError):
        iter(cr.tensor(1.0))


def test_python_numbers():
    assert float(cr.tensor(1.5)) == 1.5 and int(cr.tensor(7)) == 7 and bool(cr.tensor([True]))
    assert [10, 20, 30][cr.tensor(1)] == 20 and list(range(cr.tensor(3))) == [0, 1, 2]
    assert cr.tensor(2.5).item() == 2.5 and f"{cr.tensor(2.5):.2f}" == "2.50" and f"{cr.tensor(2)}" == "tensor(2)"
    with pytest.raises(ShapeError, match=r"any\(\) or all\(\)"):
        bool(cr.tensor([True, False]))
    with pytest.raises(DTypeError):
        [1, 2][cr.tensor(1.0)]


def test_repr():
    assert repr(cr.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert repr(cr.tensor([[1, 2], [3, 4]])) == "tensor([[1, 2],\n        [3, 4]])"
    assert repr(cr.tensor([1.0], dtype=cr.float64, requires_grad=True)) == (
        "tensor([1.], dtype=float64, requires_grad=True)"
    )
    assert repr(cr.zeros((0, 3))) == "tensor([], shape=(0, 3), dtype=float32)"


def test_scalars_are_weak():
    assert (cr.zeros(2) + 1).dtype is cr.float32
    assert (1.0 / cr.ones(2, dtype=cr.float64)).dtype is cr.float64
    assert (cr.arange(2) + 1).dtype is cr.int64
    assert (cr.asarray(np.zeros(2, np.int8)) + 1).dtype is cr.int8
    assert (np.float32(2) * cr.ones(2)).dtype is cr.float32
    assert (np.ones(2, np.float32) + cr.ones(2)).tolist() == [2, 2]
    assert (cr.ones(2) + cr.ones(2, dtype=cr.float64)).dtype is cr.float64
    with pytest.raises(DTypeError, match="bool"):
        cr.ones(2) * True
    with pytest.raises(TypeError):
        cr.ones(2) + "a"
    assert (cr.ones(2) == None) is False  # noqa: E711


def test_reflected_operators():
    x = cr.tensor([1.0, 2.0])
    assert (3 - x).tolist() == [2, 1] and (2 / x).tolist() == [2, 1] and (2**x).tolist() == [2, 4]
    assert (5 // cr.tensor([2, 3])).tolist() == [2, 1] and (7 % cr.tensor([4, 5])).tolist() == [3, 2]
    assert (3 > x).tolist() == [True, True]  # noqa: SIM300
    assert (1 | cr.tensor([2])).tolist() == [3]
    assert (~cr.tensor([True, False])).tolist() == [False, True]
    assert (np.array([[1.0, 2.0]], np.float32) @ x).tolist() == [5]


def test_in_place_operators_rebind_one_handle():
    x = cr.tensor([1.0, 2.0])
    y = x
    z = x.clone()
    before = node_of(x)
    x += 1
    assert x is y and x.tolist() == [2, 3] and z.tolist() == [1, 2] and node_of(x) is not before
    x *= 2
    x -= 1
    x /= 3
    x **= 2
    assert np.allclose(x.numpy(), [1, 25 / 9])
    x[0] = 7.0
    assert x[0].item() == 7
    with pytest.raises(ShapeError):
        x += cr.zeros((2, 2))
    with pytest.raises(DTypeError):
        i = cr.arange(2)
        i += 0.5
    x.zero_()
    assert x.tolist() == [0, 0] and x.fill_(2).tolist() == [2, 2] and x.copy_(cr.tensor(1)).tolist() == [1, 1]
    assert x.add_(cr.ones(2), alpha=2).mul_(2).tolist() == [6, 6]


def test_leaves_stay_leaves():
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(DifferentiationError, match="no_grad"):
        x += 1
    with cr.no_grad():
        x += 1
    assert x.is_leaf and x.requires_grad and x.tolist() == [2, 3]
    (x * x).sum().backward()
    assert x.grad.tolist() == [4, 6]
    x.requires_grad_(False)
    assert not x.requires_grad and not (x * 2).requires_grad
    y = (cr.tensor([1.0], requires_grad=True) * 2).detach()
    assert y.is_leaf and not y.requires_grad
    with pytest.raises(DTypeError):
        cr.arange(3).requires_grad_()
    with pytest.raises(DifferentiationError, match="detach"):
        (cr.ones(1, requires_grad=True) * 2).requires_grad_(False)


def test_grad_property():
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    x.grad = cr.ones(2)
    assert x.grad.tolist() == [1, 1]
    with pytest.raises(ShapeError):
        x.grad = cr.ones(3)
    x._grad = NOT_STORED
    with pytest.raises(GradientNotStoredError, match="keep_grads=True"):
        _ = x.grad
    x.grad = None
    assert x.grad is None


def test_copies_and_pickles():
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    x.name = "weight"
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.requires_grad and y.is_leaf and y.name == "weight" and y.tolist() == [1, 2]
        (y * 2).sum().backward()
        assert y.grad.tolist() == [2, 2] and x.grad is None


def test_conversions():
    x = cr.tensor([1.5, -2.5])
    assert x.double().dtype is cr.float64 and x.int().tolist() == [1, -2] and x.to(cr.int64).dtype is cr.int64
    assert x.to("cpu") is x and x.to("float64").dtype is cr.float64 and x.long().float().dtype is cr.float32
    assert x.to(cr.zeros(1, dtype=cr.float64)).dtype is cr.float64 and x.bool().tolist() == [True, True]
    assert x.view(2, 1).shape == (2, 1) and x.unsqueeze(0).squeeze(0).shape == (2,)
    assert x.expand(3, -1).shape == (3, 2) and x.repeat(2, 2).shape == (2, 4) and x.repeat(2).shape == (4,)
    with pytest.raises(ConfigError, match="cuda"):
        x.to("cuda")
    assert x.__array_namespace__() is cr


def test_versions_count_changes():
    before = version()
    bump()
    x = cr.ones(1)
    x.requires_grad_()
    x.grad = cr.ones(1)
    assert version() >= before + 3


class FakeTrace:
    """Records what the seam asks of a trace."""

    def __init__(self):
        self.cells, self.grads, self.log = {}, {}, []

    def read(self, tensor):
        self.log.append(("read", tensor))
        return self.cells.get(tensor, tensor._node)

    def write(self, tensor, node):
        self.cells[tensor] = node

    def read_grad(self, tensor):
        return self.grads.get(tensor)

    def write_grad(self, tensor, grad):
        self.grads[tensor] = grad

    def lift(self, getter):
        return node_of(cr.tensor(getter(), dtype=cr.float64))

    def guard(self, getter):
        self.log.append("guard")
        return getter()


def test_state_goes_through_the_trace():
    weight = cr.tensor([1.0, 2.0], requires_grad=True)
    untouched = weight._node
    assert hyper(lambda: 0.5) == 0.5 and flag(lambda: True) is True
    state.trace = trace = FakeTrace()
    try:
        loss = (weight * weight).sum()
        assert loss._trace is trace and ("read", weight) in trace.log
        loss.backward()
        rate = hyper(lambda: 0.5)
        assert isinstance(rate, Tensor) and rate.dtype is cr.float64 and rate.shape == ()
        assert flag(lambda: False) is False and trace.log[-1] == "guard"
        with cr.no_grad():
            weight -= rate.astype(cr.float32) * weight.grad
        assert node_of(weight) is trace.cells[weight] and trace.cells[weight].requires_grad
        local = cr.ones(2)
        local += 1
        assert local not in trace.cells
    finally:
        state.trace = None
    assert weight._node is untouched and weight.grad is None
    assert np.allclose(Tensor(trace.cells[weight]).numpy(), [0, 0])


def test_threads_have_their_own_mode():
    seen = []
    with cr.no_grad():
        thread = threading.Thread(target=lambda: seen.append(cr.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_placeholders_raise_when_read_but_print():
    texts = []

    def reads(x):
        texts.append(repr(x * 2))
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(PlaceholderError) as caught:
        cr.vmap(reads)(cr.ones((2, 3)))
    message = str(caught.value)
    line = reads.__code__.co_firstlineno + 2
    assert f"recorded at {__file__}:{line}" in message and "where" in message
    assert texts == ["tensor(<placeholder>, shape=(3,), dtype=float32)"]
    escaped = []
    cr.vmap(lambda x: escaped.append(x * 2) or x)(cr.ones((2, 3)))
    with pytest.raises(PlaceholderError):
        escaped[0].numpy()
    for read in (float, int, bool, np.asarray, lambda t: t.tolist(), lambda t: t.item()):
        with pytest.raises(PlaceholderError):
            cr.vmap(lambda x, read=read: read(x))(cr.ones(2))


def test_names_of_operands_in_errors():
    with pytest.raises(ShapeError) as caught:
        cr.zeros((4, 1)) - cr.zeros((3, 2))
    assert str(caught.value).startswith("sub: ") and "axis -2 has 4 and 3" in str(caught.value)


def test_namespace_is_a_plain_object():
    assert isinstance(SimpleNamespace(x=cr.ones(1)).x, Tensor)


def test_pending_work_is_bounded():
    x = cr.zeros(2)
    for _ in range(60000):
        x = x + 1.0
    pending, node = 0, x._node
    while node.inputs:
        pending += 1
        node = node.inputs[0]
    assert pending < 25000 and x.tolist() == [60000, 60000]
