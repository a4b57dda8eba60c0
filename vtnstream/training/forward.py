"""A batch through a model: from stored features, or from pixels."""

from __future__ import annotations

from vtnstream.models.vtn import VTN, VTNOutput
from vtnstream.preprocess.pipeline import Normalize
from vtnstream.training.batches import Batch


def run_model(model: VTN, batch: Batch) -> VTNOutput:
    """Logits of the heads that the batch has labels or targets for.

    Args:
        model: in any mode, on the device of the batch.
        batch: of features or of frames.
    """
    if batch.holds_frames:
        frames = batch.inputs  # (B, T, H, W, 3)
        normalize = Normalize(model.config.preprocess).to(frames.device)
        pixels = normalize(frames.flatten(0, 1))  # (B*T, 3, H, W)
        output: VTNOutput = model(
            pixels.unflatten(0, frames.shape[:2]),
            padding_mask=batch.padding_mask,
            indices=batch.indices,
        )
        return output
    tokens = model.encode_tokens(
        model.project(batch.inputs),
        padding_mask=batch.padding_mask,
        indices=batch.indices,
        cls_only=batch.targets is None,
    )
    return model.heads(tokens)
