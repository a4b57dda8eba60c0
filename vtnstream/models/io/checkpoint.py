"""Save and load model folders: ``config.json`` (resolved) and ``model.safetensors``."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError

from vtnstream.config import ModelConfig
from vtnstream.config.loading import from_dict, to_dict
from vtnstream.config.shipped import BUNDLED_MODEL, bundled_model
from vtnstream.errors import CheckpointError, ModelError, OutputError
from vtnstream.models import presets
from vtnstream.models.architectures import VideoModel, build_model
from vtnstream.models.backbone import SkipMetaInit, SkipRandomInit, untracked_buffers
from vtnstream.models.io import hub, weights
from vtnstream.models.io.json_file import read_json
from vtnstream.models.io.published import published_models
from vtnstream.models.io.weights import weights_sha256
from vtnstream.models.small_resnet import small_resnet
from vtnstream.models.vivit import hf
from vtnstream.wording import plural

__all__ = ["load_model", "read_config", "save_model", "weights_sha256"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

_NAME_ANOTHER = "name one that `vtnstream train -o` wrote, or a model of `vtnstream models list`"


def save_model(model: VideoModel, folder: str | Path) -> Path:
    """Write a model folder. Files, and a new folder, appear complete or not at all.

    Args:
        model: on any device; dtypes are kept.
        folder: created with its parents; in an existing folder the two files are replaced.

    Raises:
        OutputError: it cannot be written.
    """
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
            written = Path(made) / "model"
            written.mkdir()
            _write(model, written)
            if folder.exists():
                for name in (WEIGHTS_FILE, CONFIG_FILE):
                    os.replace(written / name, folder / name)
            else:
                os.rename(written, folder)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"{folder}: the model cannot be written ({weights.one_line(error)})"
        ) from error
    return folder


def _write(model: VideoModel, folder: Path) -> None:
    from safetensors.torch import save_file

    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    save_file(state, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    write_config(model.config, folder)
    # The library makes the file readable for its owner only; give it the mode of the config.
    (folder / WEIGHTS_FILE).chmod((folder / CONFIG_FILE).stat().st_mode)
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        with open(folder / name, "rb") as file:
            os.fsync(file.fileno())


def write_config(config: ModelConfig, folder: Path) -> None:
    """Write ``config.json`` without weights.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(to_dict(config), indent=2, ensure_ascii=False) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def read_config(folder: str | Path) -> ModelConfig:
    """Return the config of a model folder.

    Raises:
        ModelError: there is none, or it is not a JSON object.
        ConfigError: it has unknown keys or invalid values.
    """
    config = _own_config(Path(folder))
    return hf.read_config(folder) if config is None else config


def _own_config(folder: Path) -> ModelConfig | None:
    """Return the config of a model folder; None for a folder of transformers."""
    path = folder / CONFIG_FILE
    if not path.exists():
        raise ModelError(
            f"{folder}: not a model folder: there is no {CONFIG_FILE} in it; {_NAME_ANOTHER}"
        )
    data = read_json(path)
    if data.get("model_type") == hf.MODEL_TYPE:
        return None
    return from_dict(ModelConfig, data, where=str(path))


def load_model(path_or_name: str | Path, *, device: str | torch.device = "cpu") -> VideoModel:
    """Load a trained model, in evaluation mode.

    Args:
        path_or_name: a model folder, a Hub repository as ``org/name[@rev]`` or
            ``hf://org/name[@rev]``, a published model that has been downloaded, or ``edits``, the
            bundled model. A folder or repository of ``VivitForVideoClassification`` of
            transformers is accepted as well.
        device: device of the model.

    Raises:
        ModelError: there is no usable model of this name; presets have no weights.
        ConfigError: ``config.json`` is wrong.
        CheckpointError: a name or shape of the weights does not fit the config, or a weight is
            not finite.
    """
    folder = _find_folder(path_or_name)
    config = _own_config(folder)
    if config is None:
        config, state, path = hf.load(folder)
    else:
        path = folder / WEIGHTS_FILE
        if not path.is_file():
            raise CheckpointError(f"{folder}: {WEIGHTS_FILE} is missing")
        state = weights.read_tensors(path)
    try:
        model = build(config, state, path)
    except CheckpointError:
        raise
    except MemoryError as error:
        what = f"{folder / CONFIG_FILE}: the model it describes does not fit into memory"
        raise ModelError(what) from error
    except ModelError as error:
        raise ModelError(f"{folder / CONFIG_FILE}: {error}") from error
    return model.to(device).eval()


def find_model(path_or_name: str | Path) -> tuple[ModelConfig, Path] | None:
    """Return the config of a model that :func:`load_model` would load, and its file of weights,
    which is not read; None for a model of transformers.

    Raises:
        ModelError: there is no usable model of this name.
        ConfigError: ``config.json`` is wrong.
    """
    folder = _find_folder(path_or_name)
    config = _own_config(folder)
    return None if config is None else (config, folder / WEIGHTS_FILE)


def build(config: ModelConfig, state: weights.State, source: Path) -> VideoModel:
    """Build a model with these weights, in training mode.

    Args:
        config: of the model.
        state: tensors by name; the model gets copies.
        source: file to name in errors.

    Raises:
        CheckpointError: names or shapes do not fit, or a weight is not finite.
        ModelError: no model can be built from the config.
    """
    _check_depth(config, state, source)
    _check_labels(config, state, source)
    # Random initialisation on the meta device would import torch's compiler, which takes a second.
    with torch.device("meta"), SkipMetaInit():
        model = _untrained(config)
    if untracked_buffers(model):  # computed when built, so not on the meta device
        weights.check_names(_shapes(model), _shapes_of(state), source)
        with SkipRandomInit():
            model = _untrained(config)
    weights.load_strictly(model, state, source, assign=True)
    return model


def _untrained(config: ModelConfig) -> VideoModel:
    backbone = small_resnet(config.backbone) if config.architecture == "vtn" else None
    return build_model(config, backbone)


def _shapes(model: VideoModel) -> dict[str, tuple[int, ...]]:
    return _shapes_of(model.state_dict())


def _shapes_of(state: weights.State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _check_depth(config: ModelConfig, state: weights.State, path: Path) -> None:
    """Compare the numbers of layers before building: a config may have millions of layers."""
    prefix, wanted = "temporal_encoder.encoder.layer.", config.temporal.num_layers
    if config.temporal.kind == "tcn":
        prefix = "temporal_encoder.layers."
    if config.vivit is not None:
        prefix = "temporal_encoder.blocks."
        wanted = config.vivit.temporal_layers if config.vivit.reads_sequences else 0
    if config.temporal.transformers_class is not None:
        if wanted > len(state):
            raise CheckpointError(f"{path}: {len(state)} tensors cannot be {wanted} layers")
        return
    found = {name.removeprefix(prefix).partition(".")[0] for name in state if prefix in name}
    if len(found) != wanted:
        raise CheckpointError(f"{path}: {len(found)} temporal layers, the config has {wanted}")


def _check_labels(config: ModelConfig, state: weights.State, path: Path) -> None:
    """Report a wrong number of labels in words instead of as a mismatch of shapes."""
    class_head = "mlp_head.0.bias" if config.head.linear else "mlp_head.4.bias"
    if config.vivit is not None:
        class_head = "head.bias"
    for name, labels, what in (
        (class_head, config.head.labels, "class"),
        ("dense_head.bias", config.head.dense_labels, "dense"),
    ):
        if name in state and labels and len(state[name]) != len(labels):
            raise CheckpointError(
                f"{path}: the {what} head has {plural(len(state[name]), 'class', 'classes')}, the "
                f"config names {plural(len(labels), 'label')}"
            )


def _find_folder(path_or_name: str | Path) -> Path:
    text = str(path_or_name)
    path = Path(path_or_name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{path}: a model is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
    if text == BUNDLED_MODEL:
        return bundled_model()
    if presets.is_preset(text):
        raise ModelError(
            f"{text} is a preset, without trained weights: train it with vtnstream train, "
            "or give a model folder"
        )
    published = published_models().get(text)
    if published is not None:
        if not published.is_here:
            raise ModelError(
                f"{text} has not been downloaded: run `vtnstream models download {text}`"
            )
        return published.folder
    name = hub.parse_hub_name(text)
    if name is None:
        raise ModelError(f"{text}: no such model folder; {_NAME_ANOTHER}")
    try:
        config = hub.download(name, CONFIG_FILE)
        if hf.recognises(config.parent):
            hub.download_first(name, hf.PREPROCESS_FILES)
            hub.download_first(name, hf.WEIGHT_FILES)
        else:
            hub.download(name, WEIGHTS_FILE)
    except ModelError as error:
        if text.startswith(hub.SCHEMES):
            raise
        raise ModelError(f"{text}: no such folder, and as a Hub name: {error}") from error
    return config.parent
