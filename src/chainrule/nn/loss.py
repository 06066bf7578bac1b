"""Losses as modules: each calls the function of `chainrule.functional` that its docstring names."""

from __future__ import annotations

from typing import Any

from .. import functional as F
from ..tensor import Tensor
from .module import FUNCTION_OF, Module


class _Loss(Module):
    """Base of the losses: holds `reduction`, 'mean', 'sum' or 'none'."""

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        F.check_reduction(type(self).__name__, reduction, ("batchmean",) if isinstance(self, KLDivLoss) else ())
        self.reduction = reduction


class CrossEntropyLoss(_Loss):
    """Negative log-likelihood of classes from logits; see `chainrule.functional.cross_entropy`.

    Example:
        >>> import chainrule as cr
        >>> loss = cr.nn.CrossEntropyLoss()
        >>> round(float(loss(cr.zeros((2, 3)), cr.asarray([0, 2]))), 4)
        1.0986
    """

    _tensor_arguments = 1
    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Logits (batch, classes, ...) and labels (batch, ...) -> a scalar, or (batch, ...) for 'none'."""
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(_Loss):
    """Negative log-likelihood of classes from log-probabilities; see `chainrule.functional.nll_loss`."""

    _tensor_arguments = 1
    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Log-probabilities (batch, classes, ...) and labels (batch, ...)."""
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class BCELoss(_Loss):
    """Bernoulli negative log-likelihood from probabilities; see `chainrule.functional.binary_cross_entropy`."""

    _tensor_arguments = 1
    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean"):
        super().__init__(reduction)
        self.register_buffer("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Bernoulli negative log-likelihood from logits; see `chainrule.functional.binary_cross_entropy_with_logits`."""

    _tensor_arguments = 1
    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean", pos_weight: Tensor | None = None):
        super().__init__(reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class MSELoss(_Loss):
    """Squared error; see `chainrule.functional.mse_loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """Absolute error; see `chainrule.functional.l1_loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.l1_loss(input, target, self.reduction)


class HuberLoss(_Loss):
    """Squared error near, absolute error far; see `chainrule.functional.huber_loss`."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.huber_loss(input, target, self.reduction, self.delta)


class SmoothL1Loss(_Loss):
    """Huber's loss divided by `beta`; see `chainrule.functional.smooth_l1_loss`."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class GaussianNLLLoss(_Loss):
    """Gaussian negative log-likelihood with given variances; see `chainrule.functional.gaussian_nll_loss`."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        super().__init__(reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Any) -> Tensor:
        """Means, targets and variances of one shape."""
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(_Loss):
    """Poisson negative log-likelihood; see `chainrule.functional.poisson_nll_loss`."""

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"):
        super().__init__(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.poisson_nll_loss(input, target, self.log_input, self.full, self.eps, self.reduction)


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence from log-probabilities; see `chainrule.functional.kl_div`."""

    def __init__(self, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Two tensors of one shape."""
        return F.kl_div(input, target, self.reduction, self.log_target)


FUNCTION_OF.update(
    CrossEntropyLoss="cross_entropy", NLLLoss="nll_loss", BCELoss="binary_cross_entropy",
    BCEWithLogitsLoss="binary_cross_entropy_with_logits", MSELoss="mse_loss", L1Loss="l1_loss", HuberLoss="huber_loss",
    SmoothL1Loss="smooth_l1_loss", GaussianNLLLoss="gaussian_nll_loss", PoissonNLLLoss="poisson_nll_loss",
    KLDivLoss="kl_div",
)  # fmt: skip
