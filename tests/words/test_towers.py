"""Towers of transformers through timm, tokenising, and folders that are wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.words.towers import FAMILIES, PATCH, SIDE, write_model
from vtnstream.errors import ModelError, UsageError, VtnstreamError
from vtnstream.words.folder import read_words_config
from vtnstream.words.model import ImageTextModel, open_words
from vtnstream.words.prompts import canonical, prompts_of
from vtnstream.words.queries import parse_label
from vtnstream.words.text import make_tokeniser, pooled, text_vectors


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("towers")
    return {family: write_model(root / family, family) for family in FAMILIES}


def opened(folder: Path) -> ImageTextModel:
    model = open_words(folder)
    assert model is not None
    return model


def whole(folder: Path) -> Any:
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder).eval()


def patches(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """What SigLIP 2 of free aspect ratio reads: rows of patches."""
    rows = pixels.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # B 3 h w p p
    count, _, high, wide = rows.shape[:4]
    rows = rows.permute(0, 2, 3, 4, 5, 1).reshape(count, high * wide, -1)
    return {
        "pixel_values": rows,
        "pixel_attention_mask": torch.ones(count, high * wide, dtype=torch.long),
        "spatial_shapes": torch.tensor([[high, wide]] * count),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_the_image_tower_equals_that_of_transformers(family: str, folders: dict[str, Path]) -> None:
    model, theirs = opened(folders[family]), whole(folders[family])
    pixels = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    inputs = patches(pixels) if family == "siglip2" else {"pixel_values": pixels}
    with torch.no_grad():
        expected = pooled(theirs.get_image_features(**inputs)).numpy()
        found = model.project(model.image_tower()(pixels).numpy())
    assert found.shape == (3, model.config.size)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_text_tower_equals_that_of_transformers(family: str, folders: dict[str, Path]) -> None:
    model, theirs = opened(folders[family]), whole(folders[family])
    prompts = ["a dog runs", "the red corner"]
    tokens = make_tokeniser(folders[family], model.config)(prompts)
    with torch.no_grad():
        expected = pooled(theirs.get_text_features(**tokens)).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = text_vectors(folders[family], model.config, prompts)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_vectors_of_both_generations_of_transformers_are_read() -> None:
    vectors = torch.ones(2, 3)
    states = torch.zeros(2, 5, 3)
    assert pooled(vectors) is vectors
    assert pooled(SimpleNamespace(pooler_output=vectors, last_hidden_state=states)) is vectors
    with pytest.raises(ModelError, match="without vectors"):
        pooled(SimpleNamespace(last_hidden_state=states))


GOLDEN = {
    "siglip": ([35, 31, 3, 7, 1], 64),
    "siglip2-fixed": ([262, 284, 301, 284, 306, 1, 0], 64),
    "siglip2": ([262, 284, 301, 284, 306, 1, 0], 64),
    "clip": ([0, 26, 64, 1, 69, 1, 1], 77),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_token_ids_are_as_in_training(family: str, folders: dict[str, Path]) -> None:
    tokens = make_tokeniser(folders[family], opened(folders[family]).config)(["A Dog, runs!"])
    first, length = GOLDEN[family]
    assert tokens["input_ids"].shape == (1, length)
    assert tokens["input_ids"][0, : len(first)].tolist() == first
    assert ("attention_mask" in tokens) == (family == "clip")


def test_the_canonical_form() -> None:
    assert canonical("  A Dog's_day,\tOUT! ") == "a dogs day out"
    assert canonical("Ein Fußball-Tor") == "ein fußballtor"
    label = parse_label("goal")
    assert prompts_of(label) == ("goal", "a photo of goal", "a video frame of goal")
    assert prompts_of(parse_label("goal = a ball in the net")) == ("a ball in the net",)


def test_prompts_that_cannot_be_read_are_said(folders: dict[str, Path]) -> None:
    tokenise = make_tokeniser(folders["siglip2"], opened(folders["siglip2"]).config)
    with pytest.raises(UsageError, match=r"has \d+ tokens, the model reads 64"):
        tokenise(["a dog " * 40])
    with pytest.raises(UsageError, match="no letter or digit"):
        tokenise(["?!"])


def test_text_vectors_are_kept_and_the_tower_is_not_loaded_again(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened(folders["clip"])
    labels = [parse_label("dog"), parse_label("goal = the goal | a replay")]
    first = model.label_vectors(labels, cache_dir=tmp_path)
    for vector in first:
        assert np.linalg.norm(vector) == pytest.approx(1)

    def refuse(*_: Any) -> None:
        raise AssertionError("the text tower was loaded")

    monkeypatch.setattr("vtnstream.words.text.load_text_tower", refuse)
    again = model.label_vectors(labels, cache_dir=tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    with pytest.raises(AssertionError):
        model.label_vectors([parse_label("cat")], cache_dir=tmp_path)
    with pytest.raises(AssertionError):
        model.label_vectors(labels, cache_dir=tmp_path, use_cache=False)


def test_vectors_of_another_model_are_not_taken(folders: dict[str, Path], tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", "clip", seed=1)
    labels = [parse_label("dog")]
    first = opened(folders["clip"]).label_vectors(labels, cache_dir=tmp_path)[0]
    second = opened(other).label_vectors(labels, cache_dir=tmp_path)[0]
    assert np.abs(first - second).max() > 0.01


def test_a_damaged_store_of_vectors_is_said(folders: dict[str, Path], tmp_path: Path) -> None:
    model, labels = opened(folders["clip"]), [parse_label("dog")]
    model.label_vectors(labels, cache_dir=tmp_path)
    (file,) = (tmp_path / "words").glob("*.sqlite")
    file.write_bytes(b"no database" * 100)
    with pytest.raises(VtnstreamError, match="remove the file"):
        model.label_vectors(labels, cache_dir=tmp_path)


def edit(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        data = json.loads(path.read_text("utf-8"))
        for key, value in changes.items():
            data[key] = {**data[key], **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(data), "utf-8")

    return change


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def without(prefix: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = folder / "model.safetensors"
        state = {k: v for k, v in load_file(path).items() if not k.startswith(prefix)}
        save_file(state, path)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("model.safetensors"), "download is incomplete"),
        (truncate, "download is incomplete"),
        (remove("preprocessor_config.json"), "how frames are prepared"),
        (remove("vocab.json"), "tokeniser cannot be loaded"),
        (without("text_model."), "holds? no text tower|are missing"),
        (without("text_model.final_layer_norm"), "tensors of the text tower are missing"),
        (without("vision_model."), "no image tower"),
        (without("vision_model.pre_layrnorm"), "missing"),
        (without("visual_projection"), "visual_projection.weight is missing"),
        (edit("config.json", projection_dim=12), "do not belong together|of another shape"),
        (edit("config.json", text_config={"vocab_size": 40}), "belong together|another shape"),
        (edit("config.json", model_type="clip_vision_model"), "without a text tower"),
        (edit("config.json", vision_config={"hidden_act": "relu"}), "activation 'relu'"),
        (edit("config.json", vision_config={"image_size": 30}), "cannot be divided into patches"),
        (edit("preprocessor_config.json", resample=0), "resampling 0"),
    ],
)
def test_wrong_folders_are_one_line(
    change: Callable[[Path], None], message: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "wrong"
    shutil.copytree(folders["clip"], folder)
    change(folder)
    with pytest.raises(ModelError, match=message) as caught:
        model = opened(folder)
        model.image_tower()
        model.project(np.zeros((1, model.config.image_size), np.float32))
        model.label_vectors([parse_label("dog")], use_cache=False)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_towers_of_different_sizes_do_not_belong_together(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "wrong"
    shutil.copytree(folders["siglip2"], folder)
    edit("config.json", text_config={"projection_size": 12})(folder)
    with pytest.raises(ModelError, match="12 numbers and the image tower 24"):
        opened(folder)


def test_defaults_are_those_of_transformers(tmp_path: Path) -> None:
    from transformers import CLIPConfig, Siglip2Config, SiglipConfig

    kinds = {"clip": CLIPConfig(), "siglip": SiglipConfig(), "siglip2": Siglip2Config()}
    for kind, config in kinds.items():
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": kind}), "utf-8")
        mean = [0.5, 0.5, 0.5]
        (folder / "preprocessor_config.json").write_text(
            json.dumps({"image_mean": mean, "image_std": mean}), "utf-8"
        )
        found = read_words_config(folder)
        vision, text = config.vision_config, config.text_config
        arguments = found.backbone.arguments
        assert arguments["embed_dim"] == vision.hidden_size
        assert arguments["depth"] == vision.num_hidden_layers == found.num_layers
        assert arguments["num_heads"] == vision.num_attention_heads
        assert arguments["patch_size"] == vision.patch_size
        assert arguments["mlp_ratio"] == vision.intermediate_size / vision.hidden_size
        assert (found.max_tokens, found.vocabulary) == (
            text.max_position_embeddings,
            text.vocab_size,
        )
        assert found.size == (config.projection_dim if kind == "clip" else vision.hidden_size)


def test_other_folders_are_of_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"name": "vtn"}', "utf-8")
    assert open_words(tmp_path) is None
    assert open_words("no-such-thing") is None
