from __future__ import annotations

import contextlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vtnstream.config import BackboneConfig
from vtnstream.errors import CheckpointError, ModelError, VtnstreamError
from vtnstream.models.backbone import (
    SkipMetaInit,
    create_backbone,
    list_backbones,
    load_backbone_weights,
    native_preprocess,
    num_features,
)
from vtnstream.models.create import create_model
from vtnstream.models.io.checkpoint import load_model, save_model
from vtnstream.models.io.weights import weights_sha256

from .small import CONFIG

NAME = "test_vit"


def fresh(seed: int = 0, name: str = NAME) -> nn.Module:
    torch.manual_seed(seed)
    return create_backbone(BackboneConfig(name)).eval()


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(
    "name",
    [
        "test_vit",
        "test_resnet",
        "mobilenetv3_small_050",
        "deit_tiny_distilled_patch16_224",
        "levit_128s",
    ],
)
def test_one_vector_per_frame(name: str) -> None:
    config = BackboneConfig(name)
    backbone, size = create_backbone(config).eval(), native_preprocess(config).size
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, size, size))
    assert features.shape == (2, num_features(backbone))


def test_arguments_reach_timm() -> None:
    stock = create_backbone(BackboneConfig("mobilenetv2_100"))
    same = create_backbone(BackboneConfig("mobilenetv2_100", {"pad_type": "same"}))
    assert stock.conv_stem.padding == (1, 1) and type(stock.conv_stem) is nn.Conv2d
    assert type(same.conv_stem).__name__ == "Conv2dSame"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet5", {}, "did you mean 'resnet50'"),
        ("test_vit.nope", {}, "Invalid pretrained tag"),
        ("test_vit", {"foo": 1}, "foo=1"),
        ("test_vit", {"num_classes": 3}, "num_classes"),
        ("test_vit", {"checkpoint_path": "x"}, "checkpoint_path"),
        ("hf-hub:timm/test_vit", {}, "unknown backbone"),
    ],
)
def test_errors_are_one_line(name: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        create_backbone(BackboneConfig(name, arguments))
    assert "\n" not in str(caught.value)


def test_preprocessing_is_that_of_the_backbone() -> None:
    vit = native_preprocess(BackboneConfig("vit_base_patch16_224.augreg_in21k"))
    assert (vit.size, vit.resize, vit.interpolation) == (224, 248, "bicubic")
    assert vit.mean == vit.std == (0.5, 0.5, 0.5)
    resnet = native_preprocess(BackboneConfig("resnet50.tv_in1k"))
    assert (resnet.resize, resnet.interpolation) == (256, "bilinear")
    larger = native_preprocess(BackboneConfig("vit_base_patch16_224", {"img_size": 384}))
    assert (larger.size, larger.resize) == (384, 426)
    assert native_preprocess(BackboneConfig("volo_d4_448")).resize == 448


def test_names_are_listed_by_pattern() -> None:
    assert "resnet50" in list_backbones("resnet*")
    assert not list_backbones("no such model")


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "model", "module.", "backbone."])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_loads_checkpoints_of_training_scripts(tmp_path: Path, wrap: str, suffix: str) -> None:
    source, target = fresh(1), fresh(2)
    tensors = state(source) | {"head.weight": torch.zeros(9, 64), "head.bias": torch.zeros(9)}
    if wrap.endswith("."):
        tensors = {wrap + name: tensor for name, tensor in tensors.items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(
            {wrap: tensors, "epoch": 3} if wrap in ("state_dict", "model") else tensors, path
        )
    load_backbone_weights(target, path)
    assert weights_sha256(target) == weights_sha256(source)


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.module.",
        "module._orig_mod.",
        "model.module._orig_mod.backbone.",
        "model.backbone._orig_mod.",
        "net.",
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_loads_through_wrappers_in_any_order(tmp_path: Path, prefix: str, nested: bool) -> None:
    source, target = fresh(1), fresh(2)
    tensors = {prefix + name: tensor for name, tensor in state(source).items()}
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": tensors, "epoch": 3} if nested else tensors, path)
    assert load_backbone_weights(target, path)
    assert weights_sha256(target) == weights_sha256(source)


def test_averaged_weights_are_used_and_reported(tmp_path: Path) -> None:
    source, averaged, target = fresh(1), fresh(3), fresh(2)
    path = tmp_path / "weights.pth"
    wrapped = {f"module.{name}": tensor for name, tensor in state(averaged).items()}
    torch.save({"state_dict": state(source), "state_dict_ema": wrapped, "epoch": 1}, path)
    said = load_backbone_weights(target, path)
    assert weights_sha256(target) == weights_sha256(averaged)
    assert "'state_dict_ema' (averaged weights, instead of 'state_dict')" in said
    assert "without the prefix module." in said


def test_an_average_next_to_its_model_is_used(tmp_path: Path) -> None:
    source, averaged, target = fresh(1), fresh(3), fresh(2)
    both = {f"model.{name}": tensor for name, tensor in state(source).items()}
    both |= {f"model_ema.module.{name}": tensor for name, tensor in state(averaged).items()}
    path = tmp_path / "lightning.ckpt"
    torch.save({"state_dict": both, "hyper_parameters": {"lr": 0.1}}, path)
    assert "model_ema.module." in load_backbone_weights(target, path)
    assert weights_sha256(target) == weights_sha256(averaged)


def test_loads_from_a_model_folder(tmp_path: Path) -> None:
    model = create_model(CONFIG)
    save_model(model, tmp_path / "model")
    target = fresh(2)
    load_backbone_weights(target, tmp_path / "model")
    assert weights_sha256(target) == weights_sha256(model.backbone)


def test_half_precision_is_upcast(tmp_path: Path) -> None:
    tensors = {name: tensor.half() for name, tensor in state(fresh(1)).items()}
    save_file(tensors, tmp_path / "half.safetensors")
    target = fresh(2)
    load_backbone_weights(target, tmp_path / "half.safetensors")
    for name, tensor in target.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tensors[name].float())


def test_batch_norm_counters_may_be_missing(tmp_path: Path) -> None:
    source, target = fresh(1, "test_resnet"), fresh(2, "test_resnet")
    tensors = {n: t for n, t in state(source).items() if not n.endswith("num_batches_tracked")}
    save_file(tensors, tmp_path / "weights.safetensors")
    load_backbone_weights(target, tmp_path / "weights.safetensors")
    assert weights_sha256(target) == weights_sha256(source)


def broken(kind: str) -> dict[str, Tensor]:
    tensors = state(fresh(1))
    if kind == "missing":
        del tensors["cls_token"]
    elif kind == "unexpected":
        tensors["blocks.99.extra"] = torch.zeros(1)
    elif kind == "misshapen":
        tensors["cls_token"] = torch.zeros(1, 1, 65)
    elif kind == "not finite":
        tensors["norm.weight"][3] = float("nan")
    elif kind == "not a float":
        tensors["norm.weight"] = torch.zeros(64, dtype=torch.int64)
    return tensors


@pytest.mark.parametrize(
    "kind", ["missing", "unexpected", "misshapen", "not finite", "not a float"]
)
def test_weights_that_do_not_fit_change_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(broken(kind), path)
    target = fresh(2)
    before = weights_sha256(target)
    with pytest.raises(CheckpointError, match=kind) as caught:
        load_backbone_weights(target, path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert weights_sha256(target) == before


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code in a checkpoint was run",)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", ["empty", "noise", "truncated", "pickle", "list", "objects"])
def test_hostile_and_damaged_files(
    tmp_path: Path, suffix: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"weights{suffix}"
    if content == "truncated" and suffix == ".safetensors":
        save_file(state(fresh(1)), path)
    elif content in ("truncated", "list", "objects"):
        whole = {"truncated": state(fresh(1)), "list": [1, 2], "objects": {"a": 1, "b": "c"}}
        torch.save(whole[content], path)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:-5000])
    elif content == "empty":
        path.write_bytes(b"")
    elif content == "noise":
        path.write_bytes(bytes(range(256)) * 40)
    elif content == "pickle":
        path.write_bytes(pickle.dumps({"cls_token": Hostile()}))
    target = fresh(2)
    before = weights_sha256(target)
    with pytest.raises(CheckpointError) as caught:
        load_backbone_weights(target, path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert weights_sha256(target) == before
    assert "was run" not in capsys.readouterr().out


@pytest.mark.parametrize("source", ["absent.safetensors", ".", "hf-hub:nonsense"])
def test_missing_weights_file(tmp_path: Path, source: str) -> None:
    place = source if source.startswith("hf-hub:") else tmp_path / source
    with pytest.raises(VtnstreamError):
        load_backbone_weights(fresh(), place)


def test_hash_depends_on_weights_only() -> None:
    one, same, other = fresh(1), fresh(1), fresh(2)
    assert weights_sha256(one) == weights_sha256(same) != weights_sha256(other)
    with torch.no_grad():
        same.norm.bias[0] += 1e-7
    assert weights_sha256(one) != weights_sha256(same)
    assert weights_sha256(fresh(1).half()) != weights_sha256(one)


SMALL_NET = {"channels": [16, 32, 48, 64], "stem_width": 8}


def inner_map(**changes: object) -> BackboneConfig:
    """The network of the edit-structure model: stride 16 of a tiny ResNet, 2 x 3 cells."""
    shape = {"out_index": 3, "grid": (2, 3), "projection": 0, **changes}
    return BackboneConfig("resnet10t", SMALL_NET, **shape)  # type: ignore[arg-type]


def test_a_feature_map_keeps_positions() -> None:
    torch.manual_seed(0)
    backbone = create_backbone(inner_map()).eval()
    frames = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        features = backbone(frames)
        (found,) = backbone.body(frames)
    assert features.shape == (2, num_features(backbone)) == (2, 48 * 2 * 3)
    assert found.shape == (2, 48, 2, 3)
    assert torch.equal(features, found.flatten(1)), "a map of the grid's size stays as it is"
    with torch.no_grad():
        assert backbone(torch.randn(1, 3, 64, 96)).shape == (1, 288), "larger ones are averaged"


def test_a_projection_is_learned_with_the_backbone(tmp_path: Path) -> None:
    config = replace(CONFIG, backbone=inner_map(projection=24))
    torch.manual_seed(0)
    model = create_model(config).eval()
    assert model.num_features == 24
    features = model.encode_frames(torch.randn(5, 3, 32, 48))
    torch.testing.assert_close(features.mean(-1), torch.zeros(5), atol=1e-5, rtol=0)
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert loaded.config == config
    frames = torch.randn(1, 4, 3, 32, 48)
    with torch.no_grad():
        assert torch.equal(loaded(frames).logits, model(frames).logits)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out_index": 9}, "out_index=9"),
        ({"out_index": None}, "need backbone.out_index"),
        ({"out_index": None, "grid": (1, 1), "projection": 8}, "need backbone.out_index"),
        ({"out_index": -1}, "cannot be negative"),
        ({"grid": (2,)}, "two numbers"),
        ({"grid": (0, 3)}, "positive"),
    ],
)
def test_missing_feature_maps(changes: dict[str, object], message: str) -> None:
    with pytest.raises(VtnstreamError, match=message) as caught:
        create_backbone(inner_map(**changes))
    assert "\n" not in str(caught.value)


def test_the_feature_key_contains_the_map() -> None:
    keys = [inner_map(**c).key() for c in ({}, {"grid": (1, 1)}, {"out_index": 2})]
    assert len({str(key) for key in keys}) == 3
    assert BackboneConfig("test_vit", {"img_size": 96}).key() == {"img_size": 96}


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "levit_128s"])
def test_skipped_initialisation_keeps_shapes(name: str) -> None:
    shapes = []
    for way in (contextlib.nullcontext(), SkipMetaInit()):
        with torch.device("meta"), way:
            made = create_backbone(BackboneConfig(name))
        tensors = [*made.state_dict().items(), *made.named_buffers()]
        shapes.append([(key, tensor.shape, tensor.dtype) for key, tensor in tensors])
    assert shapes[0] == shapes[1]


def test_operations_on_other_devices_run() -> None:
    with torch.device("meta"), SkipMetaInit():
        sizes = torch.zeros(2, device="cpu").add_(3).mul_(2)
        nothing = torch.zeros(2).add_(3)
    assert sizes.tolist() == [6, 6] and nothing.is_meta
