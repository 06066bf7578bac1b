"""The networks in Chainrule, as a user writes them: modules whose ``forward(*batch)`` is the loss.

Further tensors after a batch stand for the random draws, which a module makes itself where they are not given.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.nn import functional as F

from ..workloads.base import Workload
from ..workloads.gcn import Sparse

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}


def loss_of(name: str, out, *targets):
    """A mean loss over the batch."""
    if name == "cross_entropy":
        return F.cross_entropy(out, targets[0])
    if name == "squared_error":
        return F.mse_loss(out, targets[0])
    if name == "q_value":
        actions = cr.arange(out.shape[1], dtype=targets[0].dtype)
        chosen = cr.where(targets[0].unsqueeze(1) == actions, out, 0.0).sum(axis=1)
        return F.mse_loss(chosen, targets[1])
    mean, log_sigma = out[:, 0], out[:, 1]
    return (log_sigma + 0.5 * cr.square((targets[0] - mean) * cr.exp(-log_sigma))).mean()


def perceptron(widths, activation: str) -> list[nn.Module]:
    """Linear layers with an activation between each two."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    return layers[:-1]


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
        return loss_of(self.loss, self.output(h.mean(axis=(2, 3))), target)


class Recurrent(nn.Module):
    def __init__(self, workload):
        super().__init__()
        self.embedding = nn.Embedding(workload.symbols, workload.embedding)
        self.lstm = nn.LSTM(workload.embedding, workload.hidden, workload.layers, batch_first=True)
        self.output = nn.Linear(workload.hidden, workload.symbols)

    def forward(self, text):
        hidden, _ = self.lstm(self.embedding(text[:, :-1]))
        out = self.output(hidden)
        return F.cross_entropy(out.reshape((-1, out.shape[2])), text[:, 1:].reshape((-1,)))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x):
        batch, length, width = x.shape
        parts = self.projection(x).reshape((batch, length, 3, self.heads, width // self.heads))
        q, k, v = (parts[:, :, i].permute(0, 2, 1, 3) for i in range(3))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.output(y.permute(0, 2, 1, 3).reshape((batch, length, width)))


class DecoderBlock(nn.Module):
    def __init__(self, width: int, heads: int, activation: str):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.contract(self.activation(self.expand(self.norm2(x))))


class Decoder(nn.Module):
    def __init__(self, workload):
        super().__init__()
        width = workload.width
        self.tokens = nn.Embedding(workload.symbols, width)
        self.positions = nn.Embedding(workload.length, width)
        blocks = [DecoderBlock(width, workload.heads, workload.activation) for _ in range(workload.layers)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, workload.symbols)

    def forward(self, text):
        x = self.tokens(text[:, :-1]) + self.positions.weight
        out = self.output(self.norm(self.blocks(x)))
        return F.cross_entropy(out.reshape((-1, out.shape[2])), text[:, 1:].reshape((-1,)))


class Autoencoder(nn.Module):
    def __init__(self, workload):
        super().__init__()
        self.loss = workload.loss
        inside = perceptron((workload.inputs, *workload.hidden), workload.activation)
        self.encoder = nn.Sequential(*inside, ACTIVATIONS[workload.activation]())
        self.mean = nn.Linear(workload.hidden[-1], workload.code)
        self.log_variance = nn.Linear(workload.hidden[-1], workload.code)
        widths = (workload.code, *reversed(workload.hidden), workload.inputs)
        self.decoder = nn.Sequential(*perceptron(widths, workload.activation))

    def forward(self, x, noise=None):
        h = self.encoder(x)
        mean, log_variance = self.mean(h), self.log_variance(h)
        noise = cr.randn_like(mean) if noise is None else noise
        out = self.decoder(mean + cr.exp(0.5 * log_variance) * noise)
        if self.loss == "bernoulli":
            fit = F.binary_cross_entropy_with_logits(out, x, reduction="sum")
        else:
            fit = 0.5 * F.mse_loss(out, x, reduction="sum")
        divergence = 0.5 * (cr.square(mean) + cr.exp(log_variance) - 1 - log_variance).sum()
        return (fit + divergence) / x.shape[0]


class DenoiserBlock(nn.Module):
    def __init__(self, fan_in: int, fan_out: int, embedding: int, groups: int, activation: str):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, fan_in)
        self.conv1 = nn.Conv2d(fan_in, fan_out, 3, padding=1)
        self.time = nn.Linear(embedding, fan_out)
        self.norm2 = nn.GroupNorm(groups, fan_out)
        self.conv2 = nn.Conv2d(fan_out, fan_out, 3, padding=1)
        self.skip: nn.Module = nn.Conv2d(fan_in, fan_out, 1) if fan_in != fan_out else nn.Identity()
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x, time):
        h = self.conv1(self.activation(self.norm1(x)))
        h = h + self.time(self.activation(time))[:, :, None, None]
        return self.conv2(self.activation(self.norm2(h))) + self.skip(x)


class Denoiser(nn.Module):
    def __init__(self, workload):
        super().__init__()
        width, embedding = workload.width, workload.embedding
        self.register_buffer("signal", cr.asarray(workload.signal()), persistent=False)
        half = width // 2
        frequencies = np.exp(-math.log(10000) * np.arange(half) / half).astype(np.float32)
        self.register_buffer("frequencies", cr.asarray(frequencies), persistent=False)
        self.time = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.input = nn.Conv2d(1, width, 3, padding=1)
        rest = (embedding, workload.groups, workload.activation)
        blocks = {key: DenoiserBlock(fan_in, fan_out, *rest) for key, fan_in, fan_out, _ in workload.blocks()}
        self.down = nn.ModuleList([block for key, block in blocks.items() if key.startswith("down")])
        self.middle = blocks["middle"]
        self.up = nn.ModuleList([block for key, block in blocks.items() if key.startswith("up")])
        scalings = list(workload.scalings())
        self.shrink = nn.ModuleList([nn.Conv2d(i, o, 3, 2, 1) for k, i, o, _ in scalings if k.startswith("shrink")])
        self.grow = nn.ModuleList([nn.Conv2d(i, o, 3, padding=1) for k, i, o, _ in scalings if k.startswith("grow")])
        self.norm = nn.GroupNorm(workload.groups, width)
        self.activation = ACTIVATIONS[workload.activation]()
        self.output = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, x, times=None, noise=None):
        times = cr.randint(0, self.signal.shape[0], (x.shape[0],)) if times is None else times
        noise = cr.randn_like(x) if noise is None else noise
        signal = cr.take(self.signal, times, axis=0)[:, None, None, None]
        predicted = self.predict(cr.sqrt(signal) * x + cr.sqrt(1 - signal) * noise, times)
        return F.mse_loss(predicted, noise)

    def predict(self, x, times):
        angles = times.astype(cr.float32)[:, None] * self.frequencies
        time = self.time(cr.concat([cr.sin(angles), cr.cos(angles)], axis=1))
        h, kept = self.input(x), []
        for level, block in enumerate(self.down):
            h = block(self.shrink[level - 1](h) if level else h, time)
            kept.append(h)
        h = self.middle(h, time)
        for number, block in enumerate(self.up):
            if number:
                h = self.grow[number - 1](F.interpolate(h, scale_factor=2.0, mode="nearest"))
            h = block(cr.concat([h, kept[-1 - number]], axis=1), time)
        return self.output(self.activation(self.norm(h)))


def _csr(matrix: Sparse) -> cr.sparse.CSR:
    return cr.sparse.CSR(matrix.starts, matrix.columns, matrix.values, matrix.shape)


class Graph(nn.Module):
    def __init__(self, workload):
        super().__init__()
        adjacency, features = workload.graph()
        self.adjacency, self.dropout = _csr(adjacency), workload.dropout
        self.features = _csr(features) if workload.features == "sparse" else cr.asarray(features.dense())
        pairs = zip(workload.widths, workload.widths[1:])
        self.convolutions = nn.ModuleList([nn.GraphConv(fan_in, fan_out) for fan_in, fan_out in pairs])
        self.activation = ACTIVATIONS[workload.activation]()

    def drop(self, x, mask):
        return F.dropout(x, self.dropout) if mask is None else x * mask / (1 - self.dropout)

    def forward(self, nodes, labels, *masks):
        h = self.features
        for number, layer in enumerate(self.convolutions):
            mask = masks[number] if masks else None
            if isinstance(h, cr.sparse.CSR):
                h = h.with_values(self.drop(h.values, mask))
            else:
                h = self.drop(self.activation(h) if number else h, mask)
            h = layer(h, self.adjacency)
        return F.cross_entropy(cr.take(h, nodes, axis=0), labels)


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


def network(workload: Workload) -> nn.Module:
    """The workload's network with its initial weights."""
    made = NETWORKS[workload.network](workload)
    made.load_state_dict({key: cr.tensor(value) for key, value in workload.initial().items()})
    return made
