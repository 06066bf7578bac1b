"""Tables of vectors: `Embedding` and `EmbeddingBag`."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from .. import functions as fn
from ..dtypes import as_dtype, default_float
from ..functional._common import check_number
from ..functional.embedding import MODES
from ..gradmode import no_grad
from ..ops.base import misuse
from ..tensor import Tensor, node_of
from . import init
from .module import FUNCTION_OF, Module
from .parameter import Parameter


class _Table(Module):
    """Base: the parameter `weight`, and the settings that both layers have."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        dtype: Any,
        generator: Any,
    ):
        super().__init__()
        name = type(self).__name__
        for what, value in (("num_embeddings", num_embeddings), ("embedding_dim", embedding_dim)):
            if not hasattr(value, "__index__") or value < 1:
                raise misuse(f"{name}: {what} must be a positive whole number, not {value!r}")
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise misuse(f"{name}: padding_idx {padding_idx} is out of range for a table of {num_embeddings} rows")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm = None if max_norm is None else check_number(name, "max_norm", max_norm, 0)
        self.norm_type = check_number(name, "norm_type", norm_type)
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        dtype = default_float if dtype is None else as_dtype(dtype)
        self.weight = Parameter(fn.empty((num_embeddings, embedding_dim), dtype=dtype))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Any = None) -> None:
        """Standard normal values, and zeros in the row `padding_idx`."""
        init.normal_(self.weight, generator=generator)
        if self.padding_idx is not None:
            with no_grad():
                kept = fn.expand_dims(fn.arange(self.num_embeddings) != self.padding_idx, 1)
                self.weight._rebind(node_of(fn.where(kept, self.weight.detach(), 0)))

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        for key, usual in (("padding_idx", None), ("max_norm", None), ("norm_type", 2.0), ("scale_grad_by_freq", False),
                           ("sparse", False)):  # fmt: skip
            if getattr(self, key) != usual:
                text += f", {key}={getattr(self, key)}"
        return text


class Embedding(_Table):
    """A learned vector for each of `num_embeddings` symbols; see `chainrule.functional.embedding`.

    Args:
        num_embeddings, embedding_dim: rows and columns of the table.
        padding_idx: a row that starts as zeros and gets no gradient.
        max_norm, norm_type: rows that are looked up are kept to this norm.
        scale_grad_by_freq: divide gradients by how often a row is looked up.
        sparse: accepted for PyTorch's sake: compiled descent walks touched rows alone where that wins in any case.
        dtype: of the table, default float32.
        generator: source of the initial values, standard normal.
    Shapes:
        (...) of integers -> (..., embedding_dim).
    Raises:
        IndexOutOfRangeError: at the call, naming the index and the size of the table.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.Embedding(10, 3, padding_idx=0)
        >>> layer(cr.asarray([[1, 2], [0, 4]])).shape, layer.weight[0].tolist()
        ((2, 2, 3), [0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        dtype: Any = None,
        generator: Any = None,
    ):
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            dtype,
            generator,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer whose table is `embeddings`, (rows, columns); `freeze` keeps it as it is."""
        rows, columns = embeddings.shape
        options = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
        layer = cls(rows, columns, *options, dtype=embeddings.dtype)
        layer.weight = Parameter(embeddings, requires_grad=not freeze)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        """(...) -> (..., embedding_dim)."""
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )


class EmbeddingBag(_Table):
    """Sums, means or maxima of bags of embeddings; see `chainrule.functional.embedding_bag`.

    Args:
        num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, sparse, dtype, generator: as for
            `Embedding`.
        mode: 'mean', 'sum' or 'max'.
        include_last_offset: whether offsets end with the number of indices.
        padding_idx: a row that counts for nothing.
    Shapes:
        (bags, length), or (n,) with offsets (bags,) -> (bags, embedding_dim).
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.EmbeddingBag(10, 3, mode="sum")
        >>> layer(cr.asarray([1, 2, 4]), cr.asarray([0, 2])).shape
        (2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        dtype: Any = None,
        generator: Any = None,
    ):
        if mode not in MODES:
            raise misuse(f"EmbeddingBag: mode must be one of {', '.join(map(repr, MODES))}, not {mode!r}")
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            dtype,
            generator,
        )
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """(bags, length), or (n,) with offsets -> (bags, embedding_dim)."""
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
            self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"{super().extra_repr()}, mode={self.mode!r}"


FUNCTION_OF.update(Embedding="embedding", EmbeddingBag="embedding_bag")
