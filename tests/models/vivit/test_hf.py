"""Folders of VivitForVideoClassification, compared with transformers itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vtnstream.errors import CheckpointError, ConfigError, ModelError, VtnstreamError
from vtnstream.models.io.checkpoint import load_model, read_config, save_model, weights_sha256
from vtnstream.models.vivit.hf import recognises
from vtnstream.models.vivit.model import ViViT
from vtnstream.preprocess.pipeline import Preprocess

LABELS = ("ironing", "juggling", "knitting")


def their_model(**changes: Any) -> Any:
    from transformers import VivitConfig, VivitForVideoClassification

    torch.manual_seed(0)
    settings = {
        "image_size": 32,
        "num_frames": 6,
        "tubelet_size": [2, 16, 16],
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 100,
        "id2label": dict(enumerate(LABELS)),
        **changes,
    }
    model = VivitForVideoClassification(VivitConfig(**settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


def preprocessor(**changes: Any) -> Any:
    from transformers import VivitImageProcessor

    crop = {"height": 32, "width": 32}
    return VivitImageProcessor(size={"shortest_edge": 36}, crop_size=crop, **changes)


Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Make:
    def make(model: Any = None, processor: Any = None) -> Path:
        folder = tmp_path / "theirs"
        (model or their_model()).save_pretrained(folder)
        if processor is not None:
            processor.save_pretrained(folder)
        return folder

    return make


def logits(model: Any, clip: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(clip).logits


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"qkv_bias": False, "hidden_act": "gelu", "tubelet_size": [3, 16, 8]},
        {"hidden_act": "relu", "tubelet_size": [1, 8, 8], "num_frames": 2},
        {"id2label": {0: "LABEL_0", 1: "LABEL_1"}},  # transformers leaves these out
    ],
)
def test_logits_equal_transformers(make: Make, changes: dict[str, Any]) -> None:
    theirs = their_model(**changes)
    ours = load_model(make(theirs))
    assert isinstance(ours, ViViT) and ours.vivit.form == "joint" and not ours.training
    clip = torch.randn(2, theirs.config.num_frames, 3, 32, 32)
    wanted = logits(theirs, clip)
    assert wanted.std() > 0.01
    torch.testing.assert_close(logits(ours, clip), wanted, rtol=1e-4, atol=1e-4)


def test_module_names_of_transformers_5_load(make: Make) -> None:
    import transformers

    if transformers.__version__.startswith("4."):
        pytest.skip("its modules have the names of its files")
    theirs = their_model()
    folder = make(theirs)
    before = load_model(folder)
    save_file(dict(theirs.state_dict()), folder / "model.safetensors")
    assert any(".attention.q_proj." in name for name in theirs.state_dict())
    assert weights_sha256(load_model(folder)) == weights_sha256(before)


def test_older_weights_are_unpickled_as_tensors_only(make: Make) -> None:
    folder = make()
    before = load_model(folder)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    assert weights_sha256(load_model(folder)) == weights_sha256(before)


def test_config_labels_and_clip(make: Make) -> None:
    config = read_config(make(processor=preprocessor()))
    assert config.head.labels == LABELS and not config.head.multi_label
    assert config.vivit is not None and config.vivit.num_frames == 6
    assert config.sampling.kind == "rate" and config.sampling.fps == Fraction(25, 4)
    assert (config.preprocess.resize, config.preprocess.size) == (36, 32)
    assert config.preprocess.interpolation == "bilinear" and config.preprocess.crop == "center"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"do_normalize": False},
        {"offset": False, "rescale_factor": 1 / 255, "image_mean": [0.4, 0.5, 0.6]},
        {"do_rescale": False, "offset": False, "image_std": [10, 20, 30]},
        {"rescale_factor": 1 / 255, "do_normalize": False},
    ],
)
def test_preprocessing_equals_transformers(make: Make, changes: dict[str, Any]) -> None:
    processor = preprocessor(**changes)
    config = read_config(make(processor=processor))
    frames = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    frames[0] = 255  # else transformers takes dark frames for scaled ones
    theirs = processor(list(frames), do_resize=False, return_tensors="pt")["pixel_values"][0]
    ours = Preprocess(config.preprocess)(frames)
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-5, atol=1e-4)


def test_without_a_processor_preprocessing_is_the_papers(make: Make) -> None:
    prepare = read_config(make()).preprocess
    assert prepare.mean == prepare.std == (0.5, 0.5, 0.5)  # from -1 to 1
    assert (prepare.resize, prepare.size) == (37, 32)


def test_saved_as_a_model_folder_it_stays_equal(make: Make, tmp_path: Path) -> None:
    model = load_model(make(processor=preprocessor()))
    again = load_model(save_model(model, tmp_path / "ours"))
    assert again.config == model.config and weights_sha256(again) == weights_sha256(model)
    assert recognises(make()) and not recognises(tmp_path / "ours")
    assert not recognises(tmp_path / "absent")


# --------------------------------------------------------------------------- what is wrong


def test_keys_that_are_missing_or_unknown_are_named(make: Make) -> None:
    folder = make()
    path = folder / "model.safetensors"
    # Copies: the file they would be mapped from is written over.
    state = {name: tensor.clone() for name, tensor in load_file(path).items()}
    gone = dict(state)
    del gone["vivit.encoder.layer.1.attention.attention.key.weight"]
    save_file(gone, path)
    with pytest.raises(CheckpointError, match=r"1 missing \(vivit.encoder.layer.1.attention"):
        load_model(folder)
    save_file(state | {"vivit.pooler.dense.weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"1 unexpected \(vivit.pooler.dense.weight"):
        load_model(folder)
    save_file(state | {"vivit.layernorm.bias": torch.zeros(7)}, path)
    with pytest.raises(CheckpointError, match=r"misshapen \(vivit.layernorm.bias"):
        load_model(folder)
    twice = state["vivit.encoder.layer.0.output.dense.bias"].clone()
    save_file(state | {"vivit.layers.0.mlp.fc2.bias": twice}, path)
    with pytest.raises(CheckpointError, match="holds tensors twice"):
        load_model(folder)
    save_file(state | {"classifier.bias": torch.full((3,), float("nan"))}, path)
    with pytest.raises(CheckpointError, match="not finite"):
        load_model(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"no model.safetensors or pytorch_model.bin"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 10**9}, "2 layers, the config has 1000000000"),
        ({"hidden_size": 64}, "misshapen"),
        ({"num_attention_heads": 5}, "cannot be built"),
        ({"num_attention_heads": 0}, "num_attention_heads must be positive"),
        ({"hidden_act": "selu_new"}, "unknown hidden_act 'selu_new'"),
        ({"layer_norm_eps": 1e-12}, "layer_norm_eps 1e-12"),
        ({"num_channels": 1}, "num_channels 1"),
        ({"image_size": [32, 48]}, "image_size 32 x 48: only squares"),
        ({"image_size": "big"}, "image_size"),
        ({"tubelet_size": [2, 16]}, "tubelet_size has three"),
        ({"num_frames": 7}, "7 must be a multiple of the 2 frames of a tubelet"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label does not count"),
        ({"id2label": {"0": "a", "1": "b"}}, "misshapen"),
        ({"id2label": [1, 2]}, "id2label is not a table"),
        ({"hidden_size": "wide"}, "hidden_size: expected int"),
    ],
)
def test_unusable_configs(make: Make, changes: dict[str, Any], message: str) -> None:
    folder = make()
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(VtnstreamError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_resize": False}, "do_resize false"),
        ({"crop_size": {"height": 24, "width": 24}}, "crop_size 24 is not the 32 pixels"),
        ({"do_center_crop": False}, "would not be square"),
        ({"size": {"height": 40, "width": 40}, "do_center_crop": False}, "size 40 is not the 32"),
        ({"resample": 0}, "unknown resample '0'"),
        ({"image_mean": "grey"}, "preprocessor_config.json: not usable"),
        ({"rescale_factor": 0}, "preprocessor_config.json: not usable"),
    ],
)
def test_unsupported_processors(make: Make, changes: dict[str, Any], message: str) -> None:
    folder = make(processor=preprocessor())
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ConfigError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    path.write_text("[")
    with pytest.raises(ModelError, match="not readable as JSON"):
        load_model(folder)


def test_whole_frames_may_be_squashed(make: Make) -> None:
    folder = make(processor=preprocessor())
    path = folder / "preprocessor_config.json"
    size = {"size": {"height": 32, "width": 32}, "do_center_crop": False}
    path.write_text(json.dumps(json.loads(path.read_text()) | size))
    prepare = read_config(folder).preprocess
    assert (prepare.crop, prepare.resize, prepare.size) == ("squash", 32, 32)
