"""`dqn`: the value network of a cart-pole agent, 4-128-128-2, on mini-batches of a replay memory."""

from .base import Workload

WORKLOAD = Workload("dqn", (4, 128, 128, 2), "relu", "q_value", batch=128, rows=1 << 17, aim=1.8)
VARIANTS = WORKLOAD.variants(other_widths=(96, 72))
