"""Layers with and without parameters: linear map, activations, dropout, flattening."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from .. import functions as fn
from ..dtypes import as_dtype, default_float
from ..errors import ShapeError
from ..functional._common import check_tensor, fail
from ..ops.base import misuse
from ..tensor import Tensor, flag, hyper
from . import init
from .module import FUNCTION_OF, Module
from .parameter import Parameter


class Linear(Module):
    """Affine map of the last axis: ``y = x W^T + b``.

    Args:
        in_features, out_features: extents of the last axis before and after, positive.
        bias: whether b is there.
        dtype: of the parameters, default float32; inputs have to have it too.
        generator: source of the initial values, default the global one.
    Shapes:
        (..., in_features) -> (..., out_features). `weight` is (out_features, in_features), `bias` (out_features,).
    Raises:
        ConfigError: a feature count that is not a positive whole number.
        ShapeError, DTypeError: at the call, for an input that does not fit.
    Numerics:
        Both parameters start uniform in ``[-1/sqrt(in_features), 1/sqrt(in_features)]``, which is PyTorch's rule
        (``kaiming_uniform_`` with a = sqrt 5 for the weight).
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.Linear(4, 3)
        >>> layer(cr.zeros((2, 4))).shape, list(layer.state_dict())
        ((2, 3), ['weight', 'bias'])
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None, generator: Any = None
    ):
        super().__init__()
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if not hasattr(value, "__index__") or value < 1:
                raise misuse(f"Linear: {name} must be a positive whole number, not {value!r}")
        self.in_features = in_features
        self.out_features = out_features
        dtype = default_float if dtype is None else as_dtype(dtype)
        self.weight = Parameter(fn.empty((out_features, in_features), dtype=dtype))
        if bias:
            self.bias = Parameter(fn.empty((out_features,), dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: Any = None) -> None:
        """Draw new initial values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            init.uniform_(self.bias, -bound, bound, generator=generator)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """Returns its input; takes and ignores any arguments, so that it can stand for any layer."""

    def __init__(self, *_: Any, **__: Any):
        super().__init__()

    def forward(self, input: Any) -> Any:
        """The input."""
        return input


class Flatten(Module):
    """Joins the axes from `start_dim` to `end_dim` into one.

    Shapes:
        (batch, d1, d2, ...) -> (batch, d1 * d2 * ...) by default.
    Raises:
        ShapeError: the axes are not there or in the wrong order.
    Example:
        >>> import chainrule as cr
        >>> cr.nn.Flatten()(cr.zeros((5, 28, 28))).shape
        (5, 784)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Reshape."""
        check_tensor("Flatten", input)
        shape = tuple(input.shape)
        rank = len(shape)
        first = self.start_dim + rank if self.start_dim < 0 else self.start_dim
        last = self.end_dim + rank if self.end_dim < 0 else self.end_dim
        if not 0 <= first <= last < rank:
            problem = f"axes {self.start_dim} to {self.end_dim} do not exist in shape {shape}"
            fail(ShapeError, "Flatten", problem, (input,))
        return fn.reshape(input, (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Dropout(Module):
    """While training, sets each element to 0 with probability `p` and scales the rest by ``1 / (1 - p)``.

    Args:
        p: probability of dropping, in [0, 1]; the lectures' typical value is 0.5. It may be changed later, also
            between calls of a compiled step, which is not compiled again for it.
        generator: source of the masks, default the global one.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.Dropout(0.5).eval()
        >>> layer(cr.ones((3,))).tolist()
        [1.0, 1.0, 1.0]

    Reference:
        As `chainrule.functional.dropout`.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, generator: Any = None):
        super().__init__()
        self.p = p
        self.inplace = inplace
        self.generator = generator

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "p":
            F.check_probability("Dropout", value)
        super().__setattr__(name, value)

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        if not flag(lambda: self.training) or flag(lambda: self.p == 0):
            return input
        return F.dropout(input, hyper(lambda: float(self.p)), True, self.generator)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"p={self.p}, inplace={self.inplace}"


class _Activation(Module):
    """An activation without settings. `inplace` is accepted for PyTorch's sake; memory is planned by the compiler."""

    function: Any = None

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise: the shape of the input."""
        return type(self).function(input)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return "inplace=True" if self.inplace else ""


class ReLU(_Activation):
    """``max(0, x)``, elementwise; see `chainrule.functional.relu`."""

    function = staticmethod(F.relu)


class SELU(_Activation):
    """Scaled exponential linear unit; see `chainrule.functional.selu`."""

    function = staticmethod(F.selu)


class SiLU(_Activation):
    """``x sigmoid(x)``; see `chainrule.functional.silu`."""

    function = staticmethod(F.silu)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``; see `chainrule.functional.sigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise: the shape of the input."""
        return F.sigmoid(input)


class Tanh(Module):
    """Hyperbolic tangent; see `chainrule.functional.tanh`."""

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise: the shape of the input."""
        return F.tanh(input)


class LeakyReLU(Module):
    """``x`` if x > 0, else ``negative_slope x``; see `chainrule.functional.leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise: the shape of the input."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """``x`` if x > 0, else ``alpha (exp(x) - 1)``; see `chainrule.functional.elu`."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise: the shape of the input."""
        return F.elu(input, self.alpha)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class GELU(Module):
    """``x Phi(x)``; `approximate` as in `chainrule.functional.gelu`."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise misuse(f"GELU: approximate must be 'none' or 'tanh', not {approximate!r}")
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise: the shape of the input."""
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"approximate={self.approximate!r}"


class Softplus(Module):
    """``log(1 + exp(beta x)) / beta``; see `chainrule.functional.softplus`."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise: the shape of the input."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(Module):
    """``min(max(x, min_val), max_val)``; see `chainrule.functional.hardtanh`."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        super().__init__()
        if not min_val < max_val:
            raise misuse(f"Hardtanh: min_val must be below max_val, not {min_val} and {max_val}")
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Elementwise: the shape of the input."""
        return F.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class Softmax(Module):
    """Normalised exponentials along `dim`; see `chainrule.functional.softmax`."""

    def __init__(self, dim: int | None = None, temperature: float = 1.0):
        super().__init__()
        self.dim = dim
        self.temperature = temperature

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        return F.softmax(input, self.dim, self.temperature)

    def extra_repr(self) -> str:
        """As PyTorch prints it."""
        return f"dim={self.dim}" + ("" if self.temperature == 1.0 else f", temperature={self.temperature}")


class LogSoftmax(Softmax):
    """Logarithm of `Softmax`; see `chainrule.functional.log_softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        """The shape of the input."""
        return F.log_softmax(input, self.dim, self.temperature)


FUNCTION_OF.update(
    ReLU="relu", SELU="selu", SiLU="silu", Sigmoid="sigmoid", Tanh="tanh", LeakyReLU="leaky_relu", ELU="elu",
    GELU="gelu", Softplus="softplus", Hardtanh="hardtanh", Softmax="softmax", LogSoftmax="log_softmax",
    Dropout="dropout",
)  # fmt: skip
