"""Classify sequences of any length with a VTN, in blocks of tokens.

The results equal those of ``VTN.forward_features`` on the whole sequence up to rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vtnstream.models.long_sequence.causal import encode_causally
from vtnstream.models.long_sequence.convolution import encode_convolutions
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.models.long_sequence.sequence_pass import FirstLayerObserver, SequencePass
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.tcn import TcnEncoder
from vtnstream.models.vtn.transformers_encoder import TransformersEncoder
from vtnstream.types import FeatureSequence, IndexArray


@torch.inference_mode()
def encode_sequence(
    model: VTN,
    features: FeatureSequence,
    *,
    block_size: int | None = None,
    dense: bool = True,
    attention: Collection[int] = (),
    scratch: Path | None = None,
    windows: FirstLayerObserver | None = None,
) -> SequenceOutput:
    """Classify a whole sequence.

    Memory holds the states (N, Dh) once, and O(block) numbers beside them. With ``kind = "full"``
    it holds keys and values as well (3 N Dh). A class of ``transformers`` gets the sequence whole.

    Args:
        model: in evaluation mode (dropout would differ from block to block).
        features: N feature vectors with their grid positions, in memory or on disk.
        block_size: tokens processed at a time; None chooses. It changes results by rounding only.
        dense: whether to run the dense head.
        attention: layers whose attention weights of [CLS] are returned (H x N numbers each),
            numbered from 0, or from -1 for the last.
        scratch: folder for states of more than
            :data:`~vtnstream.models.long_sequence.state_file.STATES_IN_MEMORY` bytes.
        windows: sliding windows that are classified during the same pass.

    Returns:
        logits of the sequence and of its tokens.

    Raises:
        StoreError: there is no room on disk for such states.
    """
    size = block_size or default_block_size(model, len(features.times))
    return encode_blocks(
        model,
        embed_blocks(model, features, size),
        features.times.indices,
        block_size=size,
        dense=dense,
        attention=attention,
        scratch=scratch,
        windows=windows,
    )


def embed_blocks(model: VTN, features: FeatureSequence, size: int) -> Iterator[Tensor]:
    """Apply ``feature_norm`` and the temporal embedding to a sequence.

    Args:
        model: in evaluation mode.
        features: N feature vectors with their grid positions.
        size: tokens read at a time.

    Yields:
        consecutive blocks (T, Dh) of about ``size`` tokens, equal to embedding the whole sequence
        at once.
    """
    normalize = model.feature_norm.over(features, size)
    device = model.cls_token.device
    normal = (normalize(torch.tensor(block, device=device)) for block in features.blocks(size))
    for inputs in model.token_inputs.in_blocks(normal, features.times.indices):
        yield model.project(inputs)  # (T, Dh)


@torch.inference_mode()
def encode_blocks(
    model: VTN,
    tokens: Iterable[Tensor],
    indices: IndexArray,
    *,
    block_size: int,
    dense: bool = True,
    attention: Collection[int] = (),
    scratch: Path | None = None,
    windows: FirstLayerObserver | None = None,
) -> SequenceOutput:
    """Classify a whole sequence of embedded tokens; see :func:`encode_sequence`.

    Args:
        model: in evaluation mode.
        tokens: consecutive blocks (T, Dh) of N tokens.
        indices: (N,) grid positions.
        block_size: tokens processed at a time.
        dense: whether to run the dense head.
        attention: layers whose attention weights of [CLS] are returned.
        scratch: folder for states that do not fit in memory.
        windows: sliding windows that are classified during the same pass.
    """
    wants_tokens = dense and model.dense_head is not None
    encoder = model.temporal_encoder
    if isinstance(encoder, TcnEncoder):
        return SequenceOutput(
            *encode_convolutions(model, encoder, tokens, block_size, dense=wants_tokens)
        )
    if isinstance(encoder, TransformersEncoder):
        return _encode_at_once(model, tokens, indices, wants_tokens)
    if encoder.config.causal:
        return SequenceOutput(
            *encode_causally(
                model, encoder, tokens, indices, dense=wants_tokens, attention=attention
            )
        )
    encoding = SequencePass(model, encoder, tokens, indices, block_size, attention, windows)
    dense_logits = encoding.run(wants_tokens, scratch)
    logits = None
    if model.mlp_head is not None:
        logits = model.class_logits(encoding.cls[:, 0])[0].float().cpu().numpy()  # (K,)
    rows = np.stack(encoding.rows) if encoding.rows else None  # (layers, H, N)
    return SequenceOutput(logits, dense_logits, rows)


def _encode_at_once(
    model: VTN, tokens: Iterable[Tensor], indices: IndexArray, wants_tokens: bool
) -> SequenceOutput:
    """Encode with a class of ``transformers``, which needs the whole sequence at once."""
    parts = list(tokens)
    like = model.cls_token.new_empty(0, model.temporal_encoder.hidden_size)
    whole = torch.cat(parts) if parts else like  # (N, Dh)
    places = torch.tensor(indices, device=whole.device)[None]
    encoded = model.encode_tokens(whole[None], indices=places, cls_only=not wants_tokens)
    logits = dense_logits = None
    if model.mlp_head is not None:
        logits = model.class_logits(encoded[:, 0])[0].float().cpu().numpy()
    if wants_tokens:
        dense_logits = model.token_logits(encoded[0, 1:]).float().cpu().numpy()
    return SequenceOutput(logits, dense_logits)


def default_block_size(model: VTN, num_tokens: int) -> int:
    """Return the tokens per block: many on an accelerator.

    On a CPU matrix products reach full speed at about 1,024 rows; larger blocks are used only if
    they remain small beside the states of the whole sequence.
    """
    if model.cls_token.is_cuda:
        return 8192
    return min(max(num_tokens // 64 // 64 * 64, 1024), 2048)
