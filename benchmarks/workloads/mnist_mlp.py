"""`mnist-mlp`: 784-512-512-10 on mini-batches of images; compute-bound."""

from .base import Workload

WORKLOAD = Workload("mnist-mlp", (784, 512, 512, 10), "relu", "cross_entropy", batch=128, rows=16384, aim=1.15)
VARIANTS = WORKLOAD.variants(other_widths=(400, 300))
