"""`uncertainty`: the lecture's heteroscedastic regression, 1-64-64-(mean, log sigma), full batch of 4000."""

from .perceptron import Perceptron

WORKLOAD = Perceptron(
    name="uncertainty", widths=(1, 64, 64, 2), activation="elu", loss="gaussian_nll", batch=4000, rows=4000, aim=2.3
)
VARIANTS = WORKLOAD.variants(other_widths=(48, 80))
