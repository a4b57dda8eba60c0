"""A causal temporal encoder over a whole sequence of any length, in blocks of tokens."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import torch
from torch import Tensor

from vtnstream.models.layers.causal_attention import RunningSoftmax
from vtnstream.models.vtn.causal_pass import CausalPass
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.temporal import TemporalEncoder
from vtnstream.types import FloatArray, IndexArray


def encode_causally(
    model: VTN,
    encoder: TemporalEncoder,
    tokens: Iterable[Tensor],
    indices: IndexArray,
    *,
    dense: bool,
    attention: Collection[int] = (),
) -> tuple[FloatArray | None, FloatArray | None, FloatArray | None]:
    """Encode a whole sequence in blocks. Only the results grow with its length.

    Args:
        model: in evaluation mode.
        encoder: its temporal encoder.
        tokens: consecutive embedded blocks (T, Dh) of N tokens.
        indices: (N,) grid positions.
        dense: whether to run the dense head.
        attention: layers whose attention weights of [CLS] at the end are returned.

    Returns:
        logits (K,) after the last token, dense logits (N, Kd), weights (layers, H, N); each is None
        if the model has no such head or it was not requested.
    """
    running = CausalPass(encoder, model.all_global_tokens(), attention)
    parts: list[FloatArray] = []
    start = 0
    for block in tokens:
        stop = start + len(block)
        if not len(block):
            continue
        places = torch.tensor(indices[start:stop], device=block.device)[None]
        _, made = running.advance(block[None], places, cls_only=not dense)
        if made is not None:
            parts.append(model.token_logits(made[0]).float().cpu().numpy())
        start = stop
    logits = dense_logits = rows = None
    if model.mlp_head is not None:
        cls = running.cls if start else encoder.without_tokens(model.all_global_tokens())
        logits = model.class_logits(cls[:, 0])[0].float().cpu().numpy()  # (K,)
    if dense and model.dense_head is not None:
        empty = np.empty((0, model.dense_head.out_features), np.float32)
        dense_logits = np.concatenate(parts) if parts else empty
    if attention:
        watched = sorted({number % len(running.states) for number in attention})
        rows = np.stack([_row(running.states[number].running) for number in watched])
    return logits, dense_logits, rows


def _row(running: RunningSoftmax) -> FloatArray:
    """Return the attention weights of the last [CLS] on each token: (H, N)."""
    if not running.scores:
        return np.zeros((running.peak.shape[2], 0), np.float32)
    num_globals = running.peak.shape[1]
    row: FloatArray = running.weights()[0, 0, :, num_globals:].cpu().numpy()
    return row
