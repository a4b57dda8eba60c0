"""Build the architectures that a config can name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from vtnstream.config import ModelConfig
from vtnstream.errors import UsageError
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vtn.model import VTN

VideoModel = VTN | ViViT

_ARCHITECTURES: dict[str, Callable[[ModelConfig, nn.Module | None], VideoModel]] = {
    "vtn": VTN,
    "vivit": ViViT,
}


def build_model(config: ModelConfig, backbone: nn.Module | None = None) -> VideoModel:
    """Build an untrained model from a config.

    Args:
        config: architecture, backbone, encoder and heads.
        backbone: a model of ``config.backbone`` to use instead of building one.

    Raises:
        ModelError: no model can be built from the config.
    """
    return _ARCHITECTURES[config.architecture](config, backbone)


def require_vtn(model: VideoModel, what: str) -> VTN:
    """Return the model itself, if it is a VTN.

    Args:
        model: any model.
        what: the function that supports only a VTN, for the message.

    Raises:
        UsageError: it has another architecture.
    """
    if not isinstance(model, VTN):
        raise UsageError(
            f"model {model.config.name} is a {model.config.architecture}: {what} works with a vtn "
            "(classify, timeline, extract, evaluate and plan with both)"
        )
    return model
