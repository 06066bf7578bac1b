"""The networks in JAX: ``loss(parameters, buffers, batch, draws) -> (loss, new buffers)``, by the workload's `network`.

A network is made from the initial state dict: `make` gives the parameters and buffers in the layout that suits JAX,
and the loss. `draws` is None where the network draws its random numbers with the key of the step.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..workloads.base import Workload
from ..workloads.mnist_cnn import Convolutional

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "elu": jax.nn.elu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
}


def loss_of(name: str, out, *targets):
    """A mean loss over the batch; symbols are picked by a product with one-hot rows, which is faster than a gather."""
    if name == "cross_entropy":
        return -jnp.mean(jnp.sum(jax.nn.log_softmax(out) * jax.nn.one_hot(targets[0], out.shape[-1]), -1))
    if name == "squared_error":
        return jnp.mean((out - targets[0].reshape(out.shape)) ** 2)
    if name == "q_value":
        chosen = jnp.sum(out * jax.nn.one_hot(targets[0], out.shape[1]), 1)
        return jnp.mean((chosen - targets[1]) ** 2)
    mean, log_sigma = out[:, 0], out[:, 1]
    return jnp.mean(log_sigma + 0.5 * ((targets[0] - mean) * jnp.exp(-log_sigma)) ** 2)


def linear(p, key: str, x):
    return x @ p[f"{key}.weight"] + p[f"{key}.bias"]


def layers(p, keys, x, activation):
    """Linear layers with an activation between each two."""
    for number, key in enumerate(keys):
        x = linear(p, key, activation(x) if number else x)
    return x


class Images:
    """Convolutions, pooling and norms in one of two layouts."""

    def __init__(self, layout: str):
        self.layout = layout
        self.spatial = (2, 3) if layout == "nchw" else (1, 2)
        self.channel = 1 if layout == "nchw" else 3
        self.dimensions = ("NCHW", "OIHW", "NCHW") if layout == "nchw" else ("NHWC", "HWIO", "NHWC")

    def wide(self, vector):
        """A value a channel (and perhaps a row), broadcast over positions."""
        if self.layout == "nhwc":
            return vector[..., None, None, :] if vector.ndim > 1 else vector
        return vector[..., None, None]

    def convolve(self, p, key: str, x, stride: int = 1):
        weight = p[f"{key}.weight"]
        size = weight.shape[2 if self.layout == "nchw" else 0]
        padding = [(size // 2, size // 2)] * 2
        y = lax.conv_general_dilated(x, weight, (stride, stride), padding, dimension_numbers=self.dimensions)
        return y + self.wide(p[f"{key}.bias"]) if f"{key}.bias" in p else y

    def pool(self, x):
        """2x2 maxima by a reshape, whose derivative is much faster than that of a windowed reduction."""
        row, column = self.spatial
        x = lax.slice_in_dim(x, 0, x.shape[row] // 2 * 2, axis=row)
        x = lax.slice_in_dim(x, 0, x.shape[column] // 2 * 2, axis=column)
        shape = [n for axis, size in enumerate(x.shape) for n in ((size // 2, 2) if axis in self.spatial else (size,))]
        return x.reshape(shape).max((row + 1, column + 2))

    def grow(self, x):
        return x.repeat(2, self.spatial[0]).repeat(2, self.spatial[1])

    def batch_norm(self, p, buffers, new, key: str, x):
        axes = (0, *self.spatial)
        count = x.size // x.shape[self.channel]
        mean = x.mean(axes)
        centred = x - self.wide(mean)
        variance = (centred * centred).mean(axes)
        new[f"{key}.running_mean"] = 0.9 * buffers[f"{key}.running_mean"] + 0.1 * mean
        new[f"{key}.running_var"] = 0.9 * buffers[f"{key}.running_var"] + 0.1 * variance * (count / (count - 1))
        scale = p[f"{key}.weight"] * lax.rsqrt(variance + 1e-5)
        return centred * self.wide(scale) + self.wide(p[f"{key}.bias"])

    def group_norm(self, p, key: str, x, groups: int):
        shape = list(x.shape)
        shape[self.channel : self.channel + 1] = [groups, x.shape[self.channel] // groups]
        axes = (2, 3, 4) if self.layout == "nchw" else (1, 2, 4)
        y = x.reshape(shape)
        y = y - y.mean(axes, keepdims=True)
        y = (y * lax.rsqrt((y * y).mean(axes, keepdims=True) + 1e-5)).reshape(x.shape)
        return y * self.wide(p[f"{key}.weight"]) + self.wide(p[f"{key}.bias"])


def perceptron(workload, form):
    keys = [str(2 * i) for i in range(len(workload.widths) - 1)]

    def loss(p, buffers, batch, draws, key):
        x, *targets = batch
        return loss_of(workload.loss, layers(p, keys, x, ACTIVATIONS[workload.activation]), *targets), buffers

    return loss


def convolutional(workload, form):
    images, activation = Images(form), ACTIVATIONS[workload.activation]
    blocks = len(workload.channels)

    def loss(p, buffers, batch, draws, key):
        x, target = batch
        for number in range(blocks):
            x = images.pool(activation(images.convolve(p, str(3 * number), x)))
        out = layers(p, (str(3 * blocks + 1), str(3 * blocks + 3)), x.reshape(len(x), -1), activation)
        return loss_of(workload.loss, out, target), buffers

    return loss


def residual(workload, form):
    images, activation = Images(form), ACTIVATIONS[workload.activation]

    def loss(p, buffers, batch, draws, key):
        new: dict = {}

        def normed(conv, norm, x, stride=1):
            return images.batch_norm(p, buffers, new, norm, images.convolve(p, conv, x, stride))

        x, target = batch
        h = activation(normed("conv", "norm", x))
        for key, _, _, stride, _ in workload.plan():
            inner = activation(normed(f"{key}.conv1", f"{key}.norm1", h, stride))
            inner = normed(f"{key}.conv2", f"{key}.norm2", inner)
            short = normed(f"{key}.shortcut.0", f"{key}.shortcut.1", h, stride) if stride > 1 else h
            h = activation(inner + short)
        return loss_of(workload.loss, linear(p, "output", h.mean(images.spatial)), target), {**buffers, **new}

    return loss


def recurrent(workload, form):
    outside, unroll = "outside" in form, 4 if "unrolled" in form else 1

    def loss(p, buffers, batch, draws, key):
        text = batch[0].T
        h = jax.nn.one_hot(text[:-1], workload.symbols) @ p["embedding.weight"]
        for layer in range(workload.layers):
            inner, recur = p[f"lstm.weight_ih_l{layer}"], p[f"lstm.weight_hh_l{layer}"]
            bias = p[f"lstm.bias_ih_l{layer}"] + p[f"lstm.bias_hh_l{layer}"]

            def cell(state, x, inner=inner, recur=recur, bias=bias):
                hidden, memory = state
                z = (x if outside else x @ inner + bias) + hidden @ recur
                i, f, g, o = jnp.split(z, 4, 1)
                memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
                hidden = jax.nn.sigmoid(o) * jnp.tanh(memory)
                return (hidden, memory), hidden

            zeros = jnp.zeros((text.shape[1], workload.hidden))
            _, h = lax.scan(cell, (zeros, zeros), h @ inner + bias if outside else h, unroll=unroll)
        return loss_of("cross_entropy", linear(p, "output", h), text[1:]), buffers

    return loss


def layer_norm(p, key: str, x):
    x = x - x.mean(-1, keepdims=True)
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * p[f"{key}.weight"] + p[f"{key}.bias"]


def decoder(workload, form):
    activation, heads = ACTIVATIONS[workload.activation], workload.heads

    def attend(p, key, x):
        batch, length, width = x.shape
        q, k, v = jnp.split(linear(p, f"{key}.projection", x), 3, 2)
        q, k, v = (t.reshape(batch, length, heads, -1) for t in (q, k, v))
        if form == "built-in":
            y = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[3])
            scores = jnp.where(np.tril(np.ones((length, length), bool)), scores, -jnp.inf)
            y = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v)
        return linear(p, f"{key}.output", y.reshape(batch, length, width))

    def loss(p, buffers, batch, draws, key):
        text = batch[0]
        x = jax.nn.one_hot(text[:, :-1], workload.symbols) @ p["tokens.weight"] + p["positions.weight"]
        for layer in range(workload.layers):
            block = f"blocks.{layer}"
            x = x + attend(p, f"{block}.attention", layer_norm(p, f"{block}.norm1", x))
            h = activation(linear(p, f"{block}.expand", layer_norm(p, f"{block}.norm2", x)))
            x = x + linear(p, f"{block}.contract", h)
        return loss_of("cross_entropy", linear(p, "output", layer_norm(p, "norm", x)), text[:, 1:]), buffers

    return loss


def autoencoder(workload, form):
    activation = ACTIVATIONS[workload.activation]
    encoder = [f"encoder.{2 * i}" for i in range(len(workload.hidden))]
    decoder = [f"decoder.{2 * i}" for i in range(len(workload.hidden) + 1)]

    def loss(p, buffers, batch, draws, key):
        x = batch[0]
        h = activation(layers(p, encoder, x, activation))
        mean, log_variance = linear(p, "mean", h), linear(p, "log_variance", h)
        noise = draws[0] if draws else jax.random.normal(key, mean.shape)
        out = layers(p, decoder, mean + jnp.exp(0.5 * log_variance) * noise, activation)
        if workload.loss == "bernoulli":
            fit = jnp.sum(jax.nn.softplus(out) - x * out)
        else:
            fit = 0.5 * jnp.sum((out - x) ** 2)
        divergence = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance)
        return (fit + divergence) / len(x), buffers

    return loss


def denoiser(workload, form):
    images, activation = Images(form), ACTIVATIONS[workload.activation]
    signals = jnp.asarray(workload.signal())
    half = workload.width // 2
    frequencies = jnp.exp(-math.log(10000) * jnp.arange(half) / half)
    levels = len(workload.factors)

    def block(p, key, x, time):
        h = images.convolve(p, f"{key}.conv1", activation(images.group_norm(p, f"{key}.norm1", x, workload.groups)))
        h = h + images.wide(linear(p, f"{key}.time", activation(time)))
        h = images.convolve(p, f"{key}.conv2", activation(images.group_norm(p, f"{key}.norm2", h, workload.groups)))
        return h + (images.convolve(p, f"{key}.skip", x) if f"{key}.skip.weight" in p else x)

    def predict(p, x, times):
        angles = times[:, None] * frequencies
        time = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], 1)
        time = linear(p, "time.2", jax.nn.silu(linear(p, "time.0", time)))
        h, kept = images.convolve(p, "input", x), []
        for level in range(levels):
            h = images.convolve(p, f"shrink.{level - 1}", h, 2) if level else h
            h = block(p, f"down.{level}", h, time)
            kept.append(h)
        h = block(p, "middle", h, time)
        for number in range(levels):
            h = images.convolve(p, f"grow.{number - 1}", images.grow(h)) if number else h
            h = block(p, f"up.{number}", jnp.concatenate([h, kept[-1 - number]], images.channel), time)
        h = activation(images.group_norm(p, "norm", h, workload.groups))
        return images.convolve(p, "output", h)

    def loss(p, buffers, batch, draws, key):
        x = batch[0]
        if draws:
            times, noise = draws
        else:
            one, two = jax.random.split(key)
            times = jax.random.randint(one, (len(x),), 0, len(signals))
            noise = jax.random.normal(two, x.shape)
        signal = signals[times][:, None, None, None]
        predicted = predict(p, jnp.sqrt(signal) * x + jnp.sqrt(1 - signal) * noise, times)
        return jnp.mean((predicted - noise) ** 2), buffers

    return loss


def graph(workload, form):
    activation, keep = ACTIVATIONS[workload.activation], 1 - workload.dropout
    adjacency, features = workload.graph()
    sparse = workload.features == "sparse"
    dense = None if sparse else jnp.asarray(features.dense())
    count = len(workload.widths) - 1

    def sums(matrix):
        """Sums of gathered rows, by the sorted rows of the entries."""
        rows, columns = jnp.asarray(matrix.rows.astype(np.int32)), jnp.asarray(matrix.columns.astype(np.int32))

        def product(values, x):
            gathered = x.at[columns].get(mode="promise_in_bounds") * values[:, None]
            return jax.ops.segment_sum(
                gathered, rows, matrix.shape[0], indices_are_sorted=True, mode="promise_in_bounds"
            )

        return product

    multiply, entries = sums(adjacency), jnp.asarray(adjacency.values)

    @jax.custom_vjp
    def spread(x):  # the matrix is symmetric
        return multiply(entries, x)

    spread.defvjp(lambda x: (spread(x), None), lambda _, g: (spread(g),))
    mixed, values = sums(features), jnp.asarray(features.values)

    def loss(p, buffers, batch, draws, key):
        nodes, labels = batch
        h = values if sparse else dense
        for number, layer_key in enumerate(jax.random.split(key, count)):
            h = activation(h) if number else h
            mask = draws[number] if draws else jax.random.bernoulli(layer_key, keep, h.shape)
            h = jnp.where(mask, h / keep, 0.0)
            weight = p[f"convolutions.{number}.weight"]
            h = mixed(h, weight) if sparse and not number else h @ weight
            h = spread(h) + p[f"convolutions.{number}.bias"]
        return loss_of("cross_entropy", h[nodes], labels), buffers

    return loss


NETWORKS = {
    "perceptron": perceptron,
    "convolutional": convolutional,
    "residual": residual,
    "recurrent": recurrent,
    "decoder": decoder,
    "autoencoder": autoencoder,
    "denoiser": denoiser,
    "graph": graph,
}
#: ways of writing a network that are faster here or there; the first is the plainest
FORMS = {
    "recurrent": ("inside", "outside", "inside unrolled", "outside unrolled"),
    "decoder": ("einsum", "built-in"),
}
FORMS |= dict.fromkeys(("convolutional", "residual", "denoiser"), ("nhwc", "nchw"))


#: matrices that are stored with the input's index first
ROWS = ("embedding.", "tokens.", "positions.", "convolutions.")


def make(workload: Workload, form: str):
    """Parameters and buffers, and the loss."""
    parameters, buffers = {}, {}
    for key, value in workload.initial().items():
        if key.endswith(("running_mean", "running_var", "num_batches_tracked")):
            buffers[key] = jnp.asarray(value)
            continue
        if value.ndim == 4 and form == "nhwc":
            value = value.transpose(2, 3, 1, 0)
        elif value.ndim == 2 and not key.startswith(ROWS):
            if isinstance(workload, Convolutional) and form == "nhwc" and key.startswith(_flattened(workload)):
                side = workload.last_side
                value = value.reshape(len(value), -1, side, side).transpose(0, 2, 3, 1).reshape(value.shape)
            value = value.T
        parameters[key] = jnp.asarray(value)
    return (parameters, buffers), NETWORKS[workload.network](workload, form)


def _flattened(workload: Convolutional) -> str:
    """Key of the layer that takes the flattened image."""
    return f"{3 * len(workload.channels) + 1}."
