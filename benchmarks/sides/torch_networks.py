"""The networks in PyTorch: modules whose ``forward(*batch)`` is the loss, by the workload's `network`.

Further tensors after a batch stand for the random draws, which a module makes itself where they are not given.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..workloads.base import Workload
from ..workloads.gcn import Sparse

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}


def loss_of(name: str, out: torch.Tensor, *targets: torch.Tensor) -> torch.Tensor:
    """A mean loss over the batch."""
    if name == "cross_entropy":
        return F.cross_entropy(out, targets[0])
    if name == "squared_error":
        return F.mse_loss(out, targets[0])
    if name == "q_value":
        return F.mse_loss(out.gather(1, targets[0].unsqueeze(1)).squeeze(1), targets[1])
    mean, log_sigma = out.unbind(1)
    return (log_sigma + 0.5 * ((targets[0] - mean) * torch.exp(-log_sigma)) ** 2).mean()


def perceptron(widths, activation: str) -> nn.Sequential:
    """Linear layers with an activation between each two."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class Perceptron(nn.Sequential):
    def __init__(self, workload):
        super().__init__(*perceptron(workload.widths, workload.activation))
        self.loss = workload.loss

    def forward(self, x, *targets):
        return loss_of(self.loss, super().forward(x), *targets)


class Convolutional(nn.Sequential):
    def __init__(self, workload):
        layers: list[nn.Module] = []
        for fan_in, fan_out in zip((1, *workload.channels), workload.channels):
            layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), ACTIVATIONS[workload.activation](), nn.MaxPool2d(2)]
        flat = workload.channels[-1] * workload.last_side**2
        layers += [nn.Flatten(), nn.Linear(flat, workload.hidden), ACTIVATIONS[workload.activation]()]
        super().__init__(*layers, nn.Linear(workload.hidden, workload.classes))
        self.loss = workload.loss

    def forward(self, x, target):
        return loss_of(self.loss, super().forward(x), target)


class ResidualBlock(nn.Module):
    def __init__(self, fan_in: int, width: int, stride: int, activation: str):
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(fan_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x):
        h = self.activation(self.norm1(self.conv1(x)))
        return self.activation(self.norm2(self.conv2(h)) + self.shortcut(x))


class Residual(nn.Module):
    def __init__(self, workload):
        super().__init__()
        self.conv = nn.Conv2d(3, workload.widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(workload.widths[0])
        self.activation = ACTIVATIONS[workload.activation]()
        blocks = [ResidualBlock(*block[1:4], workload.activation) for block in workload.plan()]
        size = workload.blocks
        self.groups = nn.Sequential(*(nn.Sequential(*blocks[i : i + size]) for i in range(0, len(blocks), size)))
        self.output = nn.Linear(workload.widths[-1], workload.classes)
        self.loss = workload.loss

    def forward(self, x, target):
        h = self.groups(self.activation(self.norm(self.conv(x))))
        return loss_of(self.loss, self.output(h.mean((2, 3))), target)


class Recurrent(nn.Module):
    def __init__(self, workload):
        super().__init__()
        self.embedding = nn.Embedding(workload.symbols, workload.embedding)
        self.lstm = nn.LSTM(workload.embedding, workload.hidden, workload.layers)
        self.output = nn.Linear(workload.hidden, workload.symbols)

    def forward(self, text):
        text = text.T  # the LSTM's fast layout begins with the steps
        hidden, _ = self.lstm(self.embedding(text[:-1]))
        return F.cross_entropy(self.output(hidden).flatten(0, 1), text[1:].flatten())


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, form: str):
        super().__init__()
        self.heads, self.form = heads, form
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2) for t in self.projection(x).split(width, 2))
        if self.form == "sdpa":
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mask = torch.ones(length, length, dtype=torch.bool).tril()
            scores = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).masked_fill(~mask, -math.inf)
            y = F.softmax(scores, 3) @ v
        return self.output(y.transpose(1, 2).reshape(batch, length, width))


class DecoderBlock(nn.Module):
    def __init__(self, width: int, heads: int, activation: str, form: str):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, form)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.contract(self.activation(self.expand(self.norm2(x))))


class Decoder(nn.Module):
    def __init__(self, workload, form: str = "sdpa"):
        super().__init__()
        width = workload.width
        self.tokens = nn.Embedding(workload.symbols, width)
        self.positions = nn.Embedding(workload.length, width)
        blocks = [DecoderBlock(width, workload.heads, workload.activation, form) for _ in range(workload.layers)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, workload.symbols)

    def forward(self, text):
        x = self.tokens(text[:, :-1]) + self.positions.weight
        out = self.output(self.norm(self.blocks(x)))
        return F.cross_entropy(out.flatten(0, 1), text[:, 1:].flatten())


class Autoencoder(nn.Module):
    def __init__(self, workload):
        super().__init__()
        self.code, self.loss = workload.code, workload.loss
        inside = perceptron((workload.inputs, *workload.hidden), workload.activation)
        self.encoder = nn.Sequential(*inside, ACTIVATIONS[workload.activation]())
        self.mean = nn.Linear(workload.hidden[-1], workload.code)
        self.log_variance = nn.Linear(workload.hidden[-1], workload.code)
        widths = (workload.code, *reversed(workload.hidden), workload.inputs)
        self.decoder = perceptron(widths, workload.activation)

    def forward(self, x, noise=None):
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        noise = torch.randn_like(mean) if noise is None else noise
        out = self.decoder(mean + torch.exp(0.5 * log_variance) * noise)
        if self.loss == "bernoulli":
            fit = F.binary_cross_entropy_with_logits(out, x, reduction="sum")
        else:
            fit = 0.5 * F.mse_loss(out, x, reduction="sum")
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        return (fit + divergence) / len(x)


class DenoiserBlock(nn.Module):
    def __init__(self, fan_in: int, fan_out: int, embedding: int, groups: int, activation: str):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, fan_in)
        self.conv1 = nn.Conv2d(fan_in, fan_out, 3, padding=1)
        self.time = nn.Linear(embedding, fan_out)
        self.norm2 = nn.GroupNorm(groups, fan_out)
        self.conv2 = nn.Conv2d(fan_out, fan_out, 3, padding=1)
        self.skip = nn.Conv2d(fan_in, fan_out, 1) if fan_in != fan_out else nn.Identity()
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x, time):
        h = self.conv1(self.activation(self.norm1(x)))
        h = h + self.time(self.activation(time))[:, :, None, None]
        return self.conv2(self.activation(self.norm2(h))) + self.skip(x)


class Denoiser(nn.Module):
    def __init__(self, workload):
        super().__init__()
        width, embedding = workload.width, workload.embedding
        signal = torch.from_numpy(workload.signal())
        self.register_buffer("signal", signal, persistent=False)
        half = width // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float64) / half).float()
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.time = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.input = nn.Conv2d(1, width, 3, padding=1)
        rest = (embedding, workload.groups, workload.activation)
        blocks = {key: DenoiserBlock(fan_in, fan_out, *rest) for key, fan_in, fan_out, _ in workload.blocks()}
        self.down = nn.ModuleList(block for key, block in blocks.items() if key.startswith("down"))
        self.middle = blocks["middle"]
        self.up = nn.ModuleList(block for key, block in blocks.items() if key.startswith("up"))
        scalings = list(workload.scalings())
        self.shrink = nn.ModuleList(nn.Conv2d(i, o, 3, 2, 1) for k, i, o, _ in scalings if k.startswith("shrink"))
        self.grow = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for k, i, o, _ in scalings if k.startswith("grow"))
        self.norm = nn.GroupNorm(workload.groups, width)
        self.activation = ACTIVATIONS[workload.activation]()
        self.output = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x, times=None, noise=None):
        times = torch.randint(len(self.signal), (len(x),)) if times is None else times
        noise = torch.randn_like(x) if noise is None else noise
        signal = self.signal[times][:, None, None, None]
        predicted = self.predict(signal.sqrt() * x + (1 - signal).sqrt() * noise, times)
        return F.mse_loss(predicted, noise)

    def predict(self, x, times):
        angles = times[:, None] * self.frequencies
        time = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        h, kept = self.input(x), []
        for level, block in enumerate(self.down):
            h = block(self.shrink[level - 1](h) if level else h, time)
            kept.append(h)
        h = self.middle(h, time)
        for number, block in enumerate(self.up):
            if number:
                h = self.grow[number - 1](F.interpolate(h, scale_factor=2.0, mode="nearest"))
            h = block(torch.cat([h, kept[-1 - number]], 1), time)
        return self.output(self.activation(self.norm(h)))


class SymmetricProduct(torch.autograd.Function):
    """Product with a symmetric sparse matrix, which is its own transpose in the backward pass too."""

    @staticmethod
    def forward(context, matrix, x):
        context.matrix = matrix
        return matrix @ x

    @staticmethod
    def backward(context, gradient):
        return None, context.matrix @ gradient


class SparseProduct(nn.Module):
    """``matrix @ x`` for a sparse matrix, with other values where they are given, in one of three ways.

    `csr` is the library's sparse product, `gather` sums gathered rows as graph libraries do, `bag` is the sum of an
    embedding bag.
    """

    def __init__(self, matrix: Sparse, form: str, symmetric: bool):
        super().__init__()
        self.form, self.shape, self.symmetric = form, matrix.shape, symmetric
        for name in ("values", "columns", "starts", "rows"):
            self.register_buffer(name, torch.from_numpy(np.asarray(getattr(matrix, name))), persistent=False)
        if symmetric and form == "csr":
            self.register_buffer("matrix", self.compressed(self.values), persistent=False)

    def compressed(self, values):
        return torch.sparse_csr_tensor(self.starts, self.columns, values, self.shape, check_invariants=False)

    def forward(self, x, values=None):
        if self.form == "csr":
            if self.symmetric:
                return SymmetricProduct.apply(self.matrix, x)
            return torch.sparse.mm(self.compressed(values), x)
        values = self.values if values is None else values
        if self.form == "bag":
            return F.embedding_bag(self.columns, x, self.starts[:-1], mode="sum", per_sample_weights=values)
        gathered = x.index_select(0, self.columns) * values[:, None]
        return gathered.new_zeros(self.shape[0], x.shape[1]).index_add(0, self.rows, gathered)


class GraphWeights(nn.Module):
    """The parameters of a graph convolution."""

    def __init__(self, fan_in: int, fan_out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(fan_in, fan_out))
        self.bias = nn.Parameter(torch.empty(fan_out))


class Graph(nn.Module):
    def __init__(self, workload, form: str = "csr"):
        super().__init__()
        adjacency, features = workload.graph()
        self.adjacency = SparseProduct(adjacency, form, symmetric=True)
        self.sparse, self.dropout = workload.features == "sparse", workload.dropout
        self.features = SparseProduct(features, form, symmetric=False)
        if not self.sparse:
            self.register_buffer("x", torch.from_numpy(features.dense()), persistent=False)
        pairs = zip(workload.widths, workload.widths[1:])
        self.convolutions = nn.ModuleList(GraphWeights(fan_in, fan_out) for fan_in, fan_out in pairs)
        self.activation = ACTIVATIONS[workload.activation]()

    def drop(self, x, mask):
        return F.dropout(x, self.dropout) if mask is None else x * mask / (1 - self.dropout)

    def forward(self, nodes, labels, *masks):
        h = None
        for number, layer in enumerate(self.convolutions):
            mask = masks[number] if masks else None
            if number:
                h = self.drop(self.activation(h), mask) @ layer.weight
            elif self.sparse:
                h = self.features(layer.weight, self.drop(self.features.values, mask))
            else:
                h = self.drop(self.x, mask) @ layer.weight
            h = self.adjacency(h) + layer.bias
        return F.cross_entropy(h[nodes], labels)


NETWORKS = {
    "perceptron": Perceptron,
    "convolutional": Convolutional,
    "residual": Residual,
    "recurrent": Recurrent,
    "decoder": Decoder,
    "autoencoder": Autoencoder,
    "denoiser": Denoiser,
    "graph": Graph,
}
#: ways of writing a network that are faster here or there; the first is the plainest
FORMS = {"decoder": ("sdpa", "manual"), "graph": ("csr", "gather", "bag")}


def network(workload: Workload, form: str | None = None) -> nn.Module:
    """The workload's network with its initial weights."""
    made = NETWORKS[workload.network](workload, *([form] if form else []))
    made.load_state_dict({key: torch.from_numpy(value) for key, value in workload.initial().items()})
    return made
