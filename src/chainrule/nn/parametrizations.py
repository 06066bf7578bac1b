"""Weight and spectral normalisation, as in ``torch.nn.utils.parametrizations``."""

from __future__ import annotations

from .. import functions as fn
from ..functional import normalize
from ..functional._common import write_state
from ..gradmode import no_grad
from ..ops.base import misuse
from ..tensor import Tensor, flag
from . import init
from .module import Module
from .parametrize import register_parametrization


def _norm(tensor: Tensor, dim: int | None) -> Tensor:
    """The Euclidean norm over all axes but `dim` (over all if None), those kept."""
    rank = len(tensor.shape)
    axes = tuple(a for a in range(rank) if dim is None or a != dim % rank)
    return fn.sqrt(fn.sum(fn.square(tensor), axes, keepdims=True))


class _WeightNorm(Module):
    """``g v / |v|``."""

    def __init__(self, dim: int | None):
        super().__init__()
        self.dim = dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """The weight from its length and its direction."""
        return weight_v * (weight_g / _norm(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Length and direction of a weight."""
        norm = _norm(weight, self.dim)
        return (fn.reshape(norm, ()) if self.dim is None else norm), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn the length and the direction of a weight apart: ``w = g v / |v|``; returns `module`.

    Args:
        module: a layer with parameter `name`.
        name: which parameter. The state dict has ``parametrizations.<name>.original0`` (g) and ``original1`` (v).
        dim: the axis along which each slice has a length of its own; None gives the whole tensor one.
    Raises:
        ConfigError: there is no such parameter or axis.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.utils.parametrizations.weight_norm(cr.nn.Linear(4, 3))
        >>> [(key, value.shape) for key, value in layer.state_dict().items() if "weight" in key]
        [('parametrizations.weight.original0', (3, 1)), ('parametrizations.weight.original1', (3, 4))]

    Reference:
        Salimans and Kingma, Weight normalization, NeurIPS 2016, equation 2.
    """
    parameter = module._parameters.get(name)
    if dim == -1:
        dim = None  # as PyTorch has it
    if parameter is not None and dim is not None and not -len(parameter.shape) <= dim < len(parameter.shape):
        raise misuse(f"weight_norm: dim {dim} is out of range for {name} of shape {tuple(parameter.shape)}")
    return register_parametrization(module, name, _WeightNorm(dim))


class _SpectralNorm(Module):
    """The weight over its largest singular value, estimated by power iteration."""

    _u: Tensor
    _v: Tensor
    _tensor_arguments = 1

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float):
        super().__init__()
        rank = len(weight.shape)
        if not -rank <= dim < rank:
            raise misuse(f"spectral_norm: dim {dim} is out of range for a weight of shape {tuple(weight.shape)}")
        if n_power_iterations < 1:
            raise misuse(f"spectral_norm: n_power_iterations must be at least 1, not {n_power_iterations}")
        self.dim = dim % rank
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if rank > 1:
            matrix = self._matrix(weight.detach())
            height, width = matrix.shape
            for name, size in (("_u", height), ("_v", width)):
                start = init.normal_(fn.zeros((size,), dtype=weight.dtype))
                self.register_buffer(name, normalize(start, dim=0, eps=eps))
            u, v = self._iterated(matrix, self._u, self._v, 15)
            self._u, self._v = u, v

    def _matrix(self, weight: Tensor) -> Tensor:
        """`weight` with axis `dim` first and the others joined."""
        if self.dim:
            weight = fn.moveaxis(weight, self.dim, 0)
        return fn.reshape(weight, (weight.shape[0], -1))

    def _iterated(self, matrix: Tensor, u: Tensor, v: Tensor, times: int) -> tuple[Tensor, Tensor]:
        for _ in range(times):
            u = normalize(matrix @ v, dim=0, eps=self.eps)
            v = normalize(matrix.T @ u, dim=0, eps=self.eps)
        return u, v

    def forward(self, weight: Tensor) -> Tensor:
        """The weight divided; while training, `u` and `v` move first."""
        if len(weight.shape) == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        u, v = self._u, self._v
        if flag(lambda: self.training):
            with no_grad():
                u, v = self._iterated(matrix.detach(), u, v, self.n_power_iterations)
            write_state("spectral_norm", self._u, u)
            write_state("spectral_norm", self._v, v)
        return weight / fn.sum(u.detach() * (matrix @ v.detach()))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value itself."""
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide a weight by its largest singular value, ``w / sigma``; returns `module`.

    ``sigma = u^T W v``, with W the weight as a matrix and vectors u, v that each use in training moves by
    `n_power_iterations` steps of ``u <- W v / |W v|``, ``v <- W^T u / |W^T u|``; 15 are taken at first. The gradient
    takes u and v as constants, for which it is that of the singular value once they have converged.

    Args:
        module: a layer with parameter `name`.
        name: which parameter. The state dict has ``parametrizations.<name>.original`` and ``.0._u``, ``.0._v``.
        n_power_iterations: steps a use.
        eps: the least divisor when vectors are normalised.
        dim: the axis of outputs; default 0, for transposed convolutions 1.
    Raises:
        ConfigError: there is no such parameter or axis.
    Example:
        >>> import chainrule as cr
        >>> layer = cr.nn.utils.parametrizations.spectral_norm(cr.nn.Linear(4, 3))
        >>> [key.split(".", 2)[2] for key in layer.state_dict() if "weight" in key]
        ['original', '0._u', '0._v']

    Reference:
        Miyato et al., Spectral normalization for generative adversarial networks, ICLR 2018, algorithm 1.
    """
    parameter = module._parameters.get(name)
    if parameter is None:
        raise misuse(f"spectral_norm: {type(module).__name__} has no parameter {name!r}")
    if dim is None:
        dim = 1 if "ConvTranspose" in type(module).__name__ else 0
    return register_parametrization(module, name, _SpectralNorm(parameter, n_power_iterations, dim, eps))
