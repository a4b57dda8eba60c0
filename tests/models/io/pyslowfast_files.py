"""The reference VTN, written independently with timm and transformers, and its checkpoints.

It uses nothing of vtnstream, because models are compared with it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import yaml
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """Dimensions of a reference model; the defaults are those of the published one."""

    backbone: str = "vit_base_patch16_224"
    hidden: int = 768
    layers: int = 3
    heads: int = 12
    feed_forward: int = 3072
    window: int = 18
    positions: int = 288
    classes: int = 400


SMALL = Size("test_vit", hidden=64, layers=2, heads=4, feed_forward=96, positions=50, window=6)


class ReferenceVTN(nn.Module):
    """Backbone on every frame, Longformer over them with a global [CLS], head on [CLS]."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from transformers import LongformerConfig, LongformerModel
            from transformers.utils import logging
        logging.set_verbosity_error()  # its handler keeps the stream of whichever test came first
        self.size = size
        self.backbone = timm.create_model(size.backbone, num_classes=0)
        self.cls_token = nn.Parameter(torch.randn(1, 1, size.hidden))
        config = LongformerConfig(
            vocab_size=1,
            pad_token_id=-1,
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.feed_forward,
            attention_window=[size.window] * size.layers,
            max_position_embeddings=size.positions,
        )
        self.temporal_encoder = LongformerModel(config, add_pooling_layer=False)
        embeddings = self.temporal_encoder.embeddings
        embeddings.token_type_embeddings = nn.Embedding(2, size.hidden)
        embeddings.word_embeddings = None
        embeddings.register_buffer("position_ids", torch.arange(size.positions)[None])
        self.mlp_head = nn.Sequential(
            nn.LayerNorm(size.hidden),
            nn.Linear(size.hidden, size.hidden),
            nn.GELU(),
            nn.Dropout(0.5),
            nn.Linear(size.hidden, size.classes),
        )

    @torch.no_grad()
    def forward(self, frames: Tensor, numbers: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W) with their numbers (B, T) in the decoded buffer -> (B, K)."""
        batch, length = frames.shape[:2]
        features = self.backbone(frames.flatten(0, 1)).view(batch, length, -1)
        tokens = torch.cat((self.cls_token.expand(batch, -1, -1), features), 1)
        padding = -(length + 1) % (2 * self.size.window)
        tokens = nn.functional.pad(tokens, (0, 0, 0, padding), value=-1.0)
        mask = torch.ones(batch, length + 1, dtype=torch.long)
        mask[:, 0] = 2
        mask = nn.functional.pad(mask, (0, padding))
        positions = nn.functional.pad(numbers, (1, padding)) % (self.size.positions - 2)
        positions[:, 0] = self.size.positions - 2
        positions[mask == 0] = self.size.positions - 1
        kinds = torch.zeros_like(mask)
        kinds[:, 0] = 1
        states = self.temporal_encoder(
            inputs_embeds=tokens,
            attention_mask=mask,
            position_ids=positions,
            token_type_ids=kinds,
        ).last_hidden_state
        logits: Tensor = self.mlp_head(states[:, 0])
        return logits


def make_reference(size: Size, seed: int = 0) -> ReferenceVTN:
    """A random model whose biases, norms and positions differ from their initial values."""
    torch.manual_seed(seed)
    model = ReferenceVTN(size).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("backbone."):
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def checkpoint(model: ReferenceVTN, **more: Any) -> dict[str, Any]:
    """The contents of a checkpoint that PySlowFast saves after an epoch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True)
    return {
        "epoch": 24,
        "model_state": dict(model.state_dict()),
        "optimizer_state": optimizer.state_dict(),
        **more,
    }


def recipe(size: Size, **data: Any) -> str:
    """The config in the checkpoint, as YAML."""
    time = {
        "ATTENTION_WINDOW": [size.window] * size.layers,
        "NUM_ATTENTION_HEADS": size.heads,
        "NUM_HIDDEN_LAYERS": size.layers,
        "MAX_POSITION_EMBEDDINGS": size.positions,
    }
    return yaml.safe_dump({"DATA": data, "MODEL": {"ARCH": "VIT"}, "VTN": time})


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path
