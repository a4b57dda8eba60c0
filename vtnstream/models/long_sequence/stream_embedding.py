"""The temporal embedding of a stream, block by block."""

from __future__ import annotations

import torch
from torch import Tensor

from vtnstream.models.vtn.model import VTN
from vtnstream.types import FloatArray, IndexArray


class StreamEmbedding:
    """Embed features as they arrive.

    The tokens equal those of :func:`~vtnstream.models.long_sequence.streaming.embed_blocks` over
    the whole sequence. Token inputs that look ahead (``token_inputs.after`` tokens) delay the
    output by that many tokens.

    Args:
        model: in evaluation mode.

    Raises:
        ModelError: its ``feature_norm`` needs the whole video.
    """

    def __init__(self, model: VTN) -> None:
        self._model = model
        self._normalize = model.feature_norm.in_order()
        device = model.cls_token.device
        self._held = torch.empty(0, model.num_features, device=device)
        self._places = torch.empty(0, dtype=torch.int64, device=device)
        self._done = 0  # leading rows that were embedded already and serve as neighbours

    @torch.inference_mode()
    def push(self, values: FloatArray, indices: IndexArray) -> Tensor:
        """Add features (T, D) at grid positions (T,).

        Returns:
            (T', Dh), the next tokens whose neighbours are all known.
        """
        model = self._model
        device = self._held.device
        block = self._normalize(torch.tensor(values, device=device))
        self._held = torch.cat((self._held, block))
        self._places = torch.cat((self._places, torch.tensor(indices, device=device)))
        ready = max(len(self._held) - model.token_inputs.after, self._done)
        tokens = self._tokens(self._done, ready)
        drop = max(ready - model.token_inputs.before, 0)
        self._held, self._places = self._held[drop:].clone(), self._places[drop:].clone()
        self._done = ready - drop
        return tokens

    @torch.inference_mode()
    def rest(self) -> Tensor:
        """Return the last tokens (T', Dh) at the end of the stream."""
        return self._tokens(self._done, len(self._held))

    def _tokens(self, start: int, stop: int) -> Tensor:
        made: Tensor = self._model.token_inputs(self._held[None], self._places[None])[0]
        return self._model.project(made[start:stop])
