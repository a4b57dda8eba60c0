from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.small import CONFIG, as_batch, sequence, small_vtn
from vtnstream.config import BackboneConfig
from vtnstream.config.loading import to_dict
from vtnstream.errors import CheckpointError, ConfigError, ModelError, OutputError, VtnstreamError
from vtnstream.models.create import create_model
from vtnstream.models.io import checkpoint
from vtnstream.models.io.checkpoint import load_model, read_config, save_model, weights_sha256


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(small_vtn(feature_norm="video_mean"), tmp_path / "deep" / "model")


def test_folder_rebuilds_the_model(folder: Path) -> None:
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    assert sorted(os.listdir(folder.parent)) == ["model"], "nothing temporary is left"
    model, loaded = small_vtn(feature_norm="video_mean"), load_model(folder)
    assert loaded.config == model.config == read_config(folder)
    assert weights_sha256(loaded) == weights_sha256(model)
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    tokens, _ = as_batch(sequence(30))
    with torch.no_grad():
        ours, theirs = loaded.forward_features(tokens), model.forward_features(tokens)
    assert torch.equal(ours.logits, theirs.logits)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_weights_have_the_mode_of_the_config(folder: Path) -> None:
    modes = {(folder / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1


def test_loading_skips_random_initialisation(folder: Path) -> None:
    before = torch.random.get_rng_state()
    load_model(folder)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_buffers_outside_the_state_dict_survive(tmp_path: Path) -> None:
    """LeViT computes index tables when it is built: they must not stay on the meta device."""
    torch.manual_seed(0)
    config = replace(CONFIG, backbone=BackboneConfig("levit_128s"))
    model = create_model(config).eval()
    loaded = load_model(save_model(model, tmp_path / "model"))
    frames = torch.randn(1, 2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(loaded(frames).logits, model(frames).logits)


def test_saving_again_replaces_both_files_and_keeps_the_rest(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    other = small_vtn(seed=3)
    save_model(other, folder)
    assert weights_sha256(load_model(folder)) == weights_sha256(other)
    assert (folder / "notes.txt").read_text() == "mine"


def test_failed_save_leaves_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        save_model(small_vtn(seed=3), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert os.listdir(folder.parent) == ["model"]


def test_half_precision_folder_loads_as_float32(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path)
    assert load_model(folder).cls_token.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": {"labels": ["one", "two"]}}, "class head has .* the config names 2"),
        ({"temporal": {"num_layers": 10**9}}, "2 temporal layers, the config has 1000000000"),
        ({"temporal": {"num_heads": 7}}, "cannot be split into 7 heads"),
        ({"temporal": {"intermediate_size": 10**9}}, "misshapen"),
        ({"temporal": {"positions": "learned"}}, "1 missing .*position_embeddings"),
        ({"feature_norm": "none"}, r"2 unexpected \(feature_norm.mean"),
        ({"backbone": {"name": "test_resnet"}}, "missing"),
        ({"backbone": {"name": "no_such_net"}}, "unknown backbone"),
        ({"sampling": {"kind": "sometimes"}}, "sampling.kind"),
        ({"labls": []}, "unknown key 'labls'"),
        ({"schema": 9}, "newer"),
    ],
)
def test_config_that_does_not_fit(folder: Path, change: dict, message: str) -> None:
    data = to_dict(read_config(folder))
    for key, value in change.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    (folder / "config.json").write_text(json.dumps(data))
    with pytest.raises(VtnstreamError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00\xff", '{"head": 3}', "[" * 100_000])
def test_unreadable_config(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises((ModelError, ConfigError)) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value) and "config.json" in str(caught.value)


def test_damaged_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="not a readable weights file"):
        load_model(folder)
    tensors["cls_token"] = torch.full_like(tensors["cls_token"], float("inf"))
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match="cls_token holds numbers that are not finite"):
        load_model(folder)
    tensors["cls_token"] = torch.full_like(tensors["cls_token"], 3e38)  # the sum overflows
    save_file(tensors, path)
    assert bool((load_model(folder).cls_token == 3e38).all())
    path.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load_model(folder)


def test_unknown_model_names_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match="preset, without trained weights"):
        load_model("vtn-vit-b-3l")
    with pytest.raises(ModelError, match=r"no such model folder; name one that .*models list"):
        load_model(str(tmp_path / "absent"))
    with pytest.raises(ModelError, match=r"folder with config\.json"):
        load_model(folder / "config.json")
    with pytest.raises(ModelError, match=r"no config\.json in it; name one that .*models list"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match="hf://org/name"):
        load_model("hf://nonsense")


def test_offline_hub_is_one_line(tmp_path: Path) -> None:
    code = """
from vtnstream.errors import ModelError
from vtnstream.models.io.checkpoint import load_model
for name in ("some/model", "hf://some/model@v1"):
    try:
        load_model(name)
    except ModelError as error:
        print(error)
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    lines = run.stdout.splitlines()
    assert len(lines) == 2
    assert all("offline" in line and "some/model" in line for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["models", "show", "some/model"],
        ["models", "download", "siglip2-base"],
        ["models", "push", "FOLDER", "some/model"],
    ],
)
def test_a_hub_that_cannot_be_reached_is_one_line_at_once(
    tmp_path: Path, folder: Path, arguments: list[str]
) -> None:
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}  # a closed port
    environment |= {"HF_HUB_OFFLINE": "0", "VTNSTREAM_CACHE_DIR": str(tmp_path / "cache")}
    words = [str(folder) if word == "FOLDER" else word for word in arguments]
    run = subprocess.run(
        [sys.executable, "-m", "vtnstream", *words],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2 and run.stdout == ""
    *told, line = run.stderr.splitlines()  # no line of the client, which would retry for long
    assert all(one.startswith("vtnstream: siglip2-base: ") for one in told)
    assert "http://127.0.0.1:9 cannot be reached: connect to it" in line


def test_hub_cache_works_offline(tmp_path: Path, folder: Path) -> None:
    """A downloaded repository loads from the cache of the Hub without a network."""
    repository = tmp_path / "hub" / "models--some--model"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    code = """
from vtnstream.cli.framework.process_settings import postpone_compiler
postpone_compiler()
from vtnstream.models.io.checkpoint import load_model, weights_sha256
print(weights_sha256(load_model("hf://some/model")))
"""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == weights_sha256(small_vtn(feature_norm="video_mean"))
