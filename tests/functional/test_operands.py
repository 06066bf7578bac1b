"""Operands that are no tensors: every function and layer says which one, at which line of the user."""

import inspect

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule import nn
from chainrule.errors import ConfigError, DTypeError, ShapeError

from .compare import torch

IMAGE, ROWS, INDEX = cr.zeros((1, 4, 4, 4)), cr.zeros((2, 4)), cr.asarray([0, 1])

#: what is called with something that is no tensor, and what its message calls that
CALLS = {
    "conv2d: input": lambda x: F.conv2d(x, cr.zeros((2, 4, 3, 3))),
    "conv2d: weight": lambda x: F.conv2d(IMAGE, x),
    "conv_transpose2d: input": lambda x: F.conv_transpose2d(x, cr.zeros((4, 2, 3, 3))),
    "max_pool2d: input": lambda x: F.max_pool2d(x, 2),
    "avg_pool2d: input": lambda x: F.avg_pool2d(x, 2),
    "lp_pool2d: input": lambda x: F.lp_pool2d(x, 2, 2),
    "adaptive_avg_pool2d: input": lambda x: F.adaptive_avg_pool2d(x, 2),
    "adaptive_max_pool2d: input": lambda x: F.adaptive_max_pool2d(x, 2),
    "unfold: input": lambda x: F.unfold(x, 2),
    "fold: input": lambda x: F.fold(x, (4, 4), 2),
    "interpolate: input": lambda x: F.interpolate(x, 2),
    "pixel_shuffle: input": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle: input": lambda x: F.pixel_unshuffle(x, 2),
    "pad: input": lambda x: F.pad(x, (1, 1), "reflect"),
    "batch_norm: input": lambda x: F.batch_norm(x, None, None, training=True),
    "batch_norm: weight": lambda x: F.batch_norm(ROWS, None, None, 3.0 if x is None else x, training=True),
    "instance_norm: input": lambda x: F.instance_norm(x),
    "group_norm: input": lambda x: F.group_norm(x, 2),
    "layer_norm: input": lambda x: F.layer_norm(x, 4),
    "layer_norm: weight": lambda x: F.layer_norm(ROWS, 4, 3.0 if x is None else x),
    "rms_norm: input": lambda x: F.rms_norm(x, 4),
    "linear: input": lambda x: F.linear(x, ROWS),
    "linear: weight": lambda x: F.linear(ROWS, x),
    "softmax: input": lambda x: F.softmax(x, -1),
    "dropout: input": lambda x: F.dropout(x),
    "cross_entropy: input": lambda x: F.cross_entropy(x, INDEX),
    "mse_loss: input": lambda x: F.mse_loss(x, ROWS),
    "embedding: weight": lambda x: F.embedding(INDEX, x),
    "Flatten: input": lambda x: nn.Flatten()(x),
    "ReflectionPad2d: input": lambda x: nn.ReflectionPad2d(1)(x),
    "BatchNorm1d: input": lambda x: nn.BatchNorm1d(4)(x),
    "InstanceNorm2d: input": lambda x: nn.InstanceNorm2d(4)(x),
    "LSTM: input": lambda x: nn.LSTM(4, 2)(x),
    "GRU: the hidden state": lambda x: nn.GRU(4, 2)(cr.zeros((1, 1, 4)), (x, x)),
    "GRUCell: input": lambda x: nn.GRUCell(4, 2)(x),
    "LSTMCell: the hidden state": lambda x: nn.LSTMCell(4, 2)(ROWS, ([x], [x])),
    "MultiheadAttention: key": lambda x: nn.MultiheadAttention(4, 2)(ROWS, x, x),
    "MultiheadAttention: attn_mask": lambda x: nn.MultiheadAttention(4, 2)(ROWS, ROWS, ROWS, attn_mask=[x]),
    "Transformer: tgt": lambda x: nn.Transformer(4, 2, 1, 1, 8)(ROWS, x),
    "SinusoidalPositions: input": lambda x: nn.SinusoidalPositions(5, 4)(x),
    "apply_rotary: input": lambda x: nn.apply_rotary(x),
    "KeyValueCache: key": lambda x: nn.KeyValueCache(1, 1, 2, 2).append(x, x),
    "GraphConv: input": lambda x: nn.GraphConv(4, 2)(x, cr.sparse.CSR.from_dense(np.eye(2))),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_tensor_is_named(name):
    line = f"recorded at {__file__}:{inspect.getsourcelines(CALLS[name])[1]}"
    for value in (None, [1.0], 2.0, "x", torch.zeros(2, 4)):
        with pytest.raises(DTypeError, match=f"^{name} is .*, which is no tensor\n") as caught:
            CALLS[name](value)
        assert line in str(caught.value)


def test_tensors_of_others_are_told_apart():
    with pytest.raises(DTypeError, match=r"input is torch\.Tensor, .*\n.*\nhelp: convert it with chainrule\.asarray"):
        nn.Conv2d(4, 2, 3)(torch.zeros(1, 4, 4, 4))
    with pytest.raises(DTypeError, match=r"^cross_entropy: target is None, which is no tensor\nrecorded at \S+$"):
        F.cross_entropy(ROWS, None)


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_padding_that_cuts_off_more_than_there_is(mode):
    with pytest.raises(ShapeError, match="pad: axis 1 has 4 elements, 5 are cut off; operands float32"):
        F.pad(ROWS, (-3, -2), mode)


def test_graph_layers_need_a_sparse_adjacency():
    for layer in (nn.GraphConv(4, 2), nn.GraphAttention(4, 2)):
        with pytest.raises(DTypeError, match=r"adjacency is Tensor, not a chainrule\.sparse\.CSR"):
            layer(ROWS, cr.eye(2))


def test_flattening_axes_that_are_not_there():
    with pytest.raises(ShapeError, match=r"Flatten: axes 1 to 5 do not exist in shape \(2, 4\); operands .*\nrecorded"):
        nn.Flatten(1, 5)(ROWS)


def test_a_cache_keeps_its_dtype():
    cache, key = nn.KeyValueCache(1, 1, 3, 2), cr.ones((1, 1, 2, 2), dtype="float64")
    with pytest.raises(DTypeError, match=r"KeyValueCache: key is float64, the cache float32; .*\n.*\nhelp: make the"):
        cache.append(key, key)
    assert cache.keys.dtype is cr.float32 and int(cache.length) == 0


def test_numbers_for_each_axis_come_from_numpy_too():
    size, x = np.array([2, 4]), IMAGE
    assert F.max_pool2d(x, size).shape == F.max_pool2d(x, (2, 4)).shape == (1, 4, 2, 1)
    assert F.interpolate(x, size).shape == F.adaptive_avg_pool2d(x, size).shape == (1, 4, 2, 4)
    assert F.conv2d(x, cr.zeros((2, 4, 1, 1)), stride=size).shape == (1, 2, 2, 1)
    assert F.layer_norm(x, np.int64(4)).shape == x.shape


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: F.max_pool2d(IMAGE, np.array([2, 2, 2])), "max_pool2d: kernel_size must be a number or two"),
        (lambda: F.interpolate(IMAGE, scale_factor="2"), "interpolate: scale_factor must be positive, not '2'"),
        (lambda: F.pad(IMAGE, 3), "pad: pad must be pairs of whole numbers (before, after), not 3"),
        (lambda: F.group_norm(IMAGE, 2.0), "group_norm: num_groups must be a whole number, not 2.0"),
        (lambda: F.local_response_norm(IMAGE, 2.5), "local_response_norm: size must be a whole number, at least 1"),
        (lambda: F.one_hot(INDEX, 2.5), "one_hot: num_classes must be a whole number, at least 1"),
        (lambda: F.layer_norm(ROWS, 4, eps="a"), "layer_norm: eps must be a number, at least 0, not 'a'"),
        (lambda: F.batch_norm(IMAGE, None, None, training=True, eps=-1), "batch_norm: eps must be a number, at"),
        (lambda: F.normalize(ROWS, p=None), "normalize: p must be a number, not None"),
        (lambda: nn.Embedding(3, 2, max_norm="a"), "Embedding: max_norm must be a number, at least 0, not 'a'"),
        (lambda: F.elu(ROWS, ROWS), "elu: alpha must be a number, not one of shape (2, 4)"),
        (lambda: F.cross_entropy(ROWS, INDEX, label_smoothing="a"), "cross_entropy: label_smoothing must be a number"),
    ],
)
def test_numbers_that_are_none(call, text):
    with pytest.raises(ConfigError) as caught:
        call()
    assert str(caught.value).startswith(text)


def test_affine_maps_name_what_does_not_fit():
    """The sum with the bias broadcast, and promoted, without a word about a bias."""
    with pytest.raises(ShapeError, match=r"linear: bias has shape \(3,\), the output has 2 features; operands"):
        F.linear(ROWS, ROWS, cr.zeros(3))
    with pytest.raises(DTypeError, match=r"linear: input is float32, bias is float64; .*\n.*\nhelp: convert the bias"):
        F.linear(ROWS, ROWS, cr.zeros(2, dtype="float64"))
    with pytest.raises(ShapeError, match="linear: weight has 3 axes, it needs 2; operands"):
        F.linear(ROWS, cr.zeros((1, 2, 4)))
    with pytest.raises(ShapeError, match="linear: weight has 0 axes, it needs 2; operands"):
        F.linear(ROWS, cr.zeros(()))
