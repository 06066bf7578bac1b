"""The kernels of ``python -m benchmarks kernels``: products, convolutions, attention, memory-bound, elementary."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule as cr

from .peak import vector_lanes

F = cr.functional


def _used(*extents: int) -> float:
    """Share of the lanes of this machine's vectors in use along the best of some axes."""
    width = vector_lanes()
    return max(n / (width * math.ceil(n / width)) for n in extents)


@dataclass
class Case:
    """One kernel.

    ``function``: tensors to a tensor; ``torch``: the same for PyTorch, given the module, a place for the result and
    the operands; ``shapes``: of the float32 operands (or what makes them, called with a generator); ``flops``: of
    useful arithmetic, 0 for a kernel that only memory limits; ``lanes``: the share of vector lanes that the shape
    lets be used; ``state``: operands, at the end, that are written back, whose new values `function` returns;
    ``takes``: the elementary function that each element of the result takes, of a kernel that memory limits.
    """

    group: str
    name: str
    function: Callable
    torch: Callable
    shapes: Sequence[Any]
    flops: float = 0.0
    lanes: float = 1.0
    state: int = 0
    #: bytes read and written at least; by default the operands and the result
    moved: tuple[int, int] | None = None
    takes: str = ""

    def operands(self) -> list[np.ndarray]:
        generator = np.random.default_rng(0)
        return [s(generator) if callable(s) else generator.standard_normal(s, dtype=np.float32) for s in self.shapes]


def _product(m: int, k: int, n: int, kind: str) -> Case:
    left, right = (k, m) if kind[0] == "T" else (m, k), (n, k) if kind[1] == "T" else (k, n)

    def turned(a: Any, letter: str) -> Any:
        return a.T if letter == "T" else a

    return Case(
        "product", f"{kind} {m}x{k}x{n}",
        lambda a, b: turned(a, kind[0]) @ turned(b, kind[1]),
        lambda torch, out, a, b: torch.matmul(turned(a, kind[0]), turned(b, kind[1]), out=out),
        [left, right], 2.0 * m * k * n, _used(n),
    )  # fmt: skip


def products() -> list[Case]:
    every = [(128, 784, 512), (128, 512, 512), (37, 41, 53), (127, 99, 65), (100, 200, 300), (1024,) * 3, (2048,) * 3]
    some = {
        (1, 784, 512): "NN NT", (1, 512, 10): "NN", (128, 512, 10): "NN NT", (512, 128, 10): "TN",
        (128, 10, 512): "NN NT", (784, 128, 512): "TN", (2048, 512, 128): "NT", (128, 2048, 128): "TN",
        (512, 2048, 512): "TN", (256, 2048, 1024): "TN", (64, 4, 128): "NT", (2048, 128, 384): "NT",
    }  # fmt: skip
    cases = [_product(*shape, kind) for shape in every for kind in ("NN", "NT", "TN", "TT")]
    cases += [_product(*shape, kind) for shape, kinds in some.items() for kind in kinds.split()]
    batch, t, d = 128, 64, 32
    cases.append(
        Case(
            "product", f"NT {batch} of {t}x{d}x{t}", lambda a, b: a @ b.mT,
            lambda torch, out, a, b: torch.matmul(a, b.mT, out=out),
            [(batch, t, d), (batch, t, d)], 2.0 * batch * t * t * d,
        )
    )  # fmt: skip
    cases.append(
        Case(
            "product", f"NN {batch} of {t}x{t}x{d}", lambda a, b: a @ b,
            lambda torch, out, a, b: torch.matmul(a, b, out=out),
            [(batch, t, t), (batch, t, d)], 2.0 * batch * t * t * d,
        )
    )  # fmt: skip
    return cases


#: images, input channels, height, width, output channels, kernel, stride, groups; padding keeps sizes at stride 1
CONVOLUTIONS = (
    (64, 1, 28, 28, 32, 3, 1, 1), (64, 32, 14, 14, 64, 3, 1, 1), (64, 16, 32, 32, 16, 3, 1, 1),
    (64, 32, 16, 16, 32, 3, 1, 1), (64, 64, 8, 8, 64, 3, 1, 1), (64, 64, 32, 32, 64, 3, 1, 1),
    (64, 3, 32, 32, 16, 3, 1, 1), (64, 16, 32, 32, 32, 3, 2, 1), (64, 32, 16, 16, 64, 3, 2, 1),
    (64, 32, 16, 16, 64, 1, 1, 1), (64, 32, 16, 16, 64, 1, 2, 1), (8, 256, 14, 14, 512, 1, 1, 1),
    (8, 512, 7, 7, 512, 3, 1, 1), (32, 16, 28, 28, 32, 5, 1, 1), (64, 6, 14, 14, 16, 5, 1, 1),
    (16, 32, 32, 32, 32, 5, 2, 1), (32, 64, 28, 28, 64, 3, 1, 64), (32, 128, 14, 14, 128, 3, 2, 128),
)  # fmt: skip


#: of these the user's own layout is measured too, NCHW, with what it costs to bring it into the engine's
IMAGES = ((64, 1, 28, 28, 32, 3, 1, 1), (64, 32, 16, 16, 64, 3, 2, 1), (32, 64, 28, 28, 64, 3, 1, 64))


def _convolution(n, c, height, width, o, kernel, stride, groups, last: bool = True) -> list[Case]:
    """A convolution and its gradients; `last`: images, results and their gradients have their channels last."""
    pad = kernel // 2
    out = [(size + 2 * pad - kernel) // stride + 1 for size in (height, width)]
    x, w, y = (n, c, height, width), (o, c // groups, kernel, kernel), (n, o, *out)
    flops = 2.0 * n * o * out[0] * out[1] * (c // groups) * kernel * kernel
    kind = "depthwise" if groups > 1 else f"{kernel}x{kernel}"
    name = f"{n}x{c}x{height}x{width}->{o} {kind}" + (" stride 2" if stride == 2 else "")
    group = "convolution" if last else "images"

    def stored(shape):
        return (shape[0], *shape[2:], shape[1]) if last else shape

    def image(a: Any) -> Any:
        """Of ours or PyTorch's: (N, C, H, W), of an array as it is stored."""
        return a.permute(0, 3, 1, 2) if last else a

    def result(a: Any) -> Any:
        return a.permute(0, 2, 3, 1) if last else a

    def forward(x, w):
        return F.conv2d(x, w, None, stride, pad, 1, groups)

    def input_gradient(w, g):
        return result(cr.vjp(lambda x: forward(x, w), cr.zeros(x))[1](image(g))[0])

    def weight_gradient(x, g):
        return cr.vjp(lambda w: forward(image(x), w), cr.zeros(w))[1](image(g))[0]

    def backward(torch, a, b, g, mask):
        settings = ([stride] * 2, [pad] * 2, [1, 1], False, [0, 0], groups)
        return torch.ops.aten.convolution_backward(image(g), a, b, None, *settings, mask)

    by_input = Case(
        group, name + " input gradient", input_gradient,
        lambda torch, out, b, g: result(backward(torch, image(torch.empty(stored(x))), b, g, [True, False, False])[0]),
        [w, stored(y)], flops, _used(c, width),
    )  # fmt: skip
    return [
        Case(
            group, name, lambda x, w: result(forward(image(x), w)),
            lambda torch, out, a, b: result(
                torch.nn.functional.conv2d(image(a), b, None, stride, pad, 1, groups)
            ),
            [stored(x), w], flops, _used(o, out[1]),
        ),
        *([by_input] if c > 3 else []),  # images have no gradient
        Case(
            group, name + " weight gradient", weight_gradient,
            lambda torch, out, a, g: backward(torch, image(a), torch.empty(w), g, [False, True, False])[1],
            [stored(x), stored(y)], flops, _used(o, out[1]),
        ),
    ]  # fmt: skip


def convolutions() -> list[Case]:
    return [case for settings in CONVOLUTIONS for case in _convolution(*settings)] if hasattr(F, "conv2d") else []


def images() -> list[Case]:
    return [case for settings in IMAGES for case in _convolution(*settings, last=False)] if hasattr(F, "conv2d") else []


def _composed_attention(q, k, v, is_causal: bool):
    scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]))
    if is_causal:
        rows = cr.arange(q.shape[-2])
        scores = cr.where(rows[:, None] >= rows, scores, -math.inf)
    return F.softmax(scores, -1) @ v


def attentions() -> list[Case]:
    cases = []
    for t, batch, causal in ((64, 16, False), (256, 4, False), (256, 4, True), (1024, 1, False)):
        shape = (batch, 4, t, 64)
        product = 2.0 * batch * 4 * t * t * 64 * (0.5 if causal else 1.0)

        def attend(q, k, v, causal=causal):
            given = getattr(F, "scaled_dot_product_attention", None)
            return given(q, k, v, is_causal=causal) if given else _composed_attention(q, k, v, causal)

        def gradients(q, k, v, g, attend=attend):
            y, pull = cr.vjp(attend, q, k, v)
            return (y, *pull(g))

        def torch_gradients(torch, out, q, k, v, g, causal=causal):
            given = [x.detach().requires_grad_() for x in (q, k, v)]
            y = torch.nn.functional.scaled_dot_product_attention(*given, is_causal=causal)
            return (y.detach(), *torch.autograd.grad(y, given, g))

        def torch_attend(torch, out, q, k, v, causal=causal):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

        name = f"{batch}x4 heads of {t}x64" + (" causal" if causal else "")
        cases.append(Case("attention", name, attend, torch_attend, [shape] * 3, 2 * product))
        cases.append(Case("attention", name + " and backward", gradients, torch_gradients, [shape] * 4, 6 * product))
    return cases


def _adam(g, p, m, v):
    m = m * 0.9 + g * 0.1
    v = v * 0.999 + g * g * 0.001
    return p - m * 0.001 / (cr.sqrt(v) + 1e-8), m, v


def _torch_adam(torch, out, g, p, m, v):
    torch.optim._functional.adam(
        [p], [g], [m], [v], [], [torch.tensor(1e9)], amsgrad=False, beta1=0.9, beta2=0.999, lr=0.001,
        weight_decay=0.0, eps=1e-8, maximize=False, fused=True,
    )  # fmt: skip
    return p, m, v


def _indices(high: int, *shape: int) -> Callable:
    return lambda generator: generator.integers(0, high, shape)


def _positive(*shape: int) -> Callable:
    return lambda generator: generator.uniform(0.1, 1.0, shape).astype(np.float32)


def memory() -> list[Case]:
    cases = []

    def add(name, function, torch, *shapes, **options):
        cases.append(Case("memory", name, function, torch, list(shapes), **options))

    for rows, size in ((64, "64x1024"), (4096, "4096x1024")):
        shape = (rows, 1024)
        numbers = 4 * rows * 1024
        add(f"copy {size}", lambda x: x, lambda torch, out, x: out.copy_(x), shape)
        add(f"add {size}", lambda x, y: x + y, lambda torch, out, x, y: torch.add(x, y, out=out), shape, shape)
        add(f"relu {size}", lambda x: F.relu(x), lambda torch, out, x: torch.clamp_min(x, 0.0, out=out), shape)
        add(f"Adam update {size}", _adam, _torch_adam, shape, shape, shape, _positive(*shape), state=3,
            moved=(4 * numbers, 3 * numbers))  # fmt: skip
        add(f"bias add {size}", lambda x, y: x + y, lambda torch, out, x, y: torch.add(x, y, out=out), shape, (1024,))
        add(f"softmax rows {size}", lambda x: F.softmax(x, 1), lambda torch, out, x: torch.softmax(x, 1, out=out),
            shape, takes="exp")  # fmt: skip
        add(f"layer norm {size}", _layer_norm, _torch_layer_norm, shape, (1024,), (1024,))
        add(f"sum over rows {size}", lambda x: cr.sum(x, axis=1), lambda torch, out, x: torch.sum(x, 1, out=out), shape)
        add(f"sum over columns {size}", lambda x: cr.sum(x, axis=0), lambda torch, out, x: torch.sum(x, 0, out=out),
            shape)  # fmt: skip
        add(f"sum of all {size}", lambda x: cr.sum(x), lambda torch, out, x: torch.sum(x), shape)
    for rows in (256, 2048):
        add(f"transposed copy {rows}x{rows}", lambda x: x.T, lambda torch, out, x: out.copy_(x.T), (rows, rows))
    for table, count, width in ((256, 1024, 128), (50000, 8192, 128)):
        bytes_moved = 4 * count * width
        add(f"gather {count} of {table}x{width}", lambda x, i: cr.take(x, i, axis=0),
            lambda torch, out, x, i: torch.index_select(x, 0, i, out=out), (table, width), _indices(table, count),
            moved=(bytes_moved + 8 * count, bytes_moved))  # fmt: skip
        add(f"scatter add {count} into {table}x{width}", lambda i, u, x: (cr.scatter_add(x, i, u),),
            lambda torch, out, i, u, x: (x.index_add_(0, i, u),), _indices(table, count), (count, width),
            (table, width), state=1, moved=(2 * bytes_moved + 8 * count, bytes_moved))  # fmt: skip
    return cases


def _layer_norm(x, weight, bias):
    given = getattr(F, "layer_norm", None)
    if given is not None:
        return given(x, (x.shape[-1],), weight, bias)
    centred = x - cr.mean(x, axis=1, keepdims=True)
    return centred / cr.sqrt(cr.mean(centred * centred, axis=1, keepdims=True) + 1e-5) * weight + bias


def _torch_layer_norm(torch, out, x, weight, bias):
    return torch.nn.functional.layer_norm(x, (x.shape[-1],), weight, bias)


#: elements of one block: operand and result stay in the second-level cache
BLOCK = 32768


def _range(low: float, high: float, logarithmic: bool = False) -> Callable:
    def make(generator):
        x = generator.uniform(low, high, BLOCK)
        return (np.exp(x) if logarithmic else x).astype(np.float32)

    return make


def elementary() -> list[Case]:
    ranges = {name: _range(-8, 8) for name in "exp expm1 tanh sigmoid erf sinh atan gelu silu".split()}
    ranges |= {name: _range(-20, 20, True) for name in ("log", "log1p", "sqrt", "rsqrt")}
    ranges |= {name: _range(-32000, 32000) for name in ("sin", "cos", "tan")}

    def case(name: str) -> Case:
        ours = getattr(cr, name, None) or getattr(F, name)

        def torch_function(torch, out, x):
            if name in ("gelu", "silu"):
                return getattr(torch.nn.functional, name)(x)
            return getattr(torch, name)(x, out=out)

        return Case("elementary", name, lambda x: ours(x), torch_function, [ranges[name]])

    return [case(name) for name in ranges]


GROUPS = {
    "product": products, "convolution": convolutions, "images": images, "attention": attentions, "memory": memory,
    "elementary": elementary,
}  # fmt: skip
