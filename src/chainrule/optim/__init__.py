"""Optimisers and learning-rate schedules, with PyTorch's names, arguments, defaults and state dicts."""

from . import lr_scheduler
from .adam import Adam, AdamW
from .adaptive import Adagrad, RMSprop
from .grad_scaler import GradScaler
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "GradScaler", "Optimizer", "RMSprop", "lr_scheduler"]
