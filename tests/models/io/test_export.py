"""Exported programs against the model, at lengths on both sides of every border."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.small import CONFIG, TEMPORAL, stir
from vtnstream.cli.main import main
from vtnstream.config import BackboneConfig, HeadConfig, PreprocessConfig, SamplingConfig
from vtnstream.config.vivit import ViViTConfig
from vtnstream.errors import ModelError
from vtnstream.models.architectures import VideoModel, build_model
from vtnstream.models.io import export
from vtnstream.models.io.checkpoint import load_model, read_config, save_model
from vtnstream.models.io.export import export_model

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # inside torch's tracer and onnx
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
Run = Callable[..., list[torch.Tensor]]
LENGTHS = (1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129, 257, 512, 513, 1000, 1600, 3136)


def small(**temporal: object) -> VideoModel:
    torch.manual_seed(0)
    config = replace(
        CONFIG,
        preprocess=PreprocessConfig(size=32, resize=32),
        backbone=BackboneConfig("test_vit", {"img_size": 32, "depth": 1}),
        temporal=replace(TEMPORAL, **{"num_layers": 1, **temporal}),
    )
    model = build_model(config).eval()
    stir(model)
    return model


def sequences(batch: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    indices = torch.randint(1, 4, (batch, length)).cumsum(1)
    return torch.randn(batch, length, 64), indices


def opened(path: Path) -> Run:
    """Return a function that runs the program in a file."""
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()

        def run_pt2(*inputs: torch.Tensor) -> list[torch.Tensor]:
            with torch.no_grad():
                return list(module(*inputs))

        return run_pt2
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run_onnx(*inputs: torch.Tensor) -> list[torch.Tensor]:
        named = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return [torch.from_numpy(np.asarray(each)) for each in session.run(None, named)]

    return run_onnx


def assert_temporal_equal(model: VideoModel, folder: Path, format: str) -> None:
    run = opened(folder / f"temporal.{format}")
    for length in LENGTHS:
        features, indices = sequences(1 + length % 3, length)
        with torch.no_grad():
            wanted = model.forward_features(features, indices=indices)
        for ours, theirs in zip(wanted, run(features, indices), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4, msg=f"at {length}")


@pytest.mark.parametrize("format", ["pt2", "onnx"])
def test_both_parts_equal_the_model(
    tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_model(small(), tmp_path / "model")
    made = tmp_path / "deep" / "out"
    command = ["models", "export", str(folder), "-o", str(made), "--format", format]
    assert main([*command, "--json"]) == 0
    programs = json.loads(capsys.readouterr().out)
    assert [Path(program["path"]).name for program in programs] == [
        f"backbone.{format}",
        f"temporal.{format}",
    ]
    assert programs[1]["outputs"] == ["logits", "dense_logits"]
    assert sorted(p.name for p in made.iterdir()) == [
        f"backbone.{format}",
        "config.json",
        f"temporal.{format}",
    ]
    assert read_config(made) == read_config(folder)
    model = load_model(folder)
    assert_temporal_equal(model, made, format)
    run = opened(made / f"backbone.{format}")
    for count in (1, 3, 9):
        frames = torch.randn(count, 3, 32, 32)
        with torch.no_grad():
            wanted = model.encode_frames(frames)
        torch.testing.assert_close(run(frames)[0], wanted, rtol=1e-4, atol=1e-4)
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_program_that_differs_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="backbone differs from the model: features by"):
        export_model(small(), tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("format", ["pt2", "onnx"])
@pytest.mark.parametrize(
    "temporal",
    [
        {"positions": "learned", "num_layers": 2},
        {"positions": "fixed"},
        {"positions": "none", "global_attention": False},
        {"attention_window": (600, 100), "num_layers": 2},
        {"attention_window": (4,), "num_heads": 1},
        {"token_inputs": "feature+difference+similarity"},
        {"hidden_size": 32},
    ],
)
def test_every_kind_of_temporal_encoder(tmp_path: Path, format: str, temporal: dict) -> None:
    model = small(**temporal)
    export_model(model, tmp_path, format=format)
    assert_temporal_equal(model, tmp_path, format)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["pt2", "onnx"])
@pytest.mark.parametrize("norm", ["dataset", "video_mean", "running_mean"])
def test_feature_norm_is_inside(tmp_path: Path, format: str, norm: str) -> None:
    config = replace(small().config, feature_norm=norm)
    model = build_model(config).eval()
    stir(model)
    model.feature_norm.set_statistics(torch.randn(64), torch.rand(64) + 0.5)
    export_model(model, tmp_path, format=format)
    assert_temporal_equal(model, tmp_path, format)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["pt2", "onnx"])
@pytest.mark.parametrize("form", ["factorised-encoder", "joint"])
def test_vivit(tmp_path: Path, format: str, form: str) -> None:
    config = replace(
        CONFIG,
        architecture="vivit",
        sampling=SamplingConfig(kind="uniform"),
        preprocess=PreprocessConfig(size=32, resize=32),
        backbone=BackboneConfig("test_vit", {"img_size": 32}),
        temporal=type(TEMPORAL)(),
        vivit=ViViTConfig(form=form, num_frames=8, temporal_layers=2),
        head=HeadConfig(labels=("a", "b")),
    )
    model = build_model(config).eval()
    stir(model)
    programs = export_model(model, tmp_path, format=format)
    assert [program.outputs for program in programs] == [("features",), ("logits",)]
