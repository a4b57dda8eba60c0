"""TrainConfig from TOML, presets, flags and key=value."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vtnstream.config import TrainConfig
from vtnstream.errors import ConfigError, UsageError
from vtnstream.training.settings import parse_assignments, train_config


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "train.toml"
    path.write_text(text)
    return path


def test_the_defaults_need_no_file() -> None:
    assert train_config() == TrainConfig()


def test_a_table_changes_only_the_keys_it_has(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'annotations = "labels.csv"\n[temporal]\nnum_layers = 3\n[optim]\nlearning_rate = 2e-3\n'
        "[sampling]\nfps = '1/2'\n[preprocess]\nmean = [0.5, 0.5, 0.5]\n",
    )
    config = train_config(path)
    assert config.temporal.num_layers == 3
    assert config.temporal.hidden_size == TrainConfig().temporal.hidden_size
    assert config.optim.learning_rate == 2e-3
    assert config.optim.epochs == TrainConfig().optim.epochs
    assert config.sampling.fps == Fraction(1, 2)
    assert config.annotations == str(tmp_path / "labels.csv")
    assert dict(config.preprocess) == {"mean": [0.5, 0.5, 0.5]}


def test_overrides_are_applied_last_and_none_is_ignored(tmp_path: Path) -> None:
    path = write(tmp_path, "seed = 3\n[optim]\nepochs = 5\n")
    config = train_config(path, {"optim.epochs": 7, "seed": None, "output": "m"})
    assert (config.optim.epochs, config.seed, config.output) == (7, 3, "m")


def test_a_preset_replaces_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, 'preset = "vtn-vit-b"\n[temporal]\nnum_layers = 1\n')
    config = train_config(path)
    assert config.backbone.name.startswith("vit_base_patch16_224")
    assert config.temporal.num_heads == 12
    assert config.temporal.num_layers == 1
    assert config.sampling.kind == "uniform"
    with pytest.raises(UsageError, match="did you mean 'vtn-vit-b'"):
        train_config(None, {"preset": "vtn-vit-bb"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch = 3", "unknown key 'epoch'"),
        ("[optim]\nepochs = 0", "optim.epochs must be positive"),
        ("[optim]\nschedule = 'steps'", "optim.schedule must be one of"),
        ("[optim]\nlearning_rate = 'fast'", "learning_rate: expected float"),
        ("[data]\nvalidation = 1.5", "share from 0 to 1"),
        ("[head]\nlabels = ['a', 'b']", "labels come from the annotations"),
        ("weights = 'w'\npretrained = true", "exclude each other"),
        ("task = ", "not readable as TOML"),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=words) as caught:
        train_config(path)
    assert str(path) in str(caught.value)


def test_assignments_are_parsed_as_toml_or_text() -> None:
    got = parse_assignments(["optim.epochs=3", "a=1e-3", "b=[1, 2]", "c=deit_tiny", "d='x=y'"])
    assert got == {"optim.epochs": 3, "a": 1e-3, "b": [1, 2], "c": "deit_tiny", "d": "x=y"}
    with pytest.raises(ConfigError, match="not key=value"):
        parse_assignments(["optim.epochs"])


def test_a_kind_of_encoder_may_replace_its_table(tmp_path: Path) -> None:
    path = write(tmp_path, 'temporal = "transformers:BertModel"\n')
    temporal = train_config(path).temporal
    assert temporal.transformers_class == "BertModel" and temporal.positions == "learned"
    assert temporal.hidden_size == TrainConfig().temporal.hidden_size
    flags = train_config(None, {"temporal": "full", "temporal.num_layers": 1}).temporal
    assert (flags.kind, flags.num_layers) == ("full", 1)
    with pytest.raises(ConfigError, match=r"temporal\.kind must be longformer, full, tcn or"):
        train_config(None, {"temporal": "lstm"})
