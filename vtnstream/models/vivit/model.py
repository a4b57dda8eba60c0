"""Video Vision Transformer (Arnab et al. 2021) with the interface of the VTN: spatial encoder,
temporal transformer in the factorised encoder, heads."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from vtnstream.config import BackboneConfig, ModelConfig, ViViTConfig
from vtnstream.errors import ModelError
from vtnstream.models.backbone import create_backbone
from vtnstream.models.heads import build_dense_head
from vtnstream.models.vivit.encoder import TubeletEncoder
from vtnstream.models.vivit.temporal import TemporalTransformer
from vtnstream.models.vtn.feature_norm import FeatureNorm
from vtnstream.models.vtn.model import VTNOutput


class ViViT(nn.Module):
    """A ViViT from its config.

    The factorised encoder is a VTN whose backbone takes t frames and whose temporal encoder attends
    to all tokens; its ``backbone`` returns one vector for each tubelet index. In the other forms
    ``backbone`` returns one vector for each clip, and only the head follows.

    Args:
        config: architecture, preprocessing and heads.
        image: a timm ViT without classifier to start from instead of an untrained one. Its weights
            are inflated and its modules used.

    Raises:
        ModelError: no model can be built from the config.
    """

    def __init__(self, config: ModelConfig, image: nn.Module | None = None) -> None:
        super().__init__()
        assert config.vivit is not None
        self.config = config
        self.vivit: ViViTConfig = config.vivit
        image = create_backbone(config.backbone) if image is None else image
        try:
            self.backbone = TubeletEncoder(image, self.vivit)
        except ModelError as error:
            raise ModelError(f"backbone {config.backbone.name}: {error}") from error
        self._check_size()
        self.num_features: int = self.backbone.num_features
        self.feature_norm = FeatureNorm(config.feature_norm, self.num_features)
        self.temporal_encoder: TemporalTransformer | None = None
        if self.vivit.reads_sequences:
            small = create_backbone(_with_depth(config.backbone, self.vivit.temporal_layers))
            self.temporal_encoder = TemporalTransformer(small, self.vivit.clip_tokens)
        self.head_drop = nn.Dropout(config.head.dropout)
        self.head = _build_head(len(config.head.labels), self.num_features)
        self.dense_head = build_dense_head(config.head, config.temporal, self.num_features)

    def _check_size(self) -> None:
        encoder, prepare = self.backbone, self.config.preprocess
        size = prepare.size
        if prepare.width:
            raise ModelError("a ViViT takes square frames: leave preprocess.width out")
        _, height, width = self.vivit.tubelet
        places = encoder.pos_embed.shape[1] - encoder.num_placed
        wanted = places // (encoder.num_frames // self.vivit.tubelet[0])
        if size % height or size % width or (size // height) * (size // width) != wanted:
            raise ModelError(
                f"backbone {self.config.backbone.name} has positions for {wanted} patches of "
                f"{height} x {width}, frames of {size} pixels (preprocess.size) have others: "
                "set backbone.arguments.img_size"
            )

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.backbone.pos_embed.device

    def encode_frames(self, samples: Tensor) -> Tensor:
        """Run the spatial encoder: (N, F, 3, H, W) to (N, D).

        F is t, the frames of a tubelet index, in the factorised encoder, and ``num_frames``,
        those of a clip, in the other forms.
        """
        features: Tensor = self.backbone(samples)
        return features

    def heads(self, states: Tensor) -> VTNOutput:
        """Apply the heads to (B, 1 + T, D), whose first token is [CLS] or the vector of the
        clip."""
        logits = None if self.head is None else self.head(self.head_drop(states[:, 0]))
        dense = None if self.dense_head is None else self.dense_head(states[:, 1:])
        return VTNOutput(logits, dense)

    def forward_features(self, features: Tensor, *, indices: Tensor | None = None) -> VTNOutput:
        """Classify the vectors of :meth:`encode_frames`.

        Args:
            features: (B, T, D) of consecutive tubelet indices; of one clip (B, 1, D) in the forms
                without a temporal transformer.
            indices: (B, T) int64 grid positions; None counts from 0.

        Raises:
            ModelError: more than one clip for a form that reads no sequence.
        """
        if self.temporal_encoder is not None:
            return self.heads(self.temporal_encoder(self.feature_norm(features), indices))
        if features.shape[1] != 1:
            raise ModelError(f"form {self.vivit.form!r} reads no sequence of {features.shape[1]}")
        return self.heads(features)

    def forward(self, frames: Tensor) -> VTNOutput:
        """Classify frames end to end.

        Args:
            frames: (B, F, 3, H, W) preprocessed. F is ``num_frames``, or any multiple of t in the
                factorised encoder.

        Raises:
            ModelError: F does not fit.
        """
        size = self.backbone.num_frames
        if frames.shape[1] % size:
            raise ModelError(f"{frames.shape[1]} frames do not divide into samples of {size}")
        samples = frames.reshape(-1, size, *frames.shape[2:])  # (B * T, t, 3, H, W)
        features = self.encode_frames(samples)  # (B * T, D)
        return self.forward_features(features.view(len(frames), -1, self.num_features))


def _with_depth(config: BackboneConfig, depth: int) -> BackboneConfig:
    return dataclasses.replace(config, arguments={**config.arguments, "depth": depth})


def _build_head(num_labels: int, size: int) -> nn.Linear | None:
    """Build a linear layer initialised with zeros (as in the released code), or return None
    without labels."""
    if not num_labels:
        return None
    head = nn.Linear(size, num_labels)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
