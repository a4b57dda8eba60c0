"""Video Transformer Network: image backbone, temporal encoder, heads (paper section 3).

Attributes have the names of the published checkpoint: ``backbone``, ``cls_token``,
``temporal_encoder``, ``mlp_head``.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vtnstream.config import ModelConfig, TemporalConfig
from vtnstream.errors import ModelError
from vtnstream.models.backbone import create_backbone, num_features
from vtnstream.models.heads import build_dense_head, build_mlp_head
from vtnstream.models.vtn.feature_norm import FeatureNorm
from vtnstream.models.vtn.tcn import TcnEncoder, TcnHead
from vtnstream.models.vtn.temporal import TemporalEncoder
from vtnstream.models.vtn.token_inputs import TokenInputs
from vtnstream.models.vtn.transformers_encoder import TransformersEncoder

Encoder = TemporalEncoder | TcnEncoder | TransformersEncoder


class VTNOutput(NamedTuple):
    """Results of the heads; None if the model has no such head.

    Attributes:
        logits: (B, K) of the whole video.
        dense_logits: (B, T, Kd) of each token.
    """

    logits: Tensor | None
    dense_logits: Tensor | None


class StagedOutput(NamedTuple):
    """Results of the heads while a ``tcn`` is trained; ``stages`` holds the dense logits (B, T,
    Kd) of the stages before the last."""

    logits: Tensor | None
    dense_logits: Tensor | None
    stages: tuple[Tensor, ...]


class VTN(nn.Module):
    """A VTN from its config, with untrained weights.

    Args:
        config: backbone, preprocessing, temporal encoder and heads.
        backbone: a frame encoder (N, 3, H, W) -> (N, D) to use instead of building one.

    Raises:
        ModelError: no model can be built from the config.
    """

    def __init__(self, config: ModelConfig, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.backbone = create_backbone(config.backbone) if backbone is None else backbone
        self.num_features = num_features(self.backbone)
        read = self.num_features - config.backbone.num_thumbnail
        self.feature_norm = FeatureNorm(config.feature_norm, self.num_features)
        temporal = config.temporal
        self.token_inputs = TokenInputs(
            temporal.token_inputs, read, temporal.similarity_reach, temporal.context
        )
        is_linear = temporal.kind == "tcn" and not temporal.num_layers
        own_size = self.token_inputs.size if is_linear else read
        hidden_size = (temporal.hidden_size or own_size) * temporal.members
        self.input_dropout = nn.Dropout(temporal.input_dropout)
        self.input_projection: nn.Module = nn.Identity()
        projects = self.token_inputs.compares or temporal.kind == "tcn"
        if self.token_inputs.size != hidden_size or (projects and not is_linear):
            self.input_projection = nn.Linear(self.token_inputs.size, hidden_size)
        self.cls_token = nn.Parameter(torch.randn(1, 1, hidden_size))
        if temporal.num_global_tokens > 1:
            more = torch.randn(1, temporal.num_global_tokens - 1, hidden_size)
            self.global_tokens = nn.Parameter(more)
        self.temporal_encoder: Encoder = _temporal_encoder(temporal, hidden_size)
        self.mlp_head = build_mlp_head(config.head, hidden_size)
        self.dense_head = build_dense_head(config.head, temporal, hidden_size)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Run the spatial backbone (section 3.1): (N, 3, H, W) to (N, D).

        Raises:
            ModelError: the backbone does not return one vector per frame.
        """
        features: Tensor = self.backbone(frames)  # (N, D)
        if features.ndim != 2:
            raise ModelError(
                f"backbone {self.config.backbone.name} returns {tuple(features.shape)} instead of "
                "one vector per frame: leave its pooling on"
            )
        return features

    def normalize(self, features: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Apply ``feature_norm`` to whole ranges: (B, T, D) -> (B, T, D)."""
        normal: Tensor = self.feature_norm(features, padding_mask)
        return normal

    def embed_features(
        self,
        features: Tensor,
        *,
        padding_mask: Tensor | None = None,
        indices: Tensor | None = None,
    ) -> Tensor:
        """Apply the temporal embedding: a linear layer on the config's ``token_inputs``.

        Args:
            features: (B, T, D), after :meth:`normalize`.
            padding_mask: (B, T) bool, True where a token is real.
            indices: (B, T) int64 grid positions; None counts from 0.

        Returns:
            (B, T, Dh), for :meth:`encode_tokens`.
        """
        if indices is None:
            indices = torch.arange(features.shape[1], device=features.device)
            indices = indices.expand(features.shape[0], -1)
        return self.project(self.token_inputs(features, indices, padding_mask))

    def project(self, inputs: Tensor) -> Tensor:
        """Project token inputs (..., E) to tokens (..., Dh), in the encoder's precision."""
        inputs = inputs.to(self.temporal_encoder.dtype)
        if self.training and self.input_dropout.p:
            kept = torch.ones_like(inputs[..., :1, :])  # (B, 1, E), the same at all tokens
            inputs = inputs * self.input_dropout(kept)
        tokens: Tensor = self.input_projection(inputs)
        return tokens

    def all_global_tokens(self) -> Tensor:
        """Return [CLS] and the other global tokens: (1, G, Dh)."""
        if self.config.temporal.num_global_tokens == 1:
            return self.cls_token
        return torch.cat((self.cls_token, self.global_tokens), dim=1)

    def encode_tokens(
        self,
        tokens: Tensor,
        *,
        padding_mask: Tensor | None = None,
        indices: Tensor | None = None,
        cls_only: bool = False,
    ) -> Tensor:
        """Run the temporal encoder on embedded tokens (B, T, Dh); otherwise as
        :meth:`encode_time`."""
        cls = self.all_global_tokens().expand(tokens.shape[0], -1, -1)  # (B, G, Dh)
        encoded: Tensor = self.temporal_encoder(
            tokens, cls, padding_mask=padding_mask, indices=indices, cls_only=cls_only
        )
        return encoded

    def encode_time(
        self,
        features: Tensor,
        *,
        padding_mask: Tensor | None = None,
        indices: Tensor | None = None,
        cls_only: bool = False,
    ) -> Tensor:
        """Run the temporal encoder (section 3.2) on normalised features.

        Args:
            features: (B, T, D), after :meth:`normalize`.
            padding_mask: (B, T) bool, False for padding; None means no padding.
            indices: (B, T) int64 grid positions; None counts from 0.
            cls_only: skip the tokens of the last layer, which only a dense head uses.

        Returns:
            (B, 1 + T, Dh), [CLS] first; (B, 1, Dh) with ``cls_only``.
        """
        tokens = self.embed_features(features, padding_mask=padding_mask, indices=indices)
        return self.encode_tokens(
            tokens, padding_mask=padding_mask, indices=indices, cls_only=cls_only
        )

    def heads(self, tokens: Tensor, padding_mask: Tensor | None = None) -> VTNOutput:
        """Apply the MLP head to [CLS] and the dense head to the other tokens (section 3.3).

        Args:
            tokens: (B, 1 + T, Dh).
            padding_mask: (B, T) bool, True where a token is real.
        """
        logits = self.class_logits(tokens[:, 0]) if self.mlp_head is not None else None
        dense = None
        if self.dense_head is not None:
            dense = self.token_logits(tokens[:, 1:], padding_mask)
        return VTNOutput(logits, dense)  # (B, K), (B, T, Kd)

    def heads_in_training(
        self, tokens: Tensor, padding_mask: Tensor | None
    ) -> VTNOutput | StagedOutput:
        """Apply the heads as :meth:`heads` does, with all stages of a ``tcn``: each has a loss
        of its own."""
        if not isinstance(self.dense_head, TcnHead):
            return self.heads(tokens, padding_mask)
        logits = self.class_logits(tokens[:, 0]) if self.mlp_head is not None else None
        *stages, last = self.dense_head.all_stages(tokens[:, 1:], padding_mask)
        return StagedOutput(logits, last, tuple(stages))

    def class_logits(self, cls: Tensor) -> Tensor:
        """Apply the MLP head, which must exist: (B, Dh) to (B, K), in the precision of the head."""
        assert self.mlp_head is not None
        logits: Tensor = self.mlp_head(cls.to(next(self.mlp_head.parameters()).dtype))
        return _scaled(logits, self.config.head.temperature)

    def token_logits(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Apply the dense head, which must exist: (..., Dh) to (..., Kd).

        The head of a ``tcn`` depends on neighbours: it takes all tokens that a result depends
        on, (T, Dh) or (B, T, Dh) with ``padding_mask`` (B, T).
        """
        assert self.dense_head is not None
        tokens = tokens.to(next(self.dense_head.parameters()).dtype)
        if isinstance(self.dense_head, TcnHead):
            logits: Tensor = self.dense_head(tokens, padding_mask)
        else:
            logits = self.dense_head(tokens)
        return _scaled(logits, self.config.head.dense_temperature)

    def in_precision(self, dtype: torch.dtype) -> VTN:
        """Return a model whose temporal encoder encodes tokens in ``dtype``.

        All other parts are shared and keep their precision: backbone, ``feature_norm``, token
        inputs, heads, and the layers of [CLS].
        """
        if dtype == self.temporal_encoder.dtype:
            return self
        encoder = self.temporal_encoder.in_precision(dtype)
        if encoder is self.temporal_encoder:
            return self
        twin = copy.copy(self)
        twin._modules = dict(self._modules)
        twin.temporal_encoder = encoder
        twin.input_projection = copy.deepcopy(self.input_projection).to(dtype)
        return twin

    def forward_features(
        self,
        features: Tensor,
        *,
        padding_mask: Tensor | None = None,
        indices: Tensor | None = None,
    ) -> VTNOutput:
        """Classify stored features (B, T, D); arguments as in :meth:`encode_time`."""
        normal = self.normalize(features, padding_mask)  # (B, T, D)
        tokens = self.encode_time(
            normal,
            padding_mask=padding_mask,
            indices=indices,
            cls_only=self.dense_head is None,
        )
        return self.heads(tokens, padding_mask)

    def forward(
        self,
        frames: Tensor,
        *,
        padding_mask: Tensor | None = None,
        indices: Tensor | None = None,
    ) -> VTNOutput:
        """Classify frames end to end: all frames of all clips go through the backbone as one
        batch.

        Args:
            frames: (B, T, 3, H, W) preprocessed.
            padding_mask: (B, T) bool, False for padding.
            indices: (B, T) int64 grid positions.
        """
        features = self.encode_frames(frames.flatten(0, 1))  # (B*T, D)
        return self.forward_features(
            features.view(*frames.shape[:2], -1),  # (B, T, D)
            padding_mask=padding_mask,
            indices=indices,
        )


def _scaled(logits: Tensor, temperature: float) -> Tensor:
    return logits if temperature == 1.0 else logits / temperature


def _temporal_encoder(config: TemporalConfig, hidden_size: int) -> Encoder:
    """Build the temporal encoder that a config names."""
    if config.kind == "tcn":
        return TcnEncoder(config, hidden_size)
    if config.transformers_class is None:
        return TemporalEncoder(config, hidden_size)
    return TransformersEncoder(config, hidden_size)
