"""The convolutional temporal encoder: blocks, padding, streams, members, export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vtnstream.config import BackboneConfig, HeadConfig, ModelConfig, TemporalConfig
from vtnstream.errors import ConfigError, UsageError
from vtnstream.models.create import create_model
from vtnstream.models.io.checkpoint import load_model, save_model
from vtnstream.models.io.export import export_model
from vtnstream.models.layers import dilated
from vtnstream.models.layers.dilated import banded_attention
from vtnstream.models.long_sequence import convolution
from vtnstream.models.long_sequence.online import OnlineModel
from vtnstream.models.long_sequence.streaming import encode_sequence
from vtnstream.models.long_sequence.windows import encode_windows
from vtnstream.models.vtn.model import VTN
from vtnstream.scoring.analyze import attention_map
from vtnstream.types import Features, TokenTimes

WIDTH = 64
"""D of timm's test_vit."""


def model(seed: int = 0, norm: str = "dataset", **temporal: object) -> VTN:
    settings = {
        "kind": "tcn",
        "positions": "none",
        "num_layers": 3,
        "num_stages": 2,
        "hidden_size": 8,
        "num_heads": 1,
        "token_inputs": "feature+difference",
        **temporal,
    }
    torch.manual_seed(seed)
    made = create_model(
        ModelConfig(
            backbone=BackboneConfig("test_vit"),
            feature_norm=norm,
            temporal=TemporalConfig(**settings),  # type: ignore[arg-type]
            head=HeadConfig(labels=("x", "y"), dense_labels=("a", "b", "c")),
        )
    )
    assert isinstance(made, VTN)
    return made.eval()


def sequence(count: int, seed: int = 0, missing: tuple[int, ...] = ()) -> Features:
    indices = np.array([i for i in range(count) if i not in missing], np.int64)
    values = np.random.default_rng(seed).normal(size=(len(indices), WIDTH)).astype(np.float32)
    return Features(values, TokenTimes(indices, indices * 512, indices / 2.0, (indices + 1) / 2.0))


def plain(tcn: VTN, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        output = tcn.forward_features(
            torch.tensor(features.values)[None], indices=torch.tensor(features.times.indices)[None]
        )
    assert output.logits is not None and output.dense_logits is not None
    return output.logits[0], output.dense_logits[0]


def attending(seed: int = 0, **temporal: object) -> VTN:
    """Build a model whose local attention has an effect, unlike that of a new one."""
    made = model(seed, num_heads=2, local_attention=True, **temporal)
    for name, parameter in made.temporal_encoder.named_parameters():
        if ".attention.output." in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return made


@pytest.mark.parametrize("make", [model, attending])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [0, 1, 2, 7, 40, 131])
def test_blocks_equal_the_whole(
    length: int, causal: bool, make: Callable[..., VTN], monkeypatch: pytest.MonkeyPatch
) -> None:
    tcn = make(causal=causal)
    features = sequence(length, missing=(5, 6))
    logits, dense = plain(tcn, features)
    monkeypatch.setattr(convolution, "BLOCK", 1)
    for size in (1, 3, 16, 1000):
        made = encode_sequence(tcn, features, block_size=size)
        assert made.logits is not None and made.dense_logits is not None
        np.testing.assert_allclose(made.logits, logits, atol=1e-5)
        np.testing.assert_allclose(made.dense_logits, dense, atol=1e-5)


@pytest.mark.parametrize("make", [model, attending])
def test_padding_changes_nothing(make: Callable[..., VTN]) -> None:
    tcn = make()
    features = torch.randn(2, 30, WIDTH)
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[1, 11:] = False
    with torch.inference_mode():
        both = tcn.forward_features(features, padding_mask=mask)
        alone = tcn.forward_features(features[1:, :11])
    assert both.dense_logits is not None and alone.dense_logits is not None
    assert both.logits is not None and alone.logits is not None
    torch.testing.assert_close(both.dense_logits[1, :11], alone.dense_logits[0])
    torch.testing.assert_close(both.logits[1], alone.logits[0])


@pytest.mark.parametrize("make", [model, attending])
def test_causal_mode_ignores_later_tokens(make: Callable[..., VTN]) -> None:
    tcn = make(causal=True)
    features = sequence(50)
    before = plain(tcn, features)[1][:30]
    features.values[30:] += 5.0
    torch.testing.assert_close(plain(tcn, features)[1][:30], before)
    seeing = model()
    features = sequence(50)
    before = plain(seeing, features)[1][:30]
    features.values[30:] += 5.0
    assert not torch.allclose(plain(seeing, features)[1][:30], before)


@pytest.mark.parametrize("make", [model, attending])
@pytest.mark.parametrize("parts", [(1,) * 40, (7, 1, 20, 12)])
def test_a_stream_equals_the_whole(parts: tuple[int, ...], make: Callable[..., VTN]) -> None:
    tcn = make(causal=True, norm="running_mean")
    features = sequence(40)
    logits, dense = plain(tcn, features)
    online = OnlineModel(tcn)
    start, said = 0, []
    for count in parts:
        stop = start + count
        said.append(
            online.push(
                torch.tensor(features.values[start:stop]),
                torch.tensor(features.times.indices[start:stop]),
            )
        )
        start = stop
    got = torch.cat([part.dense_logits for part in said if part.dense_logits is not None])
    torch.testing.assert_close(got, dense, atol=1e-5, rtol=1e-5)
    assert said[-1].logits is not None
    torch.testing.assert_close(said[-1].logits[-1], logits, atol=1e-5, rtol=1e-5)
    half = sum(parts[: len(parts) // 2])
    until = Features(features.values[:half], sequence(half).times)
    middle = said[len(parts) // 2 - 1].logits
    assert middle is not None
    torch.testing.assert_close(middle[-1], plain(tcn, until)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [model, attending])
def test_members_average_their_probabilities(make: Callable[..., VTN]) -> None:
    alone = [make(seed) for seed in (1, 2)]
    for one in alone[1:]:  # the class head reads all members: not compared here
        one.feature_norm.load_state_dict(alone[0].feature_norm.state_dict())
    team = make(members=2)
    state = team.state_dict()
    for name in state:
        parts = [one.state_dict()[name] for one in alone]
        if name.startswith("input_projection.") or "temporal_encoder" in name or "dense" in name:
            state[name] = torch.cat(parts)
    team.load_state_dict(state)
    features = sequence(33)
    means = torch.stack([plain(one, features)[1].softmax(-1) for one in alone]).mean(0)
    torch.testing.assert_close(plain(team, features)[1].softmax(-1), means)


def test_a_linear_model_is_linear_in_its_context() -> None:
    tcn = model(
        num_layers=0, num_stages=1, hidden_size=0, token_inputs="feature+context", context=2
    )
    assert isinstance(tcn.input_projection, torch.nn.Identity)
    features = sequence(9)
    _, dense = plain(tcn, features)
    assert tcn.dense_head is not None
    weight, bias = (p.detach().numpy() for p in tcn.dense_head.parameters())
    x = features.values
    for token, before, after in ((4, x[2:4], x[5:7]), (1, x[:1], x[2:4]), (0, x[:1], x[1:3])):
        inputs = np.concatenate([x[token], before.mean(0), after.mean(0)])
        np.testing.assert_allclose(dense[token], weight[0] @ inputs + bias[0], atol=1e-5)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 3), (8, 0), (100, 100)])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 150])
@pytest.mark.parametrize("short", [512, 0])
def test_banded_attention_equals_a_full_matrix(
    length: int, before: int, after: int, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dilated, "_SHORT", short)
    torch.manual_seed(length)
    query, key, value = torch.randn(3, 2, length, 2, 4).unbind(0)
    valid = torch.rand(2, length) > 0.3
    place = torch.arange(length)
    ahead = place[None] - place[:, None]
    near = (ahead >= -before) & (ahead <= after)
    visible = near & (valid[:, None] | (ahead == 0))
    scores = torch.einsum("bthe,bshe->bhts", query, key) / 2
    weights = scores.masked_fill(~visible[:, None], -torch.inf).softmax(-1)
    expected = torch.einsum("bhts,bshe->bthe", weights, value)
    got = banded_attention(query, key, value, before, after, valid)
    torch.testing.assert_close(got, expected)


def test_new_attention_is_the_identity() -> None:
    plain_model, new = model(), model(num_heads=2, local_attention=True)
    new.load_state_dict({**new.state_dict(), **plain_model.state_dict()})
    features = sequence(40)
    torch.testing.assert_close(plain(new, features)[1], plain(plain_model, features)[1])
    new.temporal_encoder.reset_parameters()
    for name, parameter in new.temporal_encoder.named_parameters():
        assert bool(parameter.any()) != (".attention.output." in name)


@pytest.mark.slow
@pytest.mark.parametrize("make", [model, attending])
def test_it_is_exported(tmp_path: Path, make: Callable[..., VTN]) -> None:
    programs = export_model(make(), tmp_path / "exported", format="pt2")
    assert max(program.difference for program in programs) < 1e-4


def test_it_is_saved_and_windowed(tmp_path: Path) -> None:
    tcn = model()
    save_model(tcn, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert isinstance(again, VTN)
    features = sequence(60)
    torch.testing.assert_close(plain(again, features)[1], plain(tcn, features)[1])
    windows = dict(encode_windows(tcn, features, starts=[0, 20], window=16))
    with torch.inference_mode():
        tokens = tcn.embed_features(torch.tensor(features.values)[None])[:, 20:36]
        logits = tcn.class_logits(tcn.encode_tokens(tokens)[:, 0])[0]
    np.testing.assert_allclose(windows[20], logits, atol=1e-5)


def test_temperature_divides_logits() -> None:
    tcn = model()
    features = sequence(20)
    logits, dense = plain(tcn, features)
    head = HeadConfig(
        labels=("x", "y"), dense_labels=("a", "b", "c"), temperature=2.0, dense_temperature=4.0
    )
    from dataclasses import replace

    tcn.config = replace(tcn.config, head=head)
    torch.testing.assert_close(plain(tcn, features)[0], logits / 2)
    torch.testing.assert_close(plain(tcn, features)[1], dense / 4)


def test_unsupported_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="positions has no effect on the kind tcn"):
        TemporalConfig(kind="tcn", positions="rotary")
    with pytest.raises(ConfigError, match=r"temporal\.num_stages, temporal\.members and"):
        TemporalConfig(num_stages=2)
    with pytest.raises(ConfigError, match="need the kind tcn"):
        TemporalConfig(local_attention=True)
    with pytest.raises(ConfigError, match="needs num_layers and hidden_size"):
        TemporalConfig(kind="tcn", positions="none", local_attention=True)
    with pytest.raises(ConfigError, match="compares a token with later ones"):
        model(causal=True, token_inputs="feature+context")
    with pytest.raises(UsageError, match="train one that does with --recipe attention"):
        attention_map(model(), sequence(5))


def test_dropped_inputs_are_the_same_at_all_tokens() -> None:
    tcn = model(input_dropout=0.5, token_inputs="feature", dropout=0.0).train()
    tcn.input_projection = torch.nn.Identity()
    inputs = torch.ones(3, 5, WIDTH)
    made = tcn.project(inputs)
    assert torch.equal(made, made[:, :1].expand_as(made))
    assert 0.2 < float((made == 0).float().mean()) < 0.8
    assert not torch.equal(made[0], made[1])
    assert torch.equal(tcn.eval().project(inputs), inputs)


def test_fast_dropout_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = dilated.FastDropout(0.25)
    made = layer(torch.ones(200, 100))
    assert float((made == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(made.mean()) == pytest.approx(1, abs=0.02)
    assert made.unique().tolist() == pytest.approx([0, 4 / 3])
    states = torch.randn(4, 4)
    assert layer.eval()(states) is states
    assert dilated.FastDropout(0.0)(states) is states
