"""The spatial encoder of a ViViT: tubelets of a sample through the blocks of an image ViT
(Arnab et al. 2021, sections 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vtnstream.config import ViViTConfig
from vtnstream.errors import ModelError
from vtnstream.models.layers.tubelet import TubeletEmbedding, inflate_positions
from vtnstream.models.layers.vit_block import (
    Block,
    FactorisedDotProductBlock,
    FactorisedSelfAttentionBlock,
)

_BLOCKS: dict[str, type[Block]] = {
    "joint": Block,
    "factorised-encoder": Block,
    "factorised-self-attention": FactorisedSelfAttentionBlock,
    "factorised-dot-product": FactorisedDotProductBlock,
}
"""The block of each form. The last two take tokens of shape (B, T, P, D)."""

_POOLS = ("token", "avg", "map")


class TubeletEncoder(nn.Module):
    """Encode samples of F frames: (N, F, 3, H, W) -> (N, D).

    In the factorised encoder a sample is one tubelet index (F = t), in the other forms a whole clip
    (F = ``num_frames``). Parameters keep timm's names. The factorised attentions have no [CLS],
    which belongs to no tubelet; they average their tokens.

    Args:
        image: a timm ``VisionTransformer`` without classifier, whose modules are used.
        config: tubelets and form.

    Raises:
        ModelError: the image model is not a plain ViT, or its patches differ from the tubelets.
    """

    num_features: int
    num_placed: int
    num_prefix_tokens: int

    def __init__(self, image: Any, config: ViViTConfig) -> None:
        super().__init__()
        _check_image_vit(image, config)
        length, *_ = config.tubelet
        self.num_frames = length if config.reads_sequences else config.num_frames
        self.num_features = image.embed_dim
        self.is_factorised = _BLOCKS[config.form] is not Block
        self.patch_embed = TubeletEmbedding(image.patch_embed.proj, length, config.tubelet_init)
        self.num_prefix_tokens = 0 if self.is_factorised else image.num_prefix_tokens
        self.cls_token = None if self.is_factorised else image.cls_token
        self.reg_token = None if self.is_factorised else image.reg_token
        # if [CLS] has a position embedding, it is the first row
        placed = 0 if image.no_embed_class else image.num_prefix_tokens
        positions = image.pos_embed.detach()[:, placed if self.is_factorised else 0 :]
        self.num_placed = 0 if self.is_factorised else placed
        inflated = inflate_positions(positions, self.num_placed, self.num_frames // length)
        self.pos_embed = nn.Parameter(inflated.clone())
        self.pos_drop = image.pos_drop
        self.norm_pre = image.norm_pre
        self.blocks = nn.ModuleList([_BLOCKS[config.form](block) for block in image.blocks])
        self.norm = image.norm
        self.attn_pool = image.attn_pool
        self.pools_token = image.global_pool == "token" and not self.is_factorised
        self.fc_norm = image.fc_norm
        self.grad_checkpointing = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute inner states in the backward pass (the method has timm's name)."""
        self.grad_checkpointing = enable

    def forward(self, samples: Tensor) -> Tensor:
        """Map preprocessed frames (N, F, 3, H, W) to (N, D)."""
        tokens = self.encode(self.embed(samples)).flatten(1, -2)  # (N, prefix + T * P, D)
        if self.pools_token:
            pooled = tokens[:, 0]
        elif self.attn_pool is not None:
            pooled = self.attn_pool(tokens[:, self.num_prefix_tokens :])
        else:
            pooled = tokens[:, self.num_prefix_tokens :].mean(1)
        result: Tensor = self.fc_norm(pooled)
        return result

    def encode(self, tokens: Tensor) -> Tensor:
        """Run all blocks and the final norm; the shape is that of :meth:`embed`."""
        for block in self.blocks:
            if self.grad_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        normal: Tensor = self.norm(tokens)
        return normal

    def embed(self, samples: Tensor) -> Tensor:
        """Embed tubelets, add positions and prepend [CLS].

        Returns:
            (N, prefix + T * P, D), or (N, T, P, D) for the factorised attentions.

        Raises:
            ModelError: the number of tubelets differs from the number of positions.
        """
        tokens = self.patch_embed(samples)  # (N, T, P, D)
        count = tokens.shape[1] * tokens.shape[2]
        if count != self.pos_embed.shape[1] - self.num_placed:
            raise ModelError(
                f"{samples.shape[1]} frames of {samples.shape[-1]} pixels give {count} tubelets, "
                f"the model has {self.pos_embed.shape[1] - self.num_placed} positions"
            )
        if self.is_factorised:
            placed = tokens + self.pos_embed.view(1, *tokens.shape[1:])
        else:
            placed = self._with_prefix(tokens.flatten(1, 2))
        result: Tensor = self.norm_pre(self.pos_drop(placed))
        return result

    def _with_prefix(self, tokens: Tensor) -> Tensor:
        """Prepend [CLS] and add positions: (N, T * P, D) -> (N, prefix + T * P, D)."""
        prefix = [part.expand(tokens.shape[0], -1, -1) for part in self._prefix()]
        if not self.num_placed:
            return torch.cat((*prefix, tokens + self.pos_embed), dim=1)
        return torch.cat((*prefix, tokens), dim=1) + self.pos_embed

    def _prefix(self) -> Iterator[Tensor]:
        for part in (self.cls_token, self.reg_token):
            if part is not None:
                yield part


class StackedFrames(nn.Module):
    """Encode images that hold the F frames of a sample one below the other.

    (N, 3, F * H, W) -> (N, D).
    """

    def __init__(self, encoder: TubeletEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_features = encoder.num_features

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, F * H, W) to (N, D)."""
        size, colours, height, width = images.shape
        frames = self.encoder.num_frames
        samples = images.reshape(size, colours, frames, height // frames, width).transpose(1, 2)
        features: Tensor = self.encoder(samples)
        return features


def _check_image_vit(image: Any, config: ViViTConfig) -> None:
    """Check that a ViViT can be built from an image model.

    Raises:
        ModelError: it cannot.
    """
    if type(image).__name__ != "VisionTransformer" or image.pos_embed is None:
        raise ModelError("a ViViT is made of a plain vision transformer with learned positions")
    if image.global_pool not in _POOLS:
        raise ModelError(f"it pools by {image.global_pool!r}, not by {', '.join(_POOLS)}")
    size = tuple(image.patch_embed.proj.kernel_size)
    if size != config.tubelet[1:]:
        raise ModelError(
            f"its patches are {size[0]} x {size[1]} pixels, those of vivit.tubelet "
            f"{config.tubelet[1]} x {config.tubelet[2]}"
        )
    extra = {"patch_drop_rate": image.patch_drop, "embed_norm_layer": image.patch_embed.norm}
    for name, part in extra.items():
        if not isinstance(part, nn.Identity):
            raise ModelError(f"a ViViT knows no {name}")
    if image.head_drop.p:
        raise ModelError("drop_rate is head.dropout here")
