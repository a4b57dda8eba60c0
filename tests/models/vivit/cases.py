"""Small ViViTs, and a slow dense reference of the four models that uses only the state dict."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    SamplingConfig,
    ViViTConfig,
)
from vtnstream.models.vivit.model import ViViT

SIZE, PATCHES, HEADS = 32, 4, 4
BACKBONE = BackboneConfig("test_vit", {"img_size": SIZE, "depth": 2, "num_heads": HEADS})
LABELS = ("cat", "dog", "owl")
VIVIT = ViViTConfig(num_frames=8, temporal_layers=2)


def vivit_config(form: str, *, dense: bool = False, **changes: Any) -> ModelConfig:
    """8 frames of 32 pixels, tubelets of 2 x 16 x 16: 4 indices of 4 patches."""
    changed = {key: changes.pop(key) for key in list(changes) if key in VIVIT.__slots__}
    return ModelConfig(
        name="small-vivit",
        architecture="vivit",
        sampling=changes.pop("sampling", SamplingConfig(fps=Fraction(25, 4))),
        preprocess=PreprocessConfig(size=SIZE, resize=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=changes.pop("backbone", BACKBONE),
        vivit=replace(VIVIT, form=form, **changed),
        head=HeadConfig(
            labels=LABELS, dense_labels=("background", "jump") if dense else (), dropout=0.0
        ),
        **changes,
    )


def small_vivit(form: str, *, seed: int = 0, **changes: Any) -> ViViT:
    """Build a small ViViT with weights large enough that every path matters."""
    torch.manual_seed(seed)
    model = ViViT(vivit_config(form, **changes)).eval()
    stir(model)
    return model


def stir(model: torch.nn.Module, std: float = 0.15) -> None:
    """Set every parameter to random values, including those that are initialised with zeros."""
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.normal_(std=std)


# ---------------------------------------------------------------------------- reference


def reference(model: ViViT, frames: Tensor) -> Tensor:
    """Return logits (B, K), computed one token at a time and with N x N matrices."""
    state = dict(model.state_dict())
    form = model.vivit.form
    if form == "joint":
        tokens = tubelets(state, model, frames).flatten(1, 2)
        states = encoder(state, "backbone.", with_cls(state, tokens), None)
        pooled = states[:, 0]
    elif form == "factorised-encoder":
        parts = []
        for index in range(frames.shape[1] // 2):
            tokens = tubelets(state, model, frames[:, 2 * index : 2 * index + 2])[:, 0]
            parts.append(encoder(state, "backbone.", with_cls(state, tokens), None)[:, 0])
        sequence = torch.stack(parts, dim=1)
        cls = state["temporal_encoder.cls_token"].expand(len(frames), -1, -1)
        sequence = torch.cat((cls, sequence), dim=1) + state["temporal_encoder.pos_embed"]
        pooled = encoder(state, "temporal_encoder.", sequence, None)[:, 0]
    else:
        tokens = tubelets(state, model, frames).flatten(1, 2) + state["backbone.pos_embed"]
        count = tokens.shape[1]
        index = torch.arange(count) // PATCHES
        patch = torch.arange(count) % PATCHES
        masks = (patch[:, None] == patch, index[:, None] == index)  # over time, over space
        pooled = encoder(state, "backbone.", tokens, (form, masks)).mean(1)
    return pooled @ state["head.weight"].T + state["head.bias"]


def tubelets(state: dict[str, Tensor], model: ViViT, frames: Tensor) -> Tensor:
    """Map (B, F, 3, H, W) to (B, T, P, D): cut out each tubelet and multiply it with the kernel."""
    kernel, bias = (
        state["backbone.patch_embed.proj.weight"],
        state["backbone.patch_embed.proj.bias"],
    )
    length, size = kernel.shape[2], kernel.shape[3]
    rows = []
    for start in range(0, frames.shape[1], length):
        row = []
        for top in range(0, SIZE, size):
            for left in range(0, SIZE, size):
                part = frames[:, start : start + length, :, top : top + size, left : left + size]
                row.append(torch.einsum("bfchw,dcfhw->bd", part, kernel) + bias)
        rows.append(torch.stack(row, dim=1))
    return torch.stack(rows, dim=1)


def with_cls(state: dict[str, Tensor], tokens: Tensor) -> Tensor:
    cls = state["backbone.cls_token"].expand(len(tokens), -1, -1)
    return torch.cat((cls, tokens), dim=1) + state["backbone.pos_embed"]


def encoder(
    state: dict[str, Tensor], prefix: str, tokens: Tensor, factorised: tuple[str, Any] | None
) -> Tensor:
    """Apply all blocks and the last norm."""
    number = 0
    while f"{prefix}blocks.{number}.norm1.weight" in state:
        tokens = block(state, f"{prefix}blocks.{number}.", tokens, factorised)
        number += 1
    assert number == 2
    return norm(state, f"{prefix}norm", tokens)


def block(
    state: dict[str, Tensor], prefix: str, tokens: Tensor, factorised: tuple[str, Any] | None
) -> Tensor:
    everything = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool)
    over = [everything] * HEADS
    if factorised is not None:
        form, (time, space) = factorised
        over = [space] * HEADS
        if form == "factorised-dot-product":
            over = [time] * (HEADS // 2) + [space] * (HEADS // 2)
    normal = norm(state, f"{prefix}norm1", tokens)
    tokens = tokens + attention(state, f"{prefix}attn.", normal, over)
    if factorised is not None and factorised[0] == "factorised-self-attention":
        normal = norm(state, f"{prefix}norm_time", tokens)
        tokens = tokens + attention(state, f"{prefix}attn_time.", normal, [time] * HEADS)
    inner = linear(state, f"{prefix}mlp.fc1", norm(state, f"{prefix}norm2", tokens))
    return tokens + linear(state, f"{prefix}mlp.fc2", F.gelu(inner))


def attention(state: dict[str, Tensor], prefix: str, tokens: Tensor, over: list[Tensor]) -> Tensor:
    """Compute one head after the other, with the whole matrix masked by ``over``."""
    query, key, value = linear(state, f"{prefix}qkv", tokens).chunk(3, dim=-1)
    size = query.shape[-1] // HEADS
    parts = []
    for head, mask in enumerate(over):
        own = slice(head * size, (head + 1) * size)
        scores = query[..., own] @ key[..., own].transpose(1, 2) / size**0.5
        weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
        parts.append(weights @ value[..., own])
    return linear(state, f"{prefix}proj", torch.cat(parts, dim=-1))


def linear(state: dict[str, Tensor], name: str, tokens: Tensor) -> Tensor:
    return tokens @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: dict[str, Tensor], name: str, tokens: Tensor) -> Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return F.layer_norm(tokens, tokens.shape[-1:], weight, bias, eps=1e-6)
