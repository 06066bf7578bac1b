"""`uncertainty`: the lecture's heteroscedastic regression, 1-64-64-(mean, log sigma), full batch of 4000."""

from .base import Workload

WORKLOAD = Workload("uncertainty", (1, 64, 64, 2), "elu", "gaussian_nll", batch=4000, rows=4000, aim=1.5)
VARIANTS = WORKLOAD.variants(other_widths=(48, 80))
