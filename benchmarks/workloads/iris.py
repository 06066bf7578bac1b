"""`iris`: the lecture's 4-8-3 network on 150 flowers, full batch. What it measures is overhead."""

from .perceptron import Perceptron

WORKLOAD = Perceptron(name="iris", widths=(4, 8, 3), batch=150, rows=150, aim=5.0)
VARIANTS = WORKLOAD.variants(other_widths=(12,))
