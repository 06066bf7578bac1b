"""`iris`: the lecture's 4-8-3 network on 150 flowers, full batch. What it measures is overhead."""

from .base import Workload

WORKLOAD = Workload("iris", (4, 8, 3), "relu", "cross_entropy", batch=150, rows=150, aim=2.0)
VARIANTS = WORKLOAD.variants(other_widths=(12,))
