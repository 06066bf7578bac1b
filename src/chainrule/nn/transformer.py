"""Transformer layers and stacks of them, with PyTorch's arguments and state-dict keys."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from .. import functional as F
from .. import functions as fn
from ..errors import ShapeError
from ..functional._common import check_tensor, fail
from ..ops.base import misuse
from ..tensor import Tensor
from . import init
from .attention import MultiheadAttention
from .cache import KeyValueCache
from .containers import ModuleList
from .layers import Dropout, Linear
from .module import Module
from .normalisation import LayerNorm

Activation = str | Callable[[Tensor], Tensor]
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


def _activation(name: str, activation: Activation) -> Callable[[Tensor], Tensor]:
    if isinstance(activation, str):
        if activation not in _ACTIVATIONS:
            problem = f"activation must be 'relu', 'gelu' or a function, not {activation!r}"
            raise misuse(f"{name}: {problem}")
        return _ACTIVATIONS[activation]
    return activation


class _Layer(Module):
    """Base: attention and a network of two linear maps, each with a way around it and a normalisation."""

    #: attention modules; each has a normalisation and a dropout, as has the network of linear maps after them
    attentions: tuple[str, ...] = ()

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = None,
        generator: Any = None,
    ):
        super().__init__()
        options = {"dtype": dtype, "generator": generator}
        for name in self.attentions:
            attention = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **options)
            self.add_module(name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **options)
        self.dropout = Dropout(dropout, generator=generator)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **options)
        self.norm_first = norm_first
        numbers = range(1, len(self.attentions) + 2)
        for number in numbers:
            self.add_module(f"norm{number}", LayerNorm(d_model, eps=layer_norm_eps, bias=bias, dtype=dtype))
        for number in numbers:
            self.add_module(f"dropout{number}", Dropout(dropout, generator=generator))
        self.activation = _activation(type(self).__name__, activation)

    def _around(self, number: int, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        """x plus dropout of what `part` makes of it, normalised before (`norm_first`) or after."""
        norm, drop = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        if self.norm_first:
            return x + drop(part(norm(x)))
        return norm(x + drop(part(x)))

    def _feed(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention, then two linear maps for each token.

    ``x <- norm1(x + attention(x))``, ``x <- norm2(x + W_2 act(W_1 x + b_1) + b_2)``; with `norm_first` the
    normalisations stand before attention and maps instead, which trains without warm-up.

    Args:
        d_model: features of a token.
        nhead: heads of the attention, a divisor of `d_model`.
        dim_feedforward: features between the two maps.
        dropout: in training, after attention, activation and maps, and of attention weights.
        activation: 'relu', 'gelu' or a function of tensors.
        layer_norm_eps: added to variances.
        batch_first: (batch, length, features) rather than (length, batch, features).
        norm_first: see above.
        bias: whether linear maps and normalisations have biases.
        dtype, generator: of the parameters; source of initial values and dropout.
    Raises:
        ConfigError: `d_model` is not divisible by `nhead`, an unknown activation.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
        >>> layer(cr.zeros((3, 5, 8)), is_causal=True).shape
        (3, 5, 8)

    Reference:
        Vaswani et al., Attention is all you need, NeurIPS 2017, section 3.1; Xiong et al., On layer normalization in
        the Transformer architecture, ICML 2020, for `norm_first`.
    """

    attentions = ("self_attn",)
    self_attn: MultiheadAttention

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """The shape of `src`; masks and cache as in `MultiheadAttention`."""

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(
                x, x, x, src_key_padding_mask, need_weights=False, attn_mask=src_mask, is_causal=is_causal, cache=cache
            )[0]

        return self._around(2, self._around(1, src, attend), self._feed)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention over the memory that an encoder made, then two linear maps for each token.

    Args, Raises, Reference: as `TransformerEncoderLayer`.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True).eval()
        >>> layer(cr.zeros((3, 5, 8)), cr.zeros((3, 7, 8))).shape
        (3, 5, 8)
    """

    attentions = ("self_attn", "multihead_attn")
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """The shape of `tgt`; masks and `cache` (of the self-attention) as in `MultiheadAttention`."""

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(
                x, x, x, tgt_key_padding_mask, need_weights=False, attn_mask=tgt_mask, is_causal=tgt_is_causal,
                cache=cache,
            )[0]  # fmt: skip

        def look(x: Tensor) -> Tensor:
            return self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, need_weights=False, attn_mask=memory_mask,
                is_causal=memory_is_causal,
            )[0]  # fmt: skip

        return self._around(3, self._around(2, self._around(1, tgt, attend), look), self._feed)


def _caches(name: str, caches: Sequence[KeyValueCache] | None, layers: ModuleList) -> Sequence[KeyValueCache | None]:
    if caches is None:
        return [None] * len(layers)
    if len(caches) != len(layers):
        raise misuse(f"{name}: there are {len(layers)} layers and {len(caches)} caches; each layer needs its own")
    return caches


class TransformerEncoder(Module):
    """A stack of copies of an encoder layer, and a normalisation after it.

    Args:
        encoder_layer: copied `num_layers` times, initial values included.
        norm: applied to the result, or None.
        enable_nested_tensor, mask_check: accepted for PyTorch's sake.
    Raises:
        ConfigError: `num_layers` is not a positive whole number.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> cr.nn.TransformerEncoder(layer, 2).eval()(cr.zeros((3, 5, 8))).shape
        (3, 5, 8)
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ):
        super().__init__()
        self.layers = _copies("TransformerEncoder", encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Tensor:
        """The shape of `src`; masks as in `MultiheadAttention`, a cache for each layer."""
        for layer, cache in zip(self.layers, _caches("TransformerEncoder", caches, self.layers)):
            more = {} if cache is None else {"cache": cache}
            src = layer(src, mask, src_key_padding_mask, bool(is_causal), **more)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """A stack of copies of a decoder layer, and a normalisation after it; arguments as `TransformerEncoder`.

    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
        >>> cr.nn.TransformerDecoder(layer, 2).eval()(cr.zeros((3, 5, 8)), cr.zeros((3, 7, 8))).shape
        (3, 5, 8)
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None):
        super().__init__()
        self.layers = _copies("TransformerDecoder", decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        caches: Sequence[KeyValueCache] | None = None,
    ) -> Tensor:
        """The shape of `tgt`; masks as in `MultiheadAttention`, a cache for each layer's self-attention."""
        for layer, cache in zip(self.layers, _caches("TransformerDecoder", caches, self.layers)):
            more = {} if cache is None else {"cache": cache}
            tgt = layer(
                tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, bool(tgt_is_causal),
                memory_is_causal, **more,
            )  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


def _copies(name: str, layer: Module, count: int) -> ModuleList:
    if not hasattr(count, "__index__") or count < 1:
        raise misuse(f"{name}: num_layers must be a positive whole number, not {count!r}")
    return ModuleList([copy.deepcopy(layer) for _ in range(count)])


class Transformer(Module):
    """An encoder of one sequence and a decoder of another that attends to it.

    Args:
        num_encoder_layers, num_decoder_layers: how many layers.
        custom_encoder, custom_decoder: modules in their place, or None.
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, dtype,
            generator: as in `TransformerEncoderLayer`.
    Raises:
        ShapeError: at the call, for features other than `d_model` or batches that differ.
    Numerics:
        All matrices start with `xavier_uniform_`.
    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Transformer(8, 2, 1, 1, 16, batch_first=True).eval()
        >>> model(cr.zeros((3, 7, 8)), cr.zeros((3, 5, 8)), tgt_is_causal=True).shape
        (3, 5, 8)

    Reference:
        Vaswani et al., Attention is all you need, NeurIPS 2017.
    """

    encoder: Module
    decoder: Module

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = None,
        generator: Any = None,
    ):
        super().__init__()
        rest = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias,
                dtype, generator)  # fmt: skip
        parts = (
            ("encoder", custom_encoder, TransformerEncoder, TransformerEncoderLayer, num_encoder_layers),
            ("decoder", custom_decoder, TransformerDecoder, TransformerDecoderLayer, num_decoder_layers),
        )
        for name, custom, stack, layer, count in parts:
            if custom is None:
                norm = LayerNorm(d_model, eps=layer_norm_eps, bias=bias, dtype=dtype)
                custom = stack(layer(*rest), count, norm)
            self.add_module(name, custom)
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Any = None) -> None:
        """Draw all matrices anew; vectors keep their values, as in PyTorch."""
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter, generator=generator)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """(S, N, d_model), (T, N, d_model) -> (T, N, d_model); `batch_first` and masks as in `MultiheadAttention`."""
        for argument, tensor in (("src", src), ("tgt", tgt)):
            check_tensor("Transformer", tensor, argument)
            if tensor.ndim not in (2, 3) or tensor.shape[-1] != self.d_model:
                problem = f"{argument} has shape {tuple(tensor.shape)}, the model takes {self.d_model} features last"
                fail(ShapeError, "Transformer", problem, (src, tgt))
        axis = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or (src.ndim == 3 and src.shape[axis] != tgt.shape[axis]):
            problem = f"src {tuple(src.shape)} and tgt {tuple(tgt.shape)} differ in the batch (axis {axis})"
            fail(ShapeError, "Transformer", problem, (src, tgt))
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask, tgt_is_causal,
            memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = None) -> Tensor:
        """The causal mask (sz, sz) that is added to scores: -inf above the diagonal, else 0."""
        return fn.triu(fn.full((sz, sz), float("-inf"), dtype=dtype), k=1)
