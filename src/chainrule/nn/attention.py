"""Multi-head attention."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from .. import functions as fn
from ..dtypes import as_dtype, bool_, default_float
from ..errors import DTypeError, ShapeError
from ..functional._common import check_tensor, fail
from ..functional.attention import attend
from ..ops.base import misuse
from ..tensor import Tensor, flag, hyper
from . import init
from .cache import KeyValueCache
from .layers import Linear
from .module import Module
from .parameter import Parameter


class MultiheadAttention(Module):
    """Attention of several heads side by side, each on its own projection of the features.

    ``head_h = softmax(Q W_h^Q (K W_h^K)^T / sqrt(d_h) + mask) V W_h^V``, ``y = concat(head_1, ..., head_H) W^O``

    Args:
        embed_dim: features D of queries and results; each head has ``embed_dim / num_heads``.
        num_heads: H, a divisor of `embed_dim`.
        dropout: probability with which a weight is dropped in training.
        bias: whether the projections have biases.
        add_bias_kv: append a learned key and value to every sequence.
        add_zero_attn: append a key and a value of zeros.
        kdim, vdim: features of keys and values, default `embed_dim`.
        batch_first: whether sequences are (batch, length, features) rather than (length, batch, features).
        dtype: of the parameters, default float32.
        generator: source of initial values and dropout, default the global one.
    Shapes:
        `in_proj_weight` (3 D, D), rows for queries, keys and values in turn; with `kdim` or `vdim`, `q_proj_weight`
        (D, D), `k_proj_weight` (D, kdim) and `v_proj_weight` (D, vdim) instead. `in_proj_bias` (3 D,).
    Raises:
        ConfigError: `embed_dim` is not divisible by `num_heads`.
        ShapeError, DTypeError: at the call, for operands that do not fit.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.MultiheadAttention(8, 2, batch_first=True)
        >>> x = cr.zeros((3, 5, 8))
        >>> y, weights = layer(x, x, x)
        >>> y.shape, weights.shape, list(layer.state_dict())
        ((3, 5, 8), (3, 5, 5), ['in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias'])

    Reference:
        Vaswani et al., Attention is all you need, NeurIPS 2017, section 3.2.2.
    """

    in_proj_weight: Parameter | None
    q_proj_weight: Parameter
    k_proj_weight: Parameter
    v_proj_weight: Parameter
    in_proj_bias: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: Any = None,
        generator: Any = None,
    ):
        super().__init__()
        sizes: dict[str, Any] = {"embed_dim": embed_dim, "num_heads": num_heads, "kdim": kdim, "vdim": vdim}
        for name, value in sizes.items():
            if name in ("kdim", "vdim") and value is None:
                continue
            if not hasattr(value, "__index__") or value < 1:
                raise misuse(f"MultiheadAttention: {name} must be a positive whole number, not {value!r}")
        if embed_dim % num_heads:
            help = f"choose num_heads among {', '.join(str(n) for n in range(1, embed_dim + 1) if embed_dim % n == 0)}"
            problem = f"embed_dim {embed_dim} is not divisible by num_heads {num_heads}"
            raise misuse(f"MultiheadAttention: {problem}\nhelp: {help}")
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        self.generator = generator
        dtype = default_float if dtype is None else as_dtype(dtype)
        same = self.kdim == embed_dim and self.vdim == embed_dim
        widths = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        packed = Parameter(fn.empty((3 * embed_dim, embed_dim), dtype=dtype)) if same else None
        self.register_parameter("in_proj_weight", packed)
        for name, width in widths.items():
            single = None if same else Parameter(fn.empty((embed_dim, width), dtype=dtype))
            self.register_parameter(name, single)
        shape = (3 * embed_dim,)
        self.register_parameter("in_proj_bias", Parameter(fn.empty(shape, dtype=dtype)) if bias else None)
        for name in ("bias_k", "bias_v"):
            extra = Parameter(fn.empty((1, 1, embed_dim), dtype=dtype)) if add_bias_kv else None
            self.register_parameter(name, extra)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, dtype=dtype, generator=generator)
        self.reset_parameters(generator)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "dropout":
            F.check_probability("MultiheadAttention", value, "dropout")
        super().__setattr__(name, value)

    def reset_parameters(self, generator: Any = None) -> None:
        """Projections by `xavier_uniform_`, biases 0, the learned key and value by `xavier_normal_`."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight, generator=generator)
        self.out_proj.reset_parameters(generator)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra, generator=generator)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The attention of `query` (length L) over `key` and `value` (length S), and its weights if they are needed.

        Args:
            query, key, value: (L, N, D), (S, N, kdim), (S, N, vdim); (N, L, D) and so on with `batch_first`; without N
                for one example.
            key_padding_mask: (N, S), for one example (S,); bool: True where a key is left out; floating: added.
            need_weights: whether to return the weights, for which all of them are stored.
            attn_mask: (L, S) or (N * num_heads, L, S); bool: True where a key is left out; floating: added.
            average_attn_weights: return the mean of the weights over heads, not those of each.
            is_causal: query i sees the keys 0 to i alone; no `attn_mask` is needed for it. With both, a key has to
                pass both.
            cache: earlier keys and values of this layer; the new ones are appended to it, and query i sees all up to
                its own position.
        Returns:
            The result, like `query`, and the weights (N, L, S), (N, num_heads, L, S) not averaged, or None.
        Raises:
            ShapeError, DTypeError: operands or masks that do not fit, with both shapes.
        Numerics:
            A query whose keys are all left out gets weights of 0 (PyTorch gives NaN here if the weights are needed).
        """
        batch = self._check_operands(query, key, value)
        single = query.ndim == 2
        q, k, v = self._projected(query, key, value)
        if not self.batch_first and not single:
            q, k, v = (x.swapaxes(0, 1) for x in (q, k, v))
        elif single:
            q, k, v = (fn.expand_dims(x, axis=0) for x in (q, k, v))
        # now (batch, length, embed_dim)
        mask = self._mask(key_padding_mask, attn_mask, (batch, q.shape[1], k.shape[1]), query)
        k, v, mask = self._extended(k, v, mask)
        q, k, v = (self._heads(x) for x in (q, k, v))
        if cache is not None:
            if mask is not None or is_causal or self.bias_k is not None or self.add_zero_attn:
                raise misuse("MultiheadAttention: with a cache, no mask and no appended key can be given")
            k, v, mask = cache.append(k, v)
        rate: float | Tensor = 0.0
        if flag(lambda: self.training) and not flag(lambda: self.dropout == 0):
            rate = hyper(lambda: float(self.dropout))
        y, weights = attend(q, k, v, mask, rate, is_causal, None, need_weights, self.generator)
        # back from (batch, heads, length, head_dim)
        y = fn.permute_dims(y, (0, 2, 1, 3) if self.batch_first or single else (2, 0, 1, 3))
        lead = (y.shape[1],) if single else tuple(y.shape[:2])
        y = fn.reshape(self.out_proj(fn.reshape(y, (-1, self.embed_dim))), (*lead, self.embed_dim))
        if weights is None:
            return y, None
        if average_attn_weights:
            weights = fn.mean(weights, axis=1)
        return y, weights[0] if single else weights

    def _check_operands(self, query: Tensor, key: Tensor, value: Tensor) -> int:
        """Raise unless ranks, features, lengths and batches fit; returns the batch size, 1 for one example."""
        name, operands = "MultiheadAttention", (query, key, value)
        for argument, tensor in zip(("query", "key", "value"), operands):
            check_tensor(name, tensor, argument)
        if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
            ranks = ", ".join(str(x.ndim) for x in operands)
            fail(ShapeError, name, f"query, key and value have {ranks} axes; they need 3 each, or 2 for one example",
                 operands)  # fmt: skip
        axis = 1 if self.batch_first and query.ndim == 3 else 0
        parts = zip(("query", "key", "value"), operands, (self.embed_dim, self.kdim, self.vdim))
        for argument, tensor, width in parts:
            if tensor.dtype is not self.out_proj.weight.dtype:
                dtype = self.out_proj.weight.dtype.name
                fail(DTypeError, name, f"{argument} is {tensor.dtype.name}, the layer {dtype}", operands,
                     f"convert it with {argument}.astype(chainrule.{dtype}), "
                     f"or the module with .to(chainrule.{tensor.dtype.name})")  # fmt: skip
            if tensor.shape[-1] != width:
                problem = f"{argument} has {tensor.shape[-1]} features (axis -1), the layer takes {width}"
                fail(ShapeError, name, problem, operands)
            if tensor.shape[axis] == 0:
                fail(ShapeError, name, f"{argument} is a sequence of length zero (axis {axis})", operands,
                     "give at least one token")  # fmt: skip
        if key.shape[axis] != value.shape[axis]:
            problem = f"there are {key.shape[axis]} keys (axis {axis}) and {value.shape[axis]} values"
            fail(ShapeError, name, problem, operands)
        if query.ndim == 2:
            return 1
        sizes = [x.shape[1 - axis] for x in operands]
        if len(set(sizes)) > 1:
            text = f"query, key and value have {', '.join(map(str, sizes))} examples (axis {1 - axis})"
            help = "sequences are (length, batch, features) unless batch_first=True"
            fail(ShapeError, name, text, operands, help)
        return sizes[0]

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of all heads.

        Three products even for self-attention: slices of one would be put together from zeros in the backward pass. Of
        matrices, whose gradient has one shape in all that uses it: heads that are put in order are copied once.
        """
        width = self.embed_dim
        bias = self.in_proj_bias
        if self.in_proj_weight is not None:
            weights = [self.in_proj_weight[i * width : (i + 1) * width] for i in range(3)]
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        biases = [None if bias is None else bias[i * width : (i + 1) * width] for i in range(3)]
        found = []
        for x, weight, part in zip((query, key, value), weights, biases):
            rows = F.linear(fn.reshape(x, (-1, x.shape[-1])), weight, part)
            found.append(fn.reshape(rows, (*x.shape[:-1], width)))
        return found[0], found[1], found[2]

    def _heads(self, x: Tensor) -> Tensor:
        """(batch, length, embed_dim) as (batch, heads, length, head_dim)."""
        return fn.permute_dims(fn.reshape(x, (*x.shape[:2], self.num_heads, self.head_dim)), (0, 2, 1, 3))

    def _mask(
        self, padding: Tensor | None, attn_mask: Tensor | None, sizes: tuple[int, int, int], query: Tensor
    ) -> Tensor | None:
        """One mask in the sense of `scaled_dot_product_attention` (True takes part) of both masks."""
        batch, length, keys = sizes
        parts = []
        if attn_mask is not None:
            wanted = [(length, keys), (batch * self.num_heads, length, keys)]
            self._check_mask("attn_mask", attn_mask, wanted, query)
            if attn_mask.ndim == 3:
                attn_mask = fn.reshape(attn_mask, (batch, self.num_heads, length, keys))
            parts.append(attn_mask)
        if padding is not None:
            self._check_mask("key_padding_mask", padding, [(keys,) if query.ndim == 2 else (batch, keys)], query)
            parts.append(fn.reshape(padding, (batch, 1, 1, keys)))
        if not parts:
            return None
        if all(part.dtype is bool_ for part in parts):
            left_out = parts[0] if len(parts) == 1 else fn.logical_or(*parts)
            return fn.logical_not(left_out)
        added = [
            fn.where(part, fn.full((), float("-inf"), dtype=query.dtype), 0.0) if part.dtype is bool_ else part
            for part in parts
        ]
        return added[0] if len(added) == 1 else added[0] + added[1]

    def _check_mask(self, argument: str, mask: Tensor, wanted: list[tuple[int, ...]], query: Tensor) -> None:
        name = "MultiheadAttention"
        check_tensor(name, mask, argument)
        if mask.dtype is not bool_ and mask.dtype is not query.dtype:
            problem = f"{argument} is {mask.dtype.name}, it has to be bool or {query.dtype.name}"
            help = "bool: True where a key is left out; floating: added to the scores"
            fail(DTypeError, name, problem, (query, mask), help)
        if tuple(mask.shape) not in wanted:
            shapes = " or ".join(map(str, wanted))
            help = "its axes are (queries, keys), or (batch * num_heads, queries, keys)"
            if argument == "key_padding_mask":
                help = "its axes are (batch, keys), or (keys,) for one example"
            problem = f"{argument} has shape {tuple(mask.shape)}, it has to have {shapes}"
            fail(ShapeError, name, problem, (query, mask), help)

    def _extended(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys, values and mask with the learned key and the key of zeros at the end."""
        added = 0
        if self.bias_k is not None:
            one = (k.shape[0], 1, self.embed_dim)
            k = fn.concat([k, fn.broadcast_to(self.bias_k, one)], axis=1)
            v = fn.concat([v, fn.broadcast_to(self.bias_v, one)], axis=1)
            added += 1
        if self.add_zero_attn:
            zeros = fn.zeros((k.shape[0], 1, self.embed_dim), dtype=k.dtype)
            k, v = fn.concat([k, zeros], axis=1), fn.concat([v, zeros], axis=1)
            added += 1
        if mask is not None and added:
            shape = (*mask.shape[:-1], added)
            kept = fn.full(shape, True) if mask.dtype is bool_ else fn.zeros(shape, dtype=mask.dtype)
            mask = fn.concat([mask, kept], axis=-1)
        return k, v, mask

    def extra_repr(self) -> str:
        """Nothing, as in PyTorch."""
        return ""
