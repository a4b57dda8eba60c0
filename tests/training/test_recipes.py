"""The recipes of the papers have the published settings, and run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.test_run import write_scenes
from vtnstream.config import (
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
    TrainConfig,
)
from vtnstream.config.shipped import shipped
from vtnstream.models.backbone import create_backbone
from vtnstream.models.io.checkpoint import load_model
from vtnstream.progress import NullProgress
from vtnstream.training.building import untrained_model
from vtnstream.training.data.clips import clip_sampling, clip_stride, clip_tokens
from vtnstream.training.optim import learning_rate
from vtnstream.training.run import train
from vtnstream.training.settings import train_config

PAPERS = ("kinetics400_vivit_b_fe.toml", "kinetics400_vtn_vit_b.toml", "mit_v2_vtn_vit_b.toml")
RECIPES = sorted(path.name for path in shipped("train").glob("*.toml"))
TINY = {
    "backbone.name": "test_vit",
    "backbone.arguments": {"img_size": 32},
    "preprocess.size": 32,
    "preprocess.resize": 36,
    "augment.short_side": [36, 44],
    "optim.epochs": 1,
    "optim.batch_size": 2,
    "data.memory_bytes": 0,
    "pretrained": False,
    "weights": "random",
}


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training videos for two steps of two; one is shorter than a clip."""
    folder = tmp_path_factory.mktemp("films")
    lines = ["path,label,split"]
    for number in range(6):
        name = ("blue", "red")[number % 2]
        write_scenes(folder / f"{number}.mp4", [(name, 1 if number == 0 else 6)], number)
        lines.append(f"{number}.mp4,{name},{'train' if number < 4 else 'validation'}")
    (folder / "annotations.csv").write_text("\n".join(lines))
    return folder / "annotations.csv"


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_valid_and_name_their_command(name: str) -> None:
    path = shipped("train") / name
    first = path.read_text().splitlines()
    assert f"train configs/train/{name}" in first[0]
    assert isinstance(train_config(path), TrainConfig)


@pytest.mark.parametrize(
    ("name", "epochs", "batch_size"),
    [
        ("kinetics400_vtn_r50.toml", 40, 32),
        ("kinetics400_vtn_r101.toml", 40, 32),
        ("kinetics400_vtn_deit_ti.toml", 60, 16),
    ],
)
def test_recipes_of_other_backbones_equal_the_paper(
    name: str, epochs: int, batch_size: int
) -> None:
    config = train_config(shipped("train") / name)
    assert (config.optim.epochs, config.optim.batch_size) == (epochs, batch_size)
    assert config.optim.schedule == "cosine"
    assert config.preprocess["resize"] == 256


def test_vivit_recipes_of_other_datasets_equal_the_paper() -> None:
    kinetics = train_config(shipped("train") / "kinetics600_vivit_l_fe.toml")
    assert (kinetics.optim.epochs, kinetics.optim.learning_rate) == (30, 5e-2)
    other = train_config(shipped("train") / "ssv2_vivit_l_fe.toml")
    assert (other.optim.epochs, other.optim.mixup, other.optim.label_smoothing) == (35, 0.3, 0.3)
    assert other.vivit is not None and other.vivit.stride == 1 and other.sampling.fps == 12.5
    assert other.preprocess["size"] == other.backbone.arguments["img_size"] == 256


@pytest.mark.parametrize(("init", "deviation"), [("normal", 0.02), ("xavier", 0.7)])
def test_the_position_table_is_initialised_as_configured(init: str, deviation: float) -> None:
    config = train_config(
        shipped("train") / "kinetics400_vtn_vit_b.toml", {**TINY, "weight_init": init}
    )
    backbone = create_backbone(config.backbone)
    shape = ModelConfig(
        backbone=config.backbone,
        temporal=TemporalConfig(num_layers=1, num_heads=4, positions="learned"),
        head=HeadConfig(labels=("a", "b")),
    )
    model = untrained_model(config, shape, backbone)
    table = model.state_dict()["temporal_encoder.embeddings.position_embeddings.weight"][:-2]
    assert float(table.std()) == pytest.approx(deviation, rel=0.1)


def test_the_kinetics_recipe_equals_the_paper(tmp_path: Path) -> None:
    config = train_config(shipped("train") / "kinetics400_vtn_vit_b.toml")
    assert config.temporal.num_layers == 3 and config.temporal.positions == "learned"
    assert config.sampling == SamplingConfig(kind="uniform", num_frames=250)
    assert (clip_stride(config), clip_sampling(config).fps) == (8, 25)
    rates = [learning_rate(epoch / 25, config) for epoch in (0, 12.9, 13, 23.9, 24, 24.9)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    assert (config.optim.optimizer, config.optim.nesterov, config.optim.decayed) == (
        *("sgd", True),
        "all",
    )
    moments = train_config(shipped("train") / "mit_v2_vtn_vit_b.toml")
    assert clip_stride(moments) == 4


def test_the_vivit_recipe_equals_the_paper() -> None:
    config = train_config(shipped("train") / "kinetics400_vivit_b_fe.toml")
    assert config.vivit is not None and config.vivit.temporal_layers == 4
    assert (clip_tokens(config), float(clip_sampling(config).fps)) == (32, 12.5)
    assert learning_rate(2.5 / 30, config) == pytest.approx(5e-2, rel=1e-3)
    assert learning_rate(1.25 / 30, config) == pytest.approx(2.5e-2, rel=1e-3)


class Steps(NullProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.mark.parametrize("name", PAPERS)
def test_recipes_run_two_steps_at_small_size(name: str, annotations: Path, tmp_path: Path) -> None:
    more: dict[str, object] = {"optim.stochastic_depth": 0.1, "augment.rand_augment": [2, 9]}
    if "vivit" in name:
        more |= {"vivit.num_frames": 4, "vivit.temporal_layers": 1}
    else:
        more |= {
            "temporal.num_layers": 1,
            "temporal.num_heads": 4,
            "temporal.intermediate_size": 64,
            "optim.mixup": 0.2,
            "optim.cutmix": 1.0,
            "optim.label_smoothing": 0.1,
        }
    output = {"annotations": str(annotations), "output": str(tmp_path / "m")}
    config = train_config(shipped("train") / name, {**TINY, **more, **output})
    progress = Steps()
    result = train(config, runtime=RuntimeConfig(device="cpu"), progress=progress)
    assert result.records[-1].steps == 2
    assert (result.num_train, result.num_validation) == (4, 2)
    assert not progress.warnings
    model = load_model(tmp_path / "m")
    assert isinstance(model.config.preprocess, PreprocessConfig)
    assert model.config.head.labels == ("blue", "red")
    assert "drop_path_rate" not in model.config.backbone.arguments
