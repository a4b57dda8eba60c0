"""Import checkpoints of VTN in PySlowFast, the reference implementation of the paper.

The reference is the fork bomri/SlowFast (``slowfast/models/video_model_builder.py``, class
``VTN``). The modules here have its names, so tensors are loaded unchanged. What the weights do not
determine (attention window, heads, colours) comes from the config that PySlowFast stores in the
checkpoint, or else from the published model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vtnstream.config import BackboneConfig, HeadConfig, ModelConfig, SamplingConfig
from vtnstream.config.shipped import shipped_labels
from vtnstream.errors import CheckpointError, ConfigError, ModelError
from vtnstream.models.architectures import VideoModel
from vtnstream.models.io import weights
from vtnstream.models.io.card import model_card, write_card
from vtnstream.models.io.checkpoint import build, save_model
from vtnstream.models.io.published import published_model
from vtnstream.wording import plural

_PUBLISHED = "vtn-vit-b-kinetics"
"""The published model whose config completes that of a checkpoint."""

_ORIGIN = "Trained with PySlowFast; imported by vtnstream."
_DIFFERENCES = (
    "`classify --reference-preprocess` and `evaluate --order reference` read and prepare frames as "
    "the reference does, bit for bit; without them, what follows differs.",
    "The reference reads only the first 10 s of a video; vtnstream spreads 250 frames over all "
    "of it. `--end 10` selects the same part as the reference.",
    "The reference numbers positions by decoded frame (250 frames of a clip at 30 frames/s "
    "have numbers up to 299, modulo 286); in vtnstream token k has position k. Both agree where "
    "all 250 frames of 10 s at 25 frames/s are read.",
    "Frames are scaled by FFmpeg's bilinear filter, which smooths when it shrinks; the reference "
    "interpolates without smoothing.",
    "Colours are converted by FFmpeg with accurate rounding and full chroma; the reference takes "
    "PyAV's `to_rgb`, whose values differ by up to a few of 255. It also ignores rotation.",
)
"""Differences to the evaluation of the reference. Weights and network are the same."""

_KINETICS = "kinetics-400"
_LARGEST_RECIPE = 2**20
_UNUSED = "temporal_encoder.embeddings.position_ids"
"""A buffer 0, 1, 2 ... that older versions of transformers store."""
_FRAMES = "EVAL_NUM_FRAMES"
_POSITIONS = "temporal_encoder.embeddings.position_embeddings.weight"
_LAYER = "temporal_encoder.encoder.layer."


@dataclass(frozen=True, slots=True)
class Choices:
    """Values from the user. None takes the value of the checkpoint, then of the published model."""

    name: str | None = None
    labels: tuple[str, ...] | None = None
    backbone: str | None = None
    num_heads: int | None = None
    attention_window: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """An imported model, and notes for the user about the import."""

    model: VideoModel
    notes: tuple[str, ...]


def import_checkpoint(
    path: str | Path, choices: Choices | None = None, *, base: ModelConfig | None = None
) -> Imported:
    """Read a PySlowFast checkpoint of VTN (key ``model_state``, possibly ``cfg`` and more).

    Args:
        path: the ``.pyth`` file, or its tensors as ``.safetensors``; no code in it is executed.
        choices: values from the user.
        base: config for all other values; by default that of the published model.

    Returns:
        the model in evaluation mode.

    Raises:
        ModelError: there is no such file.
        CheckpointError: the file is damaged or holds code, a tensor is missing, unknown, misshapen
            or not finite, or the labels do not match the head.
    """
    path, choices = Path(path).expanduser(), choices or Choices()
    if not path.is_file():
        raise ModelError(f"{path}: no such checkpoint")
    loaded = weights.read_checkpoint(path)
    state = weights.unwrap(loaded, path).state
    state.pop(_UNUSED, None)
    recipe = _recipe(loaded, path)
    notes: list[str] = []
    if not recipe:
        notes.append(
            "The checkpoint holds no config: attention window, heads and colours are taken from "
            "the published model."
        )
    try:
        config = _config(state, recipe, choices, base or published_model(_PUBLISHED).config)
        _check_heads(state, config.temporal.num_heads)
        labels = _labels(state, choices, notes, path)
        config = replace(config, head=replace(config.head, labels=labels))
        model = build(config, state, path)
    except CheckpointError:
        raise
    except (ConfigError, ModelError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Imported(model.eval(), tuple(notes))


def save_imported(imported: Imported, folder: Path) -> None:
    """Write the model folder, with a card that lists the differences to the reference.

    Raises:
        OutputError: it cannot be written.
    """
    save_model(imported.model, folder)
    notes = (_ORIGIN, *imported.notes, *_DIFFERENCES)
    write_card(folder, model_card(folder, notes=notes))


def _recipe(loaded: Any, path: Path) -> Mapping[str, Any]:
    """Return the config that PySlowFast stores in its checkpoints as YAML, by section."""
    import yaml

    text = loaded.get("cfg") if isinstance(loaded, Mapping) else None
    if not isinstance(text, str):
        return {}
    if len(text) > _LARGEST_RECIPE:
        raise CheckpointError(f"{path}: its config is too large to be one")
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = weights.one_line(error)
        raise CheckpointError(f"{path}: its config is not readable as YAML ({reason})") from error
    if not isinstance(data, Mapping):
        raise CheckpointError(f"{path}: its config is not a table of sections")
    return {str(k): section for k, section in data.items() if isinstance(section, Mapping)}


def _config(
    state: weights.State, recipe: Mapping[str, Any], choices: Choices, base: ModelConfig
) -> ModelConfig:
    """Return the config of the model: sizes from the tensors, other values from the user, the
    recipe and ``base``, in this order. A missing tensor keeps its size in ``base``; it is
    reported when the weights are loaded."""
    time, prepare = base.temporal, base.preprocess
    vtn, data = recipe.get("VTN", {}), recipe.get("DATA", {})
    layers = {key.removeprefix(_LAYER).partition(".")[0] for key in state if _LAYER in key}
    num_layers = len(layers) or time.num_layers
    window = vtn.get("ATTENTION_WINDOW", time.attention_window)
    if choices.attention_window is not None:
        window = choices.attention_window
    if data.get("REVERSE_INPUT_CHANNEL"):
        raise ConfigError("it was trained on BGR frames, which a model folder cannot describe")
    scales = data.get("TRAIN_JITTER_SCALES", (prepare.resize,))
    frames = next(
        (section[_FRAMES] for section in recipe.values() if _FRAMES in section),
        base.sampling.num_frames,
    )
    return replace(
        base,
        name=choices.name or base.name,
        sampling=SamplingConfig(kind="uniform", num_frames=_whole(frames, _FRAMES)),
        backbone=BackboneConfig(choices.backbone or base.backbone.name),
        preprocess=replace(
            prepare,
            size=_whole(data.get("TEST_CROP_SIZE", prepare.size), "TEST_CROP_SIZE"),
            resize=_whole(_list(scales)[0], "TRAIN_JITTER_SCALES"),
            mean=_numbers(data.get("MEAN", prepare.mean), "MEAN"),
            std=_numbers(data.get("STD", prepare.std), "STD"),
            crop_rounding="ceil",
        ),
        temporal=replace(
            time,
            num_layers=num_layers,
            num_heads=choices.num_heads
            or _whole(vtn.get("NUM_ATTENTION_HEADS", time.num_heads), "NUM_ATTENTION_HEADS"),
            intermediate_size=_size(
                state, f"{_LAYER}0.intermediate.dense.weight", 0, time.intermediate_size
            ),
            attention_window=_windows(window, num_layers),
            max_positions=_size(state, _POSITIONS, 0, time.max_positions),
        ),
        head=HeadConfig(mlp_dim=_size(state, "mlp_head.1.weight", 0, 0)),
    )


def _check_heads(state: weights.State, num_heads: int) -> None:
    hidden = _size(state, "cls_token", 2, num_heads)
    if hidden % num_heads:
        raise ConfigError(
            f"{num_heads} heads do not divide its hidden size {hidden}: give --num-heads N"
        )


def _labels(
    state: weights.State, choices: Choices, notes: list[str], path: Path
) -> tuple[str, ...]:
    kinetics = shipped_labels(_KINETICS)
    count = _size(state, "mlp_head.4.weight", 0, len(kinetics))
    if choices.labels is None and count == len(kinetics):
        notes.append(
            "The checkpoint names no classes: they are assumed to be those of Kinetics-400 in "
            "alphabetical order, as in the lists of PySlowFast."
        )
        return kinetics
    if choices.labels is None:
        raise CheckpointError(f"{path}: its head has {count} classes: name them with --labels FILE")
    if len(choices.labels) != count:
        raise CheckpointError(
            f"{path}: its head has {count} classes, but "
            f"{plural(len(choices.labels), 'label is', 'labels are')} given"
        )
    return choices.labels


def _size(state: weights.State, name: str, axis: int, default: int) -> int:
    tensor = state.get(name)
    return int(tensor.shape[axis]) if tensor is not None and tensor.ndim > axis else default


def _windows(window: Any, num_layers: int) -> tuple[int, ...]:
    """Return the window of each layer, or one if all are equal. PySlowFast lists one per layer
    and ignores those beyond the number of layers."""
    windows = tuple(_whole(w, "ATTENTION_WINDOW") for w in _list(window))
    if len(windows) > num_layers:
        windows = windows[:num_layers]
    return windows[:1] if len(set(windows)) == 1 else windows


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) and value else [value]


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} in its config is not a whole number")
    return value


def _numbers(values: Any, name: str) -> tuple[float, ...]:
    """Convert a list to floats, because PyYAML reads ``1e-3`` as text."""
    try:
        numbers = tuple(float(value) for value in _list(values))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} in its config is not numbers") from error
    return numbers
