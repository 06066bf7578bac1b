"""The distributions that the textbook losses stand for: categorical, Bernoulli and Gaussian."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from .. import functions as fn
from ..errors import ShapeError
from ..ops.base import misuse
from ..tensor import Tensor
from .base import Objective, per_example

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class Categorical(Objective):
    """One of K classes: ``P(y) = softmax(outputs)_y``; its negative log-likelihood is the cross-entropy loss.

    Args:
        unit: 'nats' or 'bits'.
        label_smoothing: share of the target that is spread evenly over the classes.
    Shapes:
        outputs (batch, K) logits, targets (batch,) labels in [0, K).
    Example:
        >>> import chainrule as cr
        >>> objective = cr.objectives.Categorical(unit="bits")
        >>> objective(cr.zeros((1, 4)), cr.asarray([2])).item()
        2.0

    Reference: lectures 000 and 002 (O5, O11).
    """

    name = "categorical"

    def __init__(self, unit: str = "nats", label_smoothing: float = 0.0):
        super().__init__(unit)
        self.label_smoothing = label_smoothing

    def nll(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Objective.nll`."""
        return per_example(F.cross_entropy(outputs, targets, reduction="none", label_smoothing=self.label_smoothing))

    def predict(self, outputs: Tensor) -> dict[str, Tensor]:
        """`probabilities` (batch, K), and `label` (batch,), the likeliest class."""
        return {"probabilities": F.softmax(outputs, dim=1), "label": fn.argmax(outputs, axis=1)}

    def settings(self) -> dict[str, Any]:
        """See `Objective.settings`."""
        return {"unit": self.unit, "label_smoothing": self.label_smoothing}


class Bernoulli(Objective):
    """Independent events: ``P(y = 1) = sigmoid(outputs)``; binary cross-entropy, the log loss of the margin.

    Shapes:
        outputs (batch, events) or (batch,) logits, targets of the same shape in [0, 1].
    Example:
        >>> import chainrule as cr
        >>> cr.objectives.Bernoulli(unit="bits")(cr.zeros((1, 1)), cr.ones((1, 1))).item()
        1.0

    Reference: lecture 002 (O6, O7).
    """

    name = "bernoulli"

    def nll(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Objective.nll`."""
        return per_example(F.binary_cross_entropy_with_logits(outputs, targets, reduction="none"))

    def predict(self, outputs: Tensor) -> dict[str, Tensor]:
        """`probabilities` of the events, and `label`, whether each is likelier than not (1 iff the logit is >= 0)."""
        return {"probabilities": F.sigmoid(outputs), "label": (outputs >= 0).astype("int64")}


class Gaussian(Objective):
    """A number with Gaussian noise: ``N(mean, sigma^2)``.

    Args:
        spread: 'learned': half of the outputs are means, half are ``log sigma``, for each example
            (heteroscedastic; lecture 000's uncertainty estimation); or a number, the fixed sigma.
        unit: 'nats' or 'bits'.
        constant: include ``log(2 pi) / 2``, without which this is no true likelihood. Lecture 000 leaves it out; with
            ``spread=1.0, constant=False`` the loss is ``sum (y - mean)^2 / 2``, half the squared error.
    Shapes:
        targets (batch, n) or (batch,); outputs (batch, 2 n): the n means, then the n values of log sigma; (batch, n)
        for a fixed spread. For (batch,) targets n is 1.
    Raises:
        ConfigError: a spread that is neither. ShapeError: outputs and targets do not fit.
    Numerics:
        ``((y - mean) exp(-log sigma))^2 / 2 + log sigma``: no division, and sigma cannot become 0 or negative.
    Example:
        >>> import chainrule as cr
        >>> y, outputs = cr.asarray([3.0]), cr.asarray([[1.0]])
        >>> cr.objectives.Gaussian(spread=1.0, constant=False)(outputs, y).item()
        2.0

    Reference: Nix and Weigend, 1994; lecture 000 (O2, O3, O4).
    """

    name = "gaussian"

    def __init__(self, spread: str | float = "learned", unit: str = "nats", constant: bool = True):
        super().__init__(unit)
        if spread != "learned" and not (isinstance(spread, (int, float)) and spread > 0):
            raise misuse(f"Gaussian: spread must be 'learned' or a positive number, not {spread!r}")
        self.spread = spread
        self.constant = constant

    def num_outputs(self, num_targets: int) -> int:
        """Twice the targets if the spread is learned."""
        return 2 * num_targets if self.spread == "learned" else num_targets

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor | None]:
        """Means and log sigmas, (batch, n) each; None for a fixed spread."""
        if self.spread != "learned":
            return outputs, None
        width = outputs.shape[-1] if len(outputs.shape) == 2 else 1
        if width % 2:
            raise ShapeError(
                f"Gaussian: outputs of shape {tuple(outputs.shape)} cannot be means and log sigmas\n"
                "help: give the network two outputs a target, as num_outputs says"
            )
        half = width // 2
        return outputs[:, :half], outputs[:, half:]

    def nll(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Objective.nll`."""
        mean, log_sigma = self.split(outputs)
        if len(targets.shape) == 1 and len(mean.shape) == 2 and mean.shape[1] == 1:
            targets = fn.reshape(targets, mean.shape)
        targets = F.same_shape("Gaussian", mean, targets)
        constant = HALF_LOG_TWO_PI if self.constant else 0.0
        if log_sigma is None:
            losses = fn.square(targets - mean) * (0.5 / self.spread**2)  # type: ignore[operator]
            constant += math.log(self.spread)  # type: ignore[arg-type]
        else:
            losses = fn.square((targets - mean) * fn.exp(-log_sigma)) * 0.5 + log_sigma
        return per_example(losses + constant if constant else losses)

    def predict(self, outputs: Tensor) -> dict[str, Tensor]:
        """`mean` and `standard_deviation`, (batch, n) each."""
        mean, log_sigma = self.split(outputs)
        spread = fn.full_like(mean, self.spread) if log_sigma is None else fn.exp(log_sigma)
        return {"mean": mean, "standard_deviation": spread}

    def settings(self) -> dict[str, Any]:
        """See `Objective.settings`."""
        return {"spread": self.spread, "unit": self.unit, "constant": self.constant}
