"""What to train for: negative log-likelihoods of stated distributions, in nats or bits."""

from .base import Objective
from .distributions import Bernoulli, Categorical, Gaussian

__all__ = ["Bernoulli", "Categorical", "Gaussian", "Objective"]
