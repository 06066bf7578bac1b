"""The training workloads, a file each."""

from . import (
    char_gpt,
    char_lstm,
    dqn,
    gcn,
    iris,
    mnist_cnn,
    mnist_mlp,
    resnet20,
    uncertainty,
    unet,
    vae,
)
from .base import Workload

_MODULES = (iris, dqn, uncertainty, mnist_mlp, mnist_cnn, resnet20, char_lstm, char_gpt, vae, unet, gcn)

WORKLOADS: dict[str, Workload] = {module.WORKLOAD.name: module.WORKLOAD for module in _MODULES}
VARIANTS: dict[str, list[Workload]] = {module.WORKLOAD.name: module.VARIANTS for module in _MODULES}


def find(name: str) -> Workload:
    """A workload or variant by its name; ``resnet-N`` is the residual network of N layers."""
    if name.startswith("resnet-"):
        return resnet20.of_depth(int(name.removeprefix("resnet-")))
    for known, workload in WORKLOADS.items():
        for candidate in (workload, *VARIANTS[known]):
            if candidate.name == name:
                return candidate
    raise KeyError(f"there is no workload {name!r}; there are {', '.join(WORKLOADS)}")
