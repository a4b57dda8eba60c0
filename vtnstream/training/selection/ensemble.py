"""Join the networks of several folds to one model that averages their probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from vtnstream.models.architectures import build_model, require_vtn
from vtnstream.models.vtn.model import VTN

_PER_MEMBER = ("input_projection.", "temporal_encoder.", "dense_head.")


def can_join(model: VTN) -> bool:
    """Return whether such networks can be joined: a ``tcn`` with layers and without a class head,
    which would read all members at once."""
    temporal = model.config.temporal
    return temporal.kind == "tcn" and temporal.num_layers > 0 and model.mlp_head is None


def join(models: Sequence[VTN]) -> VTN:
    """Join models that differ in weights only, and share backbone and ``feature_norm``.

    Args:
        models: models of one member each, see :func:`can_join`.
    """
    first = models[0]
    temporal = dataclasses.replace(first.config.temporal, members=len(models))
    config = dataclasses.replace(first.config, temporal=temporal)
    joined = require_vtn(build_model(config, first.backbone), "an ensemble")
    states = [model.state_dict() for model in models]
    state = dict(states[0])
    for name in state:
        if name.startswith(_PER_MEMBER):
            state[name] = torch.cat([each[name] for each in states])
        elif name == "cls_token":
            state[name] = torch.cat([each[name] for each in states], dim=-1)
    joined.load_state_dict(state)
    return joined.to(first.cls_token.device).eval()
