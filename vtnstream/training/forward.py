"""Run a model on a batch of stored features or frames."""

from __future__ import annotations

import torch
from torch import nn

from vtnstream.models.architectures import VideoModel
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vtn.model import StagedOutput, VTNOutput
from vtnstream.preprocess.pipeline import Normalize
from vtnstream.training.data.batches import Batch


def device_of(model: VideoModel) -> torch.device:
    """Return the device of a model."""
    return next(model.parameters()).device


def run_model(model: VideoModel, batch: Batch) -> VTNOutput | StagedOutput:
    """Return the logits of the heads for which the batch has labels or targets.

    Args:
        model: in any mode, on the device of the batch.
        batch: features or frames; a ViViT needs whole clips of frames.
    """
    if batch.holds_frames:
        frames = batch.inputs  # (B, T, H, W, 3)
        normalize = Normalize(model.config.preprocess).to(frames.device)
        pixels = normalize(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        output: VTNOutput
        if isinstance(model, ViViT):
            output = model(pixels)
        else:
            output = model(pixels, padding_mask=batch.padding_mask, indices=batch.indices)
        return output
    assert not isinstance(model, ViViT)
    tokens = model.encode_tokens(
        model.project(batch.inputs),
        padding_mask=batch.padding_mask,
        indices=batch.indices,
        cls_only=batch.targets is None,
    )
    if model.training:
        return model.heads_in_training(tokens, batch.padding_mask)
    return model.heads(tokens, batch.padding_mask)


class Forward(nn.Module):
    """:func:`run_model` as a module, which can be distributed over processes."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> VTNOutput | StagedOutput:
        return run_model(self.model, batch)
