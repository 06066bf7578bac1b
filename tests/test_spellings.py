"""Methods of tensors under the names of NumPy and PyTorch, against both."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import AxisError, ConfigError, ShapeError

A = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 11


def same(found, wanted):
    assert found.shape == tuple(wanted.shape)
    np.testing.assert_array_equal(found.numpy(), np.asarray(wanted))


CALLS = {
    "index_select": lambda x, i: x.index_select(1, i),
    "select": lambda x, i: x.select(-1, 2),
    "narrow": lambda x, i: x.narrow(2, 1, 2),
    "narrow from the end": lambda x, i: x.narrow(2, -3, 2),
    "unbind": lambda x, i: x.unbind(1)[2],
    "movedim": lambda x, i: x.movedim(0, 2),
    "mm": lambda x, i: x[0].mm(x[1].t()),
    "bmm": lambda x, i: x.bmm(x.transpose(1, 2)),
    "mv": lambda x, i: x[0].mv(x[1, 0]),
    "view_as": lambda x, i: x.view_as(x.reshape(6, 4)),
    "reshape_as": lambda x, i: x.reshape_as(x.reshape(4, 6)),
    "expand_as": lambda x, i: x[0, 0].expand_as(x),
    "new_full": lambda x, i: x.new_full((2, 2), 3.5),
    "new_tensor": lambda x, i: x.new_tensor([1, 2]),
    "greater": lambda x, i: x.greater(0),
    "copysign": lambda x, i: x.copysign(-x),
    "hypot": lambda x, i: x.hypot(x * 0),
    "bitwise_not": lambda x, i: (x > 0).bitwise_not(),
    "diff": lambda x, i: x.diff(),
}


@pytest.mark.parametrize("name", CALLS)
def test_as_pytorch(name):
    torch = pytest.importorskip("torch")
    index = np.array([2, 0])
    wanted = CALLS[name](torch.tensor(A), torch.tensor(index))
    found = CALLS[name](cr.asarray(A), cr.asarray(index))
    same(found, wanted)
    assert found.dtype.name == str(wanted.dtype).removeprefix("torch.")


def test_questions():
    x = cr.asarray(A)
    assert x.is_floating_point() and not x.is_complex() and cr.ones(1, dtype=cr.complex64).is_complex()
    assert not cr.arange(2).is_floating_point()
    assert x.element_size() == 4 and x.nelement() == 24 and x.ndimension() == 3 and x.is_contiguous()
    assert x.new_empty(2, 3).shape == (2, 3) and x.tobytes() == A.tobytes()


def test_copies_are_handles_of_their_own():
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    y = x.copy()
    (y * y).sum().backward()
    assert x.grad.tolist() == [2, 4]
    z = y.detach().copy()
    z[0] = 7.0
    assert y.tolist() == [1, 2]


def test_operators_of_python():
    x = cr.asarray([7.5, -7.5])
    for found, wanted in zip(divmod(x, 2.0), divmod(x.numpy(), 2.0)):
        same(found, wanted)
    for found, wanted in zip(divmod(20, cr.asarray([3, 7])), divmod(20, np.array([3, 7]))):
        same(found, wanted)
    assert 7.5 in x and 2.0 not in x and cr.asarray(-7.5) in x


def test_errors():
    x = cr.asarray(A)
    with pytest.raises(ShapeError, match=r"^mm: operands with 2 and 2 axes are needed; operands float32\[2, 3, 4\]"):
        x.mm(x)
    with pytest.raises(ShapeError, match=r"^narrow: 3 elements from 2 on, of 4 along axis 2"):
        x.narrow(2, 2, 3)
    with pytest.raises(AxisError, match=r"^select: axis 3 is out of range for 3 axes"):
        x.select(3, 0)
    with pytest.raises(ConfigError, match=r"^resize_: memory of tensors is not written"):
        x.resize_(3)


def test_reading_and_writing_by_index_takes_keywords_as_in_pytorch() -> None:
    x, index = cr.zeros((2, 3)), cr.asarray([2, 0])
    assert x.index_select(dim=1, index=index).shape == (2, 2)
    assert x.index_fill(dim=1, index=index, value=1.0)[0].tolist() == [1.0, 0.0, 1.0]
    assert x.index_add(dim=0, index=cr.asarray([1]), source=cr.ones((1, 3)))[1].tolist() == [1.0, 1.0, 1.0]
    assert x.scatter(dim=1, index=cr.asarray([[1], [2]]), src=5.0).tolist() == [[0.0, 5.0, 0.0], [0.0, 0.0, 5.0]]
    found = x.masked_fill(mask=x == 0, value=cr.asarray(2.0, dtype=cr.float64))
    assert found.dtype is cr.float32 and found.tolist() == [[2.0] * 3] * 2  # the method is the function
