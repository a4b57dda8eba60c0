"""The backbone of the bundled model without timm is bit-identical to timm's."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from vtnstream.config import BackboneConfig
from vtnstream.config.shipped import bundled_model
from vtnstream.models.backbone import create_backbone
from vtnstream.models.io.checkpoint import load_model, read_config
from vtnstream.models.small_resnet import small_resnet

BUNDLED = read_config(bundled_model()).backbone


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_equal_to_timm(stage: int, size: tuple[int, int]) -> None:
    config = replace(BUNDLED, out_index=stage)
    theirs, ours = create_backbone(config), small_resnet(config)
    assert ours is not None
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    torch.manual_seed(stage)
    state = {  # the start of training has zeros, which hide what comes before them
        name: value if value.ndim != 1 else torch.rand_like(value) / 2 + 0.5
        for name, value in theirs.state_dict().items()
    }
    theirs.load_state_dict(state)
    ours.load_state_dict(state)
    frames = torch.randn(2, 3, *size)
    with torch.inference_mode():
        assert torch.equal(ours.eval()(frames), theirs.eval()(frames))
    assert torch.equal(ours.train()(frames), theirs.train()(frames))


def test_the_bundled_model_is_equal() -> None:
    model = load_model("edits")
    theirs = create_backbone(BUNDLED)
    theirs.load_state_dict(model.backbone.state_dict())
    frames = torch.randn(3, 3, 32, 48)
    with torch.inference_mode():
        assert torch.equal(model.backbone(frames), theirs.eval()(frames))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "resnet14t"},
        {"name": "resnet10t.c3_in1k"},
        {"out_index": None},
        {"out_index": 0},
        {"out_index": 5},
        {"arguments": {**BUNDLED.arguments, "drop_path_rate": 0.1}},
        {"arguments": {"channels": [16, 32, 48, 64]}},
        {"arguments": {"channels": [16, 32, 48], "stem_width": 8}},
        {"arguments": {"channels": [16, 32, 48, "64"], "stem_width": 8}},
        {"arguments": {"channels": [16, 32, 48, 64], "stem_width": 3}},
    ],
)
def test_other_networks_are_left_to_timm(changes: dict[str, object]) -> None:
    values = {name: getattr(BUNDLED, name) for name in ("name", "arguments", "out_index")}
    config = BackboneConfig(**(values | changes))  # type: ignore[arg-type]
    assert small_resnet(config) is None


def test_loading_imports_neither_timm_nor_the_compiler() -> None:
    program = (
        "import sys; from vtnstream.models.io.checkpoint import load_model; load_model('edits'); "
        "found = {'timm', 'torchvision', 'torch._dynamo', 'sympy'} & set(sys.modules); "
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
