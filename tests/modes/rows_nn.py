"""Rows of `chainrule.nn`: each layer as a function of its parameters and its input."""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn, sparse

from .rows import Table, d, i, s, u

NN = Table(nn)
smooth, tool = NN.smooth, NN.tool


def made(make: Any) -> Any:
    """A module in float64 with parameters of moderate size, the same in every run."""
    cr.manual_seed(0)
    module = make()
    generator = np.random.default_rng(3)
    for parameter in module.parameters():
        value = generator.uniform(0.2, 0.8, parameter.shape) * np.where(generator.random(parameter.shape) < 0.5, -1, 1)
        parameter._rebind(cr.asarray(value)._node)
    for name, buffer in module.named_buffers():
        if name.endswith("running_var"):
            buffer._rebind(cr.asarray(generator.uniform(0.5, 1.5, buffer.shape))._node)
    return module


def layer(name: str, make: Any, *inputs: Any, training: bool = True, extra: tuple = (), **holes: str) -> None:
    """A row for the module that `make` gives; `extra` are arguments that are not differentiated."""
    module = made(make).train(training)
    rest = tuple(cr.asarray(x) for x in extra)
    smooth(name, lambda module, *x: module(*x, *rest), module, *inputs, **holes)


F64 = {"dtype": cr.float64}
LABELS = i(4, low=0, high=3)

for name in "ReLU ELU LeakyReLU SELU SiLU GELU Sigmoid Tanh Softplus Hardtanh Identity".split():
    layer(name, getattr(nn, name), s(2, 3))
for name in ("Softmax", "LogSoftmax"):
    layer(name, lambda name=name: getattr(nn, name)(-1), s(2, 3))
layer("Dropout", nn.Dropout, s(2, 3), training=False)
layer("Flatten", nn.Flatten, s(2, 3, 2))
layer("Linear", lambda: nn.Linear(3, 2, **F64), s(2, 3))
layer("Sequential", lambda: nn.Sequential(nn.Linear(3, 2, **F64), nn.Tanh()), s(2, 3))

for rank, shape in ((1, (1, 2, 5)), (2, (1, 2, 3, 3)), (3, (1, 2, 2, 3, 2))):
    dim = f"{rank}d"
    layer(f"Conv{dim}", lambda dim=dim: getattr(nn, f"Conv{dim}")(2, 2, 2, **F64), s(*shape))
    layer(f"ConvTranspose{dim}", lambda dim=dim: getattr(nn, f"ConvTranspose{dim}")(2, 1, 2, **F64), s(*shape))
    even = (1, 1, *(2 * (n // 2) for n in shape[2:]))
    for pool in ("MaxPool", "AvgPool", "AdaptiveMaxPool", "AdaptiveAvgPool"):
        layer(pool + dim, lambda pool=pool, dim=dim: getattr(nn, pool + dim)(2), d(*even))
    batch = (3, 2, *shape[2:])
    layer(f"BatchNorm{dim}", lambda dim=dim: getattr(nn, f"BatchNorm{dim}")(2, **F64), d(*batch), training=False)
    layer(f"InstanceNorm{dim}", lambda dim=dim: getattr(nn, f"InstanceNorm{dim}")(2, affine=True, **F64), d(*batch))
    for pad in ("Zero", "Circular", "Reflection", "Replication"):
        layer(f"{pad}Pad{dim}", lambda pad=pad, dim=dim: getattr(nn, f"{pad}Pad{dim}")(1), s(*shape))
    layer(f"ConstantPad{dim}", lambda dim=dim: getattr(nn, f"ConstantPad{dim}")(1, 0.5), s(*shape))
for rank, shape in ((1, (1, 1, 4)), (2, (1, 1, 4, 2))):
    layer(f"LPPool{rank}d", lambda rank=rank: getattr(nn, f"LPPool{rank}d")(2.0, 2), u(*shape))
layer("GroupNorm", lambda: nn.GroupNorm(2, 4, **F64), d(2, 4, 2))
layer("LayerNorm", lambda: nn.LayerNorm(3, **F64), d(2, 3))
layer("RMSNorm", lambda: nn.RMSNorm(3, **F64), s(2, 3))
layer("LocalResponseNorm", lambda: nn.LocalResponseNorm(3), s(1, 4, 2))
layer("Unfold", lambda: nn.Unfold(2), s(1, 2, 3, 3))
layer("Fold", lambda: nn.Fold((3, 3), 2), s(1, 8, 4))
layer("PixelShuffle", lambda: nn.PixelShuffle(2), s(1, 4, 2, 2))
layer("PixelUnshuffle", lambda: nn.PixelUnshuffle(2), s(1, 1, 4, 4))
layer("Upsample", lambda: nn.Upsample(scale_factor=2), s(1, 1, 2, 3))
layer("UpsamplingBilinear2d", lambda: nn.UpsamplingBilinear2d(scale_factor=2), s(1, 1, 2, 3))
layer("UpsamplingNearest2d", lambda: nn.UpsamplingNearest2d(scale_factor=2), s(1, 1, 2, 3))

smooth("Embedding", lambda m: m(cr.asarray(LABELS)), made(lambda: nn.Embedding(3, 2, **F64)))
smooth("EmbeddingBag", lambda m: m(cr.asarray(LABELS.reshape(2, 2))), made(lambda: nn.EmbeddingBag(3, 2, **F64)))
layer("LearnedPositions", lambda: nn.LearnedPositions(4, 2, **F64), s(1, 3, 2))
layer("SinusoidalPositions", lambda: nn.SinusoidalPositions(4, 2, **F64), s(1, 3, 2))
smooth("apply_rotary", s(1, 2, 3, 4))

for kind in ("RNN", "GRU", "LSTM"):
    layer(kind, lambda kind=kind: getattr(nn, kind)(2, 2, **F64), s(3, 1, 2))
    layer(f"{kind}Cell", lambda kind=kind: getattr(nn, f"{kind}Cell")(2, 2, **F64), s(1, 2))
QUERIES = [s(1, 2, 4, seed=n) for n in range(3)]
layer("MultiheadAttention", lambda: nn.MultiheadAttention(4, 2, batch_first=True, **F64), *QUERIES)
SMALL = {"dim_feedforward": 3, "dropout": 0.0, "batch_first": True, **F64}
layer("TransformerEncoderLayer", lambda: nn.TransformerEncoderLayer(4, 2, **SMALL), s(1, 2, 4))
layer("TransformerDecoderLayer", lambda: nn.TransformerDecoderLayer(4, 2, **SMALL), s(1, 2, 4), s(1, 2, 4, seed=1))
layer("TransformerEncoder", lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(2, 1, **SMALL), 1), s(1, 2, 2))
layer(
    "TransformerDecoder",
    lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(2, 1, **SMALL), 1),
    s(1, 2, 2),
    s(1, 2, 2, seed=1),
)
layer("Transformer", lambda: nn.Transformer(2, 1, 1, 1, **SMALL), s(1, 2, 2), s(1, 2, 2, seed=1))

for name in ("MSELoss", "SmoothL1Loss", "HuberLoss"):
    layer(name, getattr(nn, name), s(2, 3), s(2, 3, seed=1))
layer("L1Loss", nn.L1Loss, d(2, 3), d(2, 3, seed=3) + 0.05)
layer("PoissonNLLLoss", nn.PoissonNLLLoss, s(2, 3), u(2, 3))
layer("KLDivLoss", nn.KLDivLoss, s(2, 3), u(2, 3))
layer("BCELoss", nn.BCELoss, u(2, 3), u(2, 3, seed=1))
layer("BCEWithLogitsLoss", nn.BCEWithLogitsLoss, s(2, 3), u(2, 3, seed=1))
layer("GaussianNLLLoss", nn.GaussianNLLLoss, s(2, 3), s(2, 3, seed=1), u(2, 3))
layer("CrossEntropyLoss", nn.CrossEntropyLoss, s(4, 3), extra=(LABELS,))
layer("NLLLoss", nn.NLLLoss, s(4, 3), extra=(LABELS,))

MATRIX = sparse.normalized_adjacency([[0, 1], [1, 2]], num_nodes=3, dtype=cr.float64)
for name in ("GraphConv", "GraphAttention"):
    module = made(lambda name=name: getattr(nn, name)(2, 2, **F64))
    smooth(name, lambda module, x: module(x, MATRIX), module, s(3, 2))

tool("Module", "the base of layers")
tool("ModuleList ModuleDict", "holds layers and computes nothing itself")
tool("Parameter", "makes a parameter")
tool("KeyValueCache", "state of generation, written without gradients")
