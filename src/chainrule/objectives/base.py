"""`Objective`: what a network is trained for, stated as a distribution of the target given the network's outputs."""

from __future__ import annotations

import math
from typing import Any

from .. import functional as F
from .. import functions as fn
from ..ops.base import misuse
from ..tensor import Tensor

#: factor from nats to each unit: 1 nat is 1 / ln 2 = 1.44 bits
UNITS = {"nats": 1.0, "bits": 1.0 / math.log(2.0)}


class Objective:
    """Negative log-likelihood of a stated distribution: ``-log P(target | outputs)``.

    Minimising its mean over examples is maximum likelihood (lectures 000 and 002): the cross-entropy from the data's
    distribution to the model's.

    Args:
        unit: 'nats' (natural logarithm) or 'bits' (logarithm to base 2; H in bits is H in nats divided by ln 2).
    Attributes:
        name: of the distribution, for reports.
    """

    name = "objective"

    def __init__(self, unit: str = "nats"):
        if unit not in UNITS:
            raise misuse(f"{type(self).__name__}: unit must be 'nats' or 'bits', not {unit!r}")
        self.unit = unit

    def num_outputs(self, num_targets: int) -> int:
        """Outputs that a network needs for `num_targets` targets (or classes)."""
        return num_targets

    def nll(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Negative log-likelihood in nats, one an example: (batch, outputs), (batch, ...) -> (batch,)."""
        raise misuse(f"{type(self).__name__} does not define nll")

    def predict(self, outputs: Tensor) -> dict[str, Tensor]:
        """Named summaries of the distribution that `outputs` state."""
        raise misuse(f"{type(self).__name__} does not define predict")

    def __call__(self, outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        """Negative log-likelihood in `unit`: the mean over examples (a scalar), the sum, or each (batch,)."""
        F.check_reduction(self.name, reduction)
        losses = self.nll(outputs, targets)
        if reduction != "none":
            losses = fn.mean(losses) if reduction == "mean" else fn.sum(losses)
        factor = UNITS[self.unit]
        return losses if factor == 1.0 else losses * factor

    def settings(self) -> dict[str, Any]:
        """What the constructor needs to make this objective again (for configuration files)."""
        return {"unit": self.unit}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.settings().items())})"


def per_example(losses: Tensor) -> Tensor:
    """Sum over all axes but the first: targets of one example are independent given the outputs."""
    axes = tuple(range(1, len(losses.shape)))
    return fn.sum(losses, axis=axes) if axes else losses
