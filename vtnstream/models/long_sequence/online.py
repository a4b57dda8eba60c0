"""Online use of a causal model: each feature is classified when it arrives."""

from __future__ import annotations

import torch
from torch import Tensor

from vtnstream.errors import ModelError
from vtnstream.models.long_sequence.convolution import ConvolutionPass
from vtnstream.models.vtn.causal_pass import CausalPass
from vtnstream.models.vtn.model import VTN, VTNOutput
from vtnstream.models.vtn.tcn import TcnEncoder
from vtnstream.models.vtn.temporal import TemporalEncoder


class OnlineModel:
    """Classify a stream token by token with a causal model.

    The results equal ``model.forward_features`` on the whole stream up to rounding. Memory does not
    grow with the stream.

    Args:
        model: in evaluation mode, with ``temporal.causal``.

    Raises:
        ModelError: the model attends to later tokens.
    """

    def __init__(self, model: VTN) -> None:
        if not model.config.temporal.causal:
            raise ModelError(
                f"model {model.config.name} attends to later tokens: online use needs a model "
                "trained with temporal.causal"
            )
        self.model = model
        self._normalize = model.feature_norm.in_order()
        encoder = model.temporal_encoder
        self._attention: CausalPass | None = None
        self._convolution: ConvolutionPass | None = None
        if isinstance(encoder, TcnEncoder):
            self._convolution = ConvolutionPass(model, encoder, dense=True)
        else:
            assert isinstance(encoder, TemporalEncoder)
            self._attention = CausalPass(encoder, model.all_global_tokens())
        self._before: tuple[Tensor, Tensor] | None = None

    @torch.inference_mode()
    def push(self, features: Tensor, indices: Tensor) -> VTNOutput:
        """Classify the next tokens of the stream.

        Args:
            features: (T, D) of the backbone, T at least 1.
            indices: (T,) int64 grid positions, increasing from call to call.

        Returns:
            logits (T, K) of the stream up to each token, and dense logits (T, Kd).
        """
        model = self.model
        normal = self._normalize(features)
        held, places = normal, indices
        if self._before is not None:
            held = torch.cat((self._before[0], normal))
            places = torch.cat((self._before[1], indices))
        inputs = model.token_inputs(held[None], places[None])[0, len(held) - len(normal) :]
        self._before = (normal[-1:].clone(), indices[-1:].clone())
        if self._convolution is not None:
            return self._convolve(self._convolution, model.project(inputs))
        assert self._attention is not None
        cls_only = model.dense_head is None
        cls, tokens = self._attention.advance(
            model.project(inputs)[None], indices[None], cls_only=cls_only
        )
        logits = model.class_logits(cls[0, :, 0]) if model.mlp_head is not None else None
        return VTNOutput(logits, None if tokens is None else model.token_logits(tokens[0]))

    def _convolve(self, running: ConvolutionPass, tokens: Tensor) -> VTNOutput:
        """Do the work of :meth:`push` with a ``tcn`` encoder, from embedded tokens (T, H)."""
        before, seen = running.total, running.count
        running.add(tokens)
        states, dense = running.answer(end=True)
        logits = None
        if self.model.mlp_head is not None:
            sums = before + states.double().cumsum(0)  # (T, H)
            counts = torch.arange(1, len(states) + 1, device=sums.device)[:, None] + seen
            cls = self.model.cls_token[0] + (sums / counts).to(states.dtype)
            logits = self.model.class_logits(cls)  # (T, K)
        return VTNOutput(logits, dense)
