"""`dqn`: the value network of a cart-pole agent, 4-128-128-2, on mini-batches of a replay memory."""

from .perceptron import Perceptron

WORKLOAD = Perceptron(name="dqn", widths=(4, 128, 128, 2), loss="q_value", batch=128, rows=1 << 17, aim=2.2)
VARIANTS = WORKLOAD.variants(other_widths=(96, 72))
