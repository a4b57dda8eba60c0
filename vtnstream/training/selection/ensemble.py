"""Networks of several folds as one model, whose probabilities are averaged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from vtnstream.models.architectures import build_model, require_vtn
from vtnstream.models.vtn.model import VTN

_PER_MEMBER = ("input_projection.", "temporal_encoder.", "dense_head.")


def can_join(model: VTN) -> bool:
    """Whether networks like this one can stand side by side: a ``tcn`` with layers, and no class
    head, which would read all members at once."""
    temporal = model.config.temporal
    return temporal.kind == "tcn" and temporal.num_layers > 0 and model.mlp_head is None


def join(models: Sequence[VTN]) -> VTN:
    """One model of several that differ in weights only; they share backbone and
    ``feature_norm``.

    Args:
        models: each with one member, see :func:`can_join`.
    """
    first = models[0]
    temporal = dataclasses.replace(first.config.temporal, members=len(models))
    config = dataclasses.replace(first.config, temporal=temporal)
    team = require_vtn(build_model(config, first.backbone), "an ensemble")
    states = [model.state_dict() for model in models]
    state = dict(states[0])
    for name in state:
        if name.startswith(_PER_MEMBER):
            state[name] = torch.cat([each[name] for each in states])
        elif name == "cls_token":
            state[name] = torch.cat([each[name] for each in states], dim=-1)
    team.load_state_dict(state)
    return team.to(first.cls_token.device).eval()
