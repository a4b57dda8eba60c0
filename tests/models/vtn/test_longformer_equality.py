"""The temporal encoder compared with LongformerModel of transformers on the same weights."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor

from tests.models.small import stir
from vtnstream.config import TemporalConfig
from vtnstream.models.vtn.temporal import TemporalEncoder

SIZE, ROWS = 32, 288


def config(windows: tuple[int, ...], layers: int) -> TemporalConfig:
    return TemporalConfig(
        num_layers=layers,
        num_heads=4,
        intermediate_size=96,
        attention_window=windows,
        positions="learned",
        max_positions=ROWS,
    )


def oracle(encoder: TemporalEncoder) -> torch.nn.Module:
    """Return the model of transformers with the same weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import LongformerConfig, LongformerModel

    ours = encoder.config
    theirs = LongformerModel(
        LongformerConfig(
            vocab_size=1,
            pad_token_id=-1,
            bos_token_id=None,
            eos_token_id=None,
            sep_token_id=None,
            hidden_size=SIZE,
            num_hidden_layers=ours.num_layers,
            num_attention_heads=ours.num_heads,
            intermediate_size=ours.intermediate_size,
            attention_window=list(ours.attention_windows),
            max_position_embeddings=ROWS,
            type_vocab_size=2,
        ),
        add_pooling_layer=False,
    ).eval()
    state = theirs.state_dict()
    words = "embeddings.word_embeddings.weight"
    assert set(state) - {words} == set(encoder.state_dict()), "parameter names differ"
    theirs.load_state_dict({words: state[words], **encoder.state_dict()})
    return theirs


def their_states(
    model: torch.nn.Module, tokens: Tensor, cls: Tensor, valid: Tensor, indices: Tensor
) -> Tensor:
    """Call transformers as in PySlowFast: padded in advance, [CLS] global, padding of value -1."""
    batch, length, size = tokens.shape
    multiple = math.lcm(*model.config.attention_window)  # type: ignore[union-attr, arg-type]
    extra = -(length + 1) % multiple
    padding = torch.zeros(batch, extra, dtype=torch.long)
    kinds = torch.zeros(batch, length + 1 + extra, dtype=torch.long)
    kinds[:, 0] = 1
    rows = torch.where(valid, indices % (ROWS - 2), ROWS - 1)
    with torch.no_grad():
        states: Tensor = model(
            inputs_embeds=torch.cat((cls, tokens, torch.full((batch, extra, size), -1.0)), 1),
            attention_mask=torch.cat((2 * torch.ones_like(kinds[:, :1]), valid.long(), padding), 1),
            position_ids=torch.cat(
                (torch.full_like(kinds[:, :1], ROWS - 2), rows, padding + ROWS - 1), 1
            ),
            token_type_ids=kinds,
        ).last_hidden_state
    return states[:, : length + 1]


@pytest.mark.parametrize(
    ("windows", "layers", "length", "batch"),
    [
        ((8,), 2, 33, 1),
        ((8,), 2, 40, 2),
        ((32,), 3, 7, 1),
        ((32,), 1, 31, 3),
        ((64,), 2, 65, 2),
        ((8, 16, 4), 3, 101, 2),
        ((32, 18), 2, 200, 3),
        ((4,), 2, 1, 1),
    ],
)
def test_equal_to_transformers(
    windows: tuple[int, ...], layers: int, length: int, batch: int
) -> None:
    torch.manual_seed(length)
    encoder = TemporalEncoder(config(windows, layers), SIZE).eval()
    stir(encoder, 0.3)
    tokens = torch.randn(batch, length, SIZE)
    cls = torch.randn(1, 1, SIZE).expand(batch, -1, -1)
    valid = torch.ones(batch, length, dtype=torch.bool)
    for row in range(1, batch):  # rows of a batch end at different lengths
        valid[row, length - 7 * row :] = False
    indices = (torch.arange(length) * 3 + 5).expand(batch, -1)  # wraps around the table

    with torch.no_grad():
        ours = encoder(tokens, cls, padding_mask=valid, indices=indices)
        first = encoder(tokens, cls, padding_mask=valid, indices=indices, cls_only=True)
    theirs = their_states(oracle(encoder), tokens, cls, valid, indices)

    real = torch.cat((torch.ones(batch, 1, dtype=torch.bool), valid), 1)
    torch.testing.assert_close(ours[real], theirs[real], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(first, theirs[:, :1], rtol=1e-5, atol=1e-5)


def test_gradients_equal_transformers() -> None:
    torch.manual_seed(0)
    encoder = TemporalEncoder(config((8,), 2), SIZE).eval()
    stir(encoder, 0.3)
    theirs = oracle(encoder)
    tokens, cls = torch.randn(1, 31, SIZE), torch.randn(1, 1, SIZE)
    weight = torch.randn(1, 32, SIZE)
    ids = torch.cat((torch.tensor([ROWS - 2]), torch.arange(31)))[None]
    kinds = torch.zeros_like(ids)
    kinds[:, 0] = 1

    (encoder(tokens, cls) * weight).sum().backward()
    states = theirs(
        inputs_embeds=torch.cat((cls, tokens), 1),
        attention_mask=kinds + 1,
        position_ids=ids,
        token_type_ids=kinds,
    ).last_hidden_state
    (states * weight).sum().backward()

    reference = dict(theirs.named_parameters())
    for name, parameter in encoder.named_parameters():
        if name.endswith("key_global.bias"):  # a softmax ignores it: its gradient is 0
            continue
        torch.testing.assert_close(
            parameter.grad, reference[name].grad, rtol=1e-3, atol=1e-4, msg=name
        )
