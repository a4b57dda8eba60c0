"""The models a config can name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from vtnstream.config import ModelConfig
from vtnstream.errors import UsageError
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vtn.model import VTN

VideoModel = VTN | ViViT

ARCHITECTURES: dict[str, Callable[[ModelConfig, nn.Module | None], VideoModel]] = {
    "vtn": VTN,
    "vivit": ViViT,
}


def build_model(config: ModelConfig, backbone: nn.Module | None = None) -> VideoModel:
    """The untrained model of a config.

    Args:
        config: everything that shapes it.
        backbone: a timm model of ``config.backbone`` to take instead of building one.

    Raises:
        ModelError: the config names no buildable model.
    """
    return ARCHITECTURES[config.architecture](config, backbone)


def require_vtn(model: VideoModel, what: str) -> VTN:
    """The model, where ``what`` knows no other architecture.

    Raises:
        UsageError: it is another one.
    """
    if not isinstance(model, VTN):
        raise UsageError(
            f"model {model.config.name} is a {model.config.architecture}: {what} works with a vtn "
            "(classify, timeline, extract, evaluate and plan with both)"
        )
    return model
