"""Handles of their own, copies of handles, and foreign values that cannot or can become tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError

from .control_cases import refused


@pytest.mark.parametrize(
    "operation", [lambda x: +x, cr.positive, cr.clip, lambda x: x.t(), copy.copy, lambda x: cr.asarray(x, copy=True)]
)
def test_results_are_handles_of_their_own(operation: Callable[[Any], Any]) -> None:
    x = cr.asarray([1.0, 2.0])
    y = operation(x)
    y += 1
    assert x.tolist() == [1.0, 2.0] and y.tolist() == [2.0, 3.0]
    w = cr.tensor([1.0, 2.0], requires_grad=True)
    z = operation(w * 3)
    z *= 2
    z.sum().backward()
    assert w.grad.tolist() == [6.0, 6.0]


def test_copies_of_leaves_are_leaves_without_gradient() -> None:
    w = cr.nn.Parameter(cr.ones(2))
    w.name = "weight"
    (w * 2).sum().backward()
    v = copy.copy(w)
    assert type(v) is cr.nn.Parameter and v.is_leaf and v.requires_grad and v.name == "weight" and v.grad is None
    (v * 3).sum().backward()
    assert v.grad.tolist() == [3.0, 3.0] and w.grad.tolist() == [2.0, 2.0]
    assert cr.compile(lambda x: copy.copy(x) + 1)(cr.ones(2)).tolist() == [2.0, 2.0]  # asks for no value


def test_other_byte_orders_are_converted() -> None:
    source = np.array([1.0, 2.5], ">f4")
    assert cr.asarray(source).tolist() == [1.0, 2.5] and cr.asarray(source).dtype is cr.float32
    assert (cr.asarray([1.0, 1.0]) + source).tolist() == [2.0, 3.5]
    assert cr.asarray(np.array([1, 2], ">i2"), dtype=cr.int64).tolist() == [1, 2]


def test_values_that_do_not_become_tensors() -> None:
    refused(DTypeError, "asarray: no array can be made of this: Python integer 300 out of bounds for uint8\n"
            "recorded at HERE", lambda: cr.asarray([300], dtype=cr.uint8))  # fmt: skip
    refused(DTypeError, "asarray: elements of type <U1 are not numbers that tensors hold\nrecorded at HERE",
            lambda: cr.asarray(["a"]))  # fmt: skip
    refused(DTypeError, "tensor: elements of type object are not numbers that tensors hold\nrecorded at HERE",
            lambda: cr.tensor(None))  # fmt: skip
    long = np.ones(2, np.longdouble)
    if long.dtype != np.float64:
        refused(DTypeError, f"asarray: elements of type {long.dtype} are not numbers that tensors hold\n"
                "recorded at HERE", lambda: cr.asarray(long))  # fmt: skip
    refused(DTypeError, "bitwise_and: the bool True does not mix with int64; operands int64[1]\nrecorded at HERE\n"
            "help: convert the tensor with .astype(chainrule.bool)", lambda: cr.asarray([1]) & True)  # fmt: skip


def test_slices_that_are_none() -> None:
    x = cr.asarray([1.0, 2.0, 3.0])
    refused(ConfigError, "index: slice step cannot be zero; operands float32[3]\nrecorded at HERE", lambda: x[::0])
    problem = "slice indices must be integers or None or have an __index__ method"
    refused(DTypeError, f"index: {problem}; operands float32[3]\nrecorded at HERE", lambda: x[0:1.5])
    with pytest.raises(DTypeError, match=r"^index: slice indices"):
        x[:1.5] = 0.0
    assert x.tolist() == [1.0, 2.0, 3.0]


def test_libraries_that_refuse_to_export() -> None:
    class Foreign:
        def __dlpack_device__(self):
            return (1, 0)

        def __dlpack__(self, **_):
            raise BufferError("there is a gradient")

    refused(BufferError, "from_dlpack: there is a gradient\nrecorded at HERE", lambda: cr.from_dlpack(Foreign()))
