from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.models.small import TEMPORAL, stir
from vtnstream.errors import ModelError
from vtnstream.models.layers.attention import GlobalSoftmax
from vtnstream.models.vtn.temporal import TemporalEncoder

SIZE = 32
POSITIONS = ("rotary", "learned", "fixed", "none")


def encoder(**changes: object) -> TemporalEncoder:
    torch.manual_seed(0)
    made = TemporalEncoder(replace(TEMPORAL, **changes), SIZE).eval()  # type: ignore[arg-type]
    stir(made, 0.3)
    return made


def inputs(length: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, length, SIZE), torch.randn(1, 1, SIZE).expand(batch, -1, -1)


@pytest.mark.parametrize("positions", POSITIONS)
def test_padding_changes_nothing(positions: str) -> None:
    model = encoder(positions=positions)
    tokens, cls = inputs(40, 2)
    mask = torch.ones(2, 40, dtype=torch.bool)
    mask[1, 23:] = False
    with torch.no_grad():
        both = model(tokens, cls, padding_mask=mask)
        alone = model(tokens[1:, :23], cls[1:])
        tokens[1, 23:] = -1.0
        other = model(tokens, cls, padding_mask=mask)
    torch.testing.assert_close(both[1:, :24], alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other[1, :24], both[1, :24], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_cls_only_does_not_change_cls(positions: str) -> None:
    model = encoder(positions=positions)
    tokens, cls = inputs(37)
    with torch.no_grad():
        whole, first = model(tokens, cls), model(tokens, cls, cls_only=True)
    assert first.shape == (1, 1, SIZE)
    torch.testing.assert_close(first, whole[:, :1])


def test_empty_sequence() -> None:
    tokens, cls = inputs(0)
    assert encoder()(tokens, cls).shape == (1, 1, SIZE)


def test_rotary_positions_depend_on_distance_only() -> None:
    model = encoder(positions="rotary")
    tokens, cls = inputs(30)
    indices = torch.arange(30)[None]
    gap = indices + 50 * (indices >= 15)
    with torch.no_grad():
        here, later, apart = (
            model(tokens, cls, indices=i) for i in (indices, indices + 40_000, gap)
        )
    torch.testing.assert_close(later, here, rtol=1e-4, atol=1e-5)
    assert (apart - here)[:, 12:20].abs().max() > 1e-3


@pytest.mark.parametrize("positions", ["learned", "fixed"])
def test_absolute_positions_depend_on_position(positions: str) -> None:
    model = encoder(positions=positions)
    tokens, cls = inputs(10)
    indices = torch.arange(10)[None]
    with torch.no_grad():
        difference = model(tokens, cls, indices=indices) - model(tokens, cls, indices=indices + 7)
    assert difference.abs().max() > 1e-3


def test_no_positions_ignores_indices() -> None:
    model = encoder(positions="none")
    tokens, cls = inputs(10)
    indices = torch.arange(10)[None]
    with torch.no_grad():
        assert torch.equal(
            model(tokens, cls, indices=indices), model(tokens, cls, indices=indices * 9)
        )


def test_global_attention_reaches_beyond_the_window() -> None:
    """A change at the start reaches the last token through [CLS], and only through it."""
    for global_attention, reaches in ((True, True), (False, False)):
        model = encoder(global_attention=global_attention)
        tokens, cls = inputs(120)
        with torch.no_grad():
            before = model(tokens, cls)
            tokens[:, 0] = torch.randn(SIZE)
            after = model(tokens, cls)
        assert ((after - before)[:, -1].abs().max() > 1e-4) == reaches
        assert ((after - before)[:, 0].abs().max() > 1e-4) == reaches, "[CLS] itself"


def test_without_global_attention_tokens_ignore_cls() -> None:
    model = encoder(global_attention=False)
    tokens, cls = inputs(40)
    with torch.no_grad():
        assert torch.equal(model(tokens, cls)[:, 1:], model(tokens, torch.randn_like(cls))[:, 1:])


@pytest.mark.parametrize("positions", POSITIONS)
def test_every_parameter_is_trained(positions: str) -> None:
    model = encoder(positions=positions).train()
    tokens, cls = inputs(40, 2)
    mask = torch.ones(2, 40, dtype=torch.bool)
    mask[1, 30:] = False
    output = model(tokens, cls.clone(), padding_mask=mask)
    (output * torch.randn_like(output)).sum().backward()
    for name, parameter in model.named_parameters():
        if name.endswith("key_global.bias"):  # the softmax ignores it
            continue
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        if not name.endswith(".key.bias"):
            assert parameter.grad.abs().max() > 0, name


def test_attention_dropout_keeps_the_mean() -> None:
    model = encoder(dropout=0.0, attention_dropout=0.4, num_layers=1)
    tokens, cls = inputs(50)
    with torch.no_grad():
        attention = model.layers[0].attention.self
        exact = attention.end_global(_seen(attention.begin_global(cls), tokens))
        attention.train()
        draws = [
            attention.end_global(_seen(attention.begin_global(cls), tokens)) for _ in range(3000)
        ]
    assert draws[0].sub(draws[1]).abs().max() > 1e-3
    torch.testing.assert_close(torch.stack(draws).mean(0), exact, rtol=0.1, atol=0.05)


def _seen(running: GlobalSoftmax, tokens: Tensor) -> GlobalSoftmax:
    running.update(tokens)
    return running


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = TemporalEncoder(replace(TEMPORAL, positions="learned"), 256)
    weight = model.layers[0].intermediate.dense.weight.detach()
    assert abs(float(weight.std()) - 0.02) < 1e-3
    assert not model.layers[0].intermediate.dense.bias.any()
    table = model.embeddings.position_embeddings.weight.detach()
    assert float(table[:-2].std()) > 0.5
    assert float(table[-2].std()) < 0.05 and not table[-1].any()
    model.reset_parameters(positions="normal")
    assert abs(float(table[:-1].std()) - 0.02) < 1e-3
    with pytest.raises(ModelError, match="sinusoidal"):
        model.reset_parameters(positions="ones")


def test_heads_must_divide() -> None:
    with pytest.raises(ModelError, match="32 cannot be split into 5 heads"):
        TemporalEncoder(replace(TEMPORAL, num_heads=5), SIZE)
    with pytest.raises(ModelError, match="even head size"):
        TemporalEncoder(replace(TEMPORAL, num_heads=32), SIZE)
