"""Layers on graphs."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from .. import functions as fn
from ..dtypes import as_dtype, default_float
from ..errors import DTypeError, ShapeError
from ..functional._common import check_tensor, fail
from ..functions.products import matmul
from ..ops.base import misuse
from ..sparse import CSR
from ..tensor import Tensor, flag, hyper
from . import init
from .module import Module
from .parameter import Parameter


def _check_kinds(name: str, input: Any, adjacency: Any) -> None:
    """DTypeError unless `input` is a tensor or sparse and `adjacency` sparse."""
    if not isinstance(input, CSR):
        check_tensor(name, input)
    if not isinstance(adjacency, CSR):
        help = "make one with chainrule.sparse.CSR.from_dense(...) or normalized_adjacency(edges, num_nodes)"
        fail(DTypeError, name, f"adjacency is {type(adjacency).__name__}, not a chainrule.sparse.CSR", (), help)


class GraphConv(Module):
    """Graph convolution: ``y = A x W + b``, where A weighs the neighbours of each node.

    A is given at the call; for the layer of the paper it is `chainrule.sparse.normalized_adjacency`,
    ``D^(-1/2) (A + I) D^(-1/2)``. The product with fewer operations comes first: ``A (x W)``, or ``(A x) W`` where the
    layer has more outputs than inputs.

    Args:
        in_features, out_features: numbers for each node before and after, positive.
        bias: whether b is there.
        dtype: of the parameters, default float32.
        generator: source of the initial values, default the global one.
    Shapes:
        (nodes, in_features) -> (nodes, out_features). `weight` is (in_features, out_features), which a sparse input
        reads by rows, `bias` (out_features,).
    Raises:
        ShapeError, DTypeError: at the call, for nodes or features that do not fit.
    Numerics:
        The weight starts uniform by Glorot's rule, the bias as zeros.
    Example:
        >>> import chainrule as cr
        >>> adjacency = cr.sparse.normalized_adjacency([[0, 1], [1, 2]], num_nodes=3)
        >>> layer = cr.nn.GraphConv(4, 2)
        >>> layer(cr.ones((3, 4)), adjacency).shape
        (3, 2)

    Reference:
        Kipf and Welling, Semi-supervised classification with graph convolutional networks, ICLR 2017, equation 2.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None, generator: Any = None
    ):
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if not hasattr(value, "__index__") or value < 1:
                raise misuse(f"GraphConv: {name} must be a positive whole number, not {value!r}")
        self.in_features = in_features
        self.out_features = out_features
        dtype = default_float if dtype is None else as_dtype(dtype)
        self.weight = Parameter(fn.empty((in_features, out_features), dtype=dtype))
        self.register_parameter("bias", Parameter(fn.empty((out_features,), dtype=dtype)) if bias else None)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Any = None) -> None:
        """Draw new initial values."""
        init.xavier_uniform_(self.weight, generator=generator)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor | CSR, adjacency: CSR) -> Tensor:
        """(nodes, in_features), dense or sparse, and (nodes, nodes) -> (nodes, out_features)."""
        _check_kinds("GraphConv", input, adjacency)
        shape = tuple(input.shape)
        operands = () if isinstance(input, CSR) else (input,)
        if len(shape) != 2 or shape[1] != self.in_features:
            fail(ShapeError, "GraphConv", f"input has shape {shape}, the layer takes {self.in_features} features",
                 operands)  # fmt: skip
        if adjacency.shape[1] != shape[0]:
            fail(ShapeError, "GraphConv", f"input has {shape[0]} nodes, adjacency {adjacency.shape[1]} columns",
                 operands)  # fmt: skip
        own = self.weight.dtype
        for what, dtype in (("input", input.dtype), ("adjacency", adjacency.dtype)):
            if dtype is not own:
                fail(DTypeError, "GraphConv", f"{what} is {dtype.name}, the layer is {own.name}", operands,
                     f"convert it with .astype(chainrule.{own.name})")  # fmt: skip
        if isinstance(input, CSR):
            output = adjacency @ (input @ self.weight)
        elif self.in_features < self.out_features:
            output = matmul(adjacency @ input, self.weight)
        else:
            output = adjacency @ matmul(input, self.weight)
        return output if self.bias is None else output + self.bias

    def extra_repr(self) -> str:
        """As the constructor takes them."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class GraphAttention(Module):
    """Graph attention: each node takes the mean of its neighbours' features, weighted by what it makes of them.

    ``y_i = sum_j a_ij W x_j + b``, with ``a_ij`` the softmax over the neighbours j of i of
    ``leaky_relu(d . W x_i + s . W x_j)``, for each head with its own W, d and s.

    Args:
        in_features, out_features: numbers for each node before, and after for each head, positive.
        heads: number of heads.
        concat: whether their results are laid side by side, or averaged.
        negative_slope: of the leaky ReLU.
        dropout: probability with which a weight is dropped while training.
        bias: whether b is there.
        dtype, generator: as for `GraphConv`.
    Shapes:
        (nodes, in_features) -> (nodes, heads * out_features), or (nodes, out_features) if averaged. `weight` is
        (in_features, heads * out_features), `att_src` (s) and `att_dst` (d) are (heads, out_features).
    Raises:
        ShapeError: at the call, for nodes or features that do not fit.
    Numerics:
        What is taken off before the exponential is an upper bound of a node's scores, from its own part and the
        largest of all nodes' parts: nothing overflows; neighbours that are all 88 below it (in float32) would get
        nothing. Weights start uniform by Glorot's rule.
    Example:
        >>> import chainrule as cr
        >>> adjacency = cr.sparse.normalized_adjacency([[0, 1], [1, 2]], num_nodes=3)
        >>> cr.nn.GraphAttention(4, 2, heads=3)(cr.ones((3, 4)), adjacency).shape
        (3, 6)

    Reference:
        Velickovic et al., Graph attention networks, ICLR 2018, equations 1 to 6.
    """

    weight: Parameter
    att_src: Parameter
    att_dst: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        bias: bool = True,
        dtype: Any = None,
        generator: Any = None,
    ):
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features), ("heads", heads)):
            if not hasattr(value, "__index__") or value < 1:
                raise misuse(f"GraphAttention: {name} must be a positive whole number, not {value!r}")
        F.check_probability("GraphAttention", dropout, "dropout")
        self.in_features = in_features
        self.out_features = out_features
        self.heads = heads
        self.concat = concat
        self.negative_slope = negative_slope
        self.dropout = dropout
        dtype = default_float if dtype is None else as_dtype(dtype)
        self.weight = Parameter(fn.empty((in_features, heads * out_features), dtype=dtype))
        self.att_src = Parameter(fn.empty((heads, out_features), dtype=dtype))
        self.att_dst = Parameter(fn.empty((heads, out_features), dtype=dtype))
        width = heads * out_features if concat else out_features
        self.register_parameter("bias", Parameter(fn.empty((width,), dtype=dtype)) if bias else None)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Any = None) -> None:
        """Draw new initial values."""
        for parameter in (self.weight, self.att_src, self.att_dst):
            init.xavier_uniform_(parameter, generator=generator)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor | CSR, adjacency: CSR) -> Tensor:
        """Features of the nodes, dense or sparse, and a matrix whose row i has an element for each neighbour of i."""
        _check_kinds("GraphAttention", input, adjacency)
        nodes = input.shape[0] if input.shape else 0
        if len(input.shape) != 2 or input.shape[1] != self.in_features or tuple(adjacency.shape) != (nodes, nodes):
            problem = f"input has shape {tuple(input.shape)}, adjacency {adjacency.shape}"
            fail(ShapeError, "GraphAttention", f"{problem}; the layer takes {self.in_features} features",
                 () if isinstance(input, CSR) else (input,))  # fmt: skip
        flat = input @ self.weight if isinstance(input, CSR) else matmul(input, self.weight)
        features = fn.reshape(flat, (nodes, self.heads, self.out_features))
        source = fn.sum(features * self.att_src, 2)
        target = fn.sum(features * self.att_dst, 2)
        rows, columns = adjacency.rows, adjacency.indices
        bound = F.leaky_relu(target + fn.max(source, 0), self.negative_slope).detach()
        scores = F.leaky_relu(fn.take(target, rows, axis=0) + fn.take(source, columns, axis=0), self.negative_slope)
        weights = fn.exp(scores - fn.take(bound, rows, axis=0))
        ones = fn.ones((nodes, 1), dtype=flat.dtype)
        dropping = flag(lambda: self.training and self.dropout > 0)
        results = []
        for head in range(self.heads):
            raw = weights[:, head]
            share = raw / fn.take((adjacency.with_values(raw) @ ones)[:, 0], rows, axis=0)
            if dropping:
                share = F.dropout(share, hyper(lambda: float(self.dropout)))
            results.append(adjacency.with_values(share) @ features[:, head])
        if self.concat:
            output = fn.concat(results, axis=1) if self.heads > 1 else results[0]
        else:
            output = fn.mean(fn.stack(results), 0)
        return output if self.bias is None else output + self.bias

    def extra_repr(self) -> str:
        """As the constructor takes them."""
        text = f"{self.in_features}, {self.out_features}, heads={self.heads}, concat={self.concat}"
        return f"{text}, dropout={self.dropout}, bias={self.bias is not None}"
