"""Convert the names of ViViT tensors in transformers to those of vtnstream."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from vtnstream.errors import CheckpointError
from vtnstream.models.io import weights
from vtnstream.models.vivit.hf_config import Settings

_LAYER = "vivit.encoder.layer."
_RENAMED = (
    (re.compile(r"^vivit\.layers\."), _LAYER),
    (re.compile(r"\.attention\.q_proj\."), ".attention.attention.query."),
    (re.compile(r"\.attention\.k_proj\."), ".attention.attention.key."),
    (re.compile(r"\.attention\.v_proj\."), ".attention.attention.value."),
    (re.compile(r"\.attention\.o_proj\."), ".attention.output.dense."),
    (re.compile(r"\.mlp\.fc1\."), ".intermediate.dense."),
    (re.compile(r"\.mlp\.fc2\."), ".output.dense."),
)
"""Module names of transformers 5 -> names in the files of all releases."""

_OURS = {
    "vivit.embeddings.cls_token": "backbone.cls_token",
    "vivit.embeddings.position_embeddings": "backbone.pos_embed",
    "vivit.embeddings.patch_embeddings.projection": "backbone.patch_embed.proj",
    "vivit.layernorm": "backbone.norm",
    "classifier": "head",
}
_OURS_IN_A_LAYER = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_JOINED = tuple(f"attention.attention.{part}" for part in ("query", "key", "value"))


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file, under the names of the file format.

    Raises:
        CheckpointError: it is unreadable, or holds a tensor under two names.
    """
    read = weights.read_tensors(path)
    state = {_file_name(name): tensor for name, tensor in read.items()}
    if len(state) != len(read):
        raise CheckpointError(f"{path}: holds tensors twice, under old and new names")
    return state


def _file_name(name: str) -> str:
    for pattern, old in _RENAMED:
        name = pattern.sub(old, name)
    return name


def check_state(state: weights.State, settings: Settings, path: Path) -> None:
    """Check that the file holds every tensor of a model with these settings and no other.

    Raises:
        CheckpointError: it does not; the message has the names in the file.
    """
    # Checked first, because a config with millions of layers would give as many names.
    found = {n.removeprefix(_LAYER).partition(".")[0] for n in state if n.startswith(_LAYER)}
    if len(found) != settings.num_hidden_layers:
        raise CheckpointError(
            f"{path}: {len(found)} layers, the config has {settings.num_hidden_layers}"
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    weights.check_names(_expected(settings), shapes, path)


def _expected(settings: Settings) -> dict[str, tuple[int, ...]]:
    size, inner = settings.hidden_size, settings.intermediate_size
    matrices: dict[str, tuple[int, ...]] = {
        "vivit.embeddings.patch_embeddings.projection": (size, 3, *settings.tubelet_size),
        "vivit.layernorm": (size,),
        "classifier": (len(settings.labels), size),
    }
    layer: dict[str, tuple[int, ...]] = {
        "layernorm_before": (size,),
        "layernorm_after": (size,),
        **dict.fromkeys(_JOINED, (size, size)),
        "attention.output.dense": (size, size),
        "intermediate.dense": (inner, size),
        "output.dense": (size, inner),
    }
    for number in range(settings.num_hidden_layers):
        matrices |= {f"{_LAYER}{number}.{part}": shape for part, shape in layer.items()}
    expected: dict[str, tuple[int, ...]] = {
        "vivit.embeddings.cls_token": (1, 1, size),
        "vivit.embeddings.position_embeddings": (1, 1 + settings.num_places, size),
    }
    for name, shape in matrices.items():
        expected[f"{name}.weight"] = shape
        if settings.qkv_bias or not name.endswith(_JOINED):
            expected[f"{name}.bias"] = shape[:1]
    return expected


def converted(state: weights.State, settings: Settings) -> dict[str, Tensor]:
    """Return the checked tensors under vtnstream's names, with queries, keys and values joined."""
    names = dict(_OURS)
    ours: dict[str, Tensor] = {}
    for number in range(settings.num_hidden_layers):
        theirs, block = f"{_LAYER}{number}.", f"backbone.blocks.{number}."
        names |= {f"{theirs}{part}": f"{block}{own}" for part, own in _OURS_IN_A_LAYER.items()}
        for kind in ("weight", "bias") if settings.qkv_bias else ("weight",):
            parts = [state[f"{theirs}{part}.{kind}"] for part in _JOINED]
            ours[f"{block}attn.qkv.{kind}"] = torch.cat(parts)
    for name, own in names.items():
        for end in ("", ".weight", ".bias"):
            if name + end in state:
                ours[own + end] = state[name + end]
    return ours
