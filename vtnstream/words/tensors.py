"""Tensors of image-text models: find their files, and convert the image tower to timm's names.

Each tower is read alone: only the requested tensors are read from files of gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vtnstream.errors import CheckpointError
from vtnstream.models.io.json_file import one_line, read_json
from vtnstream.models.io.weights import some
from vtnstream.words.folder import WordsConfig

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_PROJECTION = "visual_projection.weight"
_LAYER_PARTS = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "self_attn.out_proj": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_SIGLIP = {
    "post_layernorm": "norm",
    "embeddings.patch_embedding": "patch_embed.proj",
    "head.layernorm": "attn_pool.norm",
    "head.mlp.fc1": "attn_pool.mlp.fc1",
    "head.mlp.fc2": "attn_pool.mlp.fc2",
    "head.attention.out_proj": "attn_pool.proj",
}
_CLIP = {
    "pre_layrnorm": "norm_pre",
    "post_layernorm": "norm",
    "embeddings.patch_embedding": "patch_embed.proj",
}


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the safetensors files of a folder.

    Raises:
        CheckpointError: there is none, or one of several is missing.
    """
    single, index = folder / WEIGHTS_FILE, folder / INDEX_FILE
    if single.is_file():
        return (single,)
    if not index.is_file():
        raise CheckpointError(
            f"{folder}: no {WEIGHTS_FILE}: the download is incomplete, or its weights are of "
            "another format; only safetensors are read"
        )
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and Path(name).name == name for name in names.values()
    ):
        raise CheckpointError(f"{index}: names no files of weights beside it")
    files = tuple(folder / name for name in sorted(set(names.values())))
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise CheckpointError(f"{folder}: {some(missing)} missing: the download is incomplete")
    return files


def read_named(folder: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Read the tensors of a folder whose names are in ``wanted``, in their stored dtype.

    Raises:
        CheckpointError: a file is missing, truncated or damaged.
    """
    found: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                names = [name for name in file.keys() if wanted(name)]  # noqa: SIM118
                found.update({name: file.get_tensor(name) for name in names})
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{path}: cannot be read, it is damaged or its download is incomplete "
                f"({one_line(error)})"
            ) from error
    return found


def read_image_tower(folder: Path, config: WordsConfig) -> dict[str, Tensor]:
    """Read the tensors of the image tower under timm's names.

    Raises:
        CheckpointError: tensors are missing or unknown.
    """
    prefix = "vision_model."
    state = read_named(folder, lambda name: name.startswith(prefix))
    state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    if not state:
        raise CheckpointError(f"{folder}: its weights hold no image tower")
    try:
        converted = dict(_converted(state, config))
    except KeyError as error:
        raise CheckpointError(
            f"{folder}: tensor {error.args[0]} of the image tower is missing"
        ) from error
    if state:
        raise CheckpointError(f"{folder}: the image tower has unknown tensors ({some(state)})")
    return converted


def read_projection(folder: Path) -> Tensor:
    """Read the (E, D) float32 matrix from image vectors to the shared space (CLIP).

    Raises:
        CheckpointError: the folder has none.
    """
    found = read_named(folder, lambda name: name == _PROJECTION)
    if _PROJECTION not in found:
        raise CheckpointError(f"{folder}: tensor {_PROJECTION} is missing")
    return found[_PROJECTION].float()


def _converted(state: dict[str, Tensor], config: WordsConfig) -> Iterator[tuple[str, Tensor]]:
    """Return tensors under timm's names; converted ones are removed from ``state``."""
    state.pop("embeddings.position_ids", None)
    names = _CLIP if config.family == "clip" else _SIGLIP
    yield "pos_embed", state.pop("embeddings.position_embedding.weight")[None]  # 1 N D
    if config.family == "clip":
        yield "cls_token", state.pop("embeddings.class_embedding")[None, None]  # 1 1 D
    else:
        yield from _pooling_head(state)
    if config.family == "siglip2":
        name = "embeddings.patch_embedding.weight"
        patch = int(config.backbone.arguments["patch_size"])
        # a patch is a row of (y, x, channel); a convolution has (channel, y, x)
        rows = state[name].reshape(-1, patch, patch, 3)
        state[name] = rows.permute(0, 3, 1, 2)
    for theirs, ours in names.items():
        for part in ("weight", "bias"):
            if (tensor := state.pop(f"{theirs}.{part}", None)) is not None:
                yield f"{ours}.{part}", tensor
    for number in range(config.num_layers):
        yield from _layer(state, number)


def _layer(state: dict[str, Tensor], number: int) -> Iterator[tuple[str, Tensor]]:
    theirs, ours = f"encoder.layers.{number}", f"blocks.{number}"
    for part in ("weight", "bias"):
        rows = [state.pop(f"{theirs}.self_attn.{name}_proj.{part}") for name in "qkv"]
        yield f"{ours}.attn.qkv.{part}", torch.cat(rows)
        for name, mine in _LAYER_PARTS.items():
            yield f"{ours}.{mine}.{part}", state.pop(f"{theirs}.{name}.{part}")


def _pooling_head(state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    yield "attn_pool.latent", state.pop("head.probe")  # 1 1 D
    for part in ("weight", "bias"):
        query, keys, values = state.pop(f"head.attention.in_proj_{part}").chunk(3)
        yield f"attn_pool.q.{part}", query
        yield f"attn_pool.kv.{part}", torch.cat([keys, values])


def text_tensors(folder: Path) -> Mapping[str, Tensor]:
    """Read the tensors of the text tower under transformers' names.

    Raises:
        CheckpointError: the folder has none.
    """
    state = read_named(folder, lambda name: name.startswith(("text_model.", "text_projection.")))
    if not state:
        raise CheckpointError(
            f"{folder}: its weights hold no text tower: it answers --like and no words"
        )
    return state
