"""`mnist-mlp`: 784-512-512-10 on mini-batches of images; compute-bound."""

from .perceptron import Perceptron

WORKLOAD = Perceptron(name="mnist-mlp", widths=(784, 512, 512, 10), batch=128, rows=16384, aim=1.35, peak_aim=0.7)
VARIANTS = WORKLOAD.variants(other_widths=(400, 300))
