"""The training workloads, a file each."""

from . import dqn, iris, mnist_mlp, uncertainty
from .base import Workload

WORKLOADS: dict[str, Workload] = {m.WORKLOAD.name: m.WORKLOAD for m in (iris, dqn, uncertainty, mnist_mlp)}
VARIANTS: dict[str, list[Workload]] = {m.WORKLOAD.name: m.VARIANTS for m in (iris, dqn, uncertainty, mnist_mlp)}
