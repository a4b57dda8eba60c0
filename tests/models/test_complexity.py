"""Counts by formula equal counts of a run, and counting does not change the model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.models.small import small_vtn
from vtnstream.config import BackboneConfig
from vtnstream.models.backbone import create_backbone
from vtnstream.models.complexity import (
    Products,
    count_encoder_products,
    count_frame_products,
    count_parameters,
    count_products,
    count_vtn_products,
)


def test_products_add_and_multiply() -> None:
    assert (Products(1, 2) + Products(3, 4)) * 2 == Products(8, 12)
    assert Products(8, 12).full == 20


def test_layers_with_known_products() -> None:
    linear = nn.Linear(5, 7)
    assert count_products(linear, torch.empty(3, 5)) == Products(3 * 5 * 7)
    convolution = nn.Conv2d(3, 8, 3, padding=1, groups=1)
    assert count_products(convolution, torch.empty(2, 3, 10, 6)) == Products(2 * 60 * 8 * 27)
    attention = nn.functional.scaled_dot_product_attention
    heads = torch.empty(2, 4, 9, 16, device="meta")  # (B, H, T, Dh)
    assert count_products(attention, heads, heads, heads) == Products(0, 2 * 2 * 4 * 9 * 9 * 16)
    assert count_parameters(linear) == 42


def test_meta_and_real_tensors_give_equal_counts() -> None:
    backbone = create_backbone(BackboneConfig("test_vit")).eval()
    real = count_products(backbone, torch.zeros(1, 3, 160, 160))
    backbone.to("meta")
    assert count_products(backbone, torch.empty(1, 3, 160, 160, device="meta")) == real
    assert real.weights > real.attention > 0


def test_a_video_is_the_sum_of_frames_encoder_and_head() -> None:
    model = small_vtn()  # D 64, FFN 96, 2 layers, window 8
    count = 40  # tokens 41, padded to 72
    layer = 6 * 64 * 64 * 72 + 64 * 64 + 2 * 64 * 96 * 72
    near = sum(abs(i - j) <= 4 for i in range(count) for j in range(count))
    attention = 2 * 64 * (near + count + count + 1)
    assert count_encoder_products(model, count) == Products(layer, attention) * 2
    head = Products(64 * 64 + 64 * 3)
    expected = count_frame_products(model) * count + Products(layer, attention) * 2 + head
    assert count_vtn_products(model, count) == expected
    assert count_vtn_products(model, count, views=6) == expected * 6


@pytest.mark.parametrize("num_frames", [1, 2, 4, 5, 35, 36])
def test_windows_wider_than_the_video(num_frames: int) -> None:
    near = sum(abs(i - j) <= 4 for i in range(num_frames) for j in range(num_frames))
    expected = 2 * 2 * 64 * (near + 2 * num_frames + 1)
    assert count_encoder_products(small_vtn(), num_frames).attention == expected


def test_counting_does_not_change_the_model() -> None:
    model = small_vtn().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_vtn_products(model, 3)
    assert model.training and model.backbone.training
    for name, tensor in model.state_dict().items():
        assert tensor.device.type == "cpu" and torch.equal(tensor, before[name])
