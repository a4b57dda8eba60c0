"""Model folders and weights that want to run code, fetch files, fill memory or never end."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.faults.conftest import Some
from tests.faults.tally import Cases
from tests.faults.test_hostile_media import LIMITS, assert_refused
from tests.faults.witness import Witness, witness
from tests.faults.work import Work

Change = Callable[[Path, Witness], object]


class Evil:
    """Leaves a file behind when it is unpickled without care."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self._target}'",)


def config(**changes: Any) -> Change:
    """``config.json`` with other values: ``backbone__name``."""

    def change(folder: Path, seen: Witness) -> None:
        data = json.loads((folder / "config.json").read_text())
        for path, value in changes.items():
            *tables, name = path.split("__")
            table = data
            for each in tables:
                table = table[each]
            if isinstance(value, str):
                value = value.replace("{canary}", str(seen.canary)).replace("{tcp}", str(seen.tcp))
            table[name] = value
        (folder / "config.json").write_text(json.dumps(data))

    return change


def raw(name: str, data: bytes | str) -> Change:
    """A file of the folder with other content."""

    def change(folder: Path, seen: Witness) -> None:
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)

    return change


def header(**tensors: Any) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


def arguments(**values: Any) -> Change:
    return config(backbone__arguments={"img_size": 64, **values})


WEIGHTS = "model.safetensors"
FOLDERS: dict[str, Change] = {
    "pickle for weights": lambda folder, seen: (folder / WEIGHTS).write_bytes(
        pickle.dumps(Evil(folder / "owned"))
    ),
    "archive for weights": lambda folder, seen: torch.save(
        {"x": Evil(folder / "owned")}, folder / WEIGHTS
    ),
    "weights a fifo": lambda folder, seen: (
        (folder / WEIGHTS).unlink(),
        os.mkfifo(folder / WEIGHTS),
    ),
    "weights a device": lambda folder, seen: (
        (folder / WEIGHTS).unlink(),
        (folder / WEIGHTS).symlink_to("/dev/zero"),
    ),
    "weights a directory": lambda folder, seen: (
        (folder / WEIGHTS).unlink(),
        (folder / WEIGHTS).mkdir(),
    ),
    "config a fifo": lambda folder, seen: (
        (folder / "config.json").unlink(),
        os.mkfifo(folder / "config.json"),
    ),
    "config a device": lambda folder, seen: (
        (folder / "config.json").unlink(),
        (folder / "config.json").symlink_to("/dev/zero"),
    ),
    "header of 2^62 bytes": raw(WEIGHTS, struct.pack("<Q", 2**62) + bytes(100)),
    "tensor of 2^42 bytes": raw(
        WEIGHTS, header(cls_token={"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]})
    ),
    "tensor of negative size": raw(
        WEIGHTS, header(cls_token={"dtype": "F32", "shape": [-1], "data_offsets": [8, 4]})
    ),
    "deep header": raw(WEIGHTS, struct.pack("<Q", 10**5) + b"[" * 10**5),
    "deep config": raw("config.json", "[" * 10**5),
    "deep table": raw("config.json", '{"a":' * 10**5),
    "number of 10^5 digits": raw("config.json", '{"schema": ' + "9" * 10**5 + "}"),
    "not UTF-8": raw("config.json", b'{"name": "\xff"}'),
    "config null": raw("config.json", "null"),
    "config of lists": raw("config.json", '{"backbone": [1], "head": "x"}'),
    "backbone of the Hub": config(backbone__name="hf-hub:evil/model"),
    "backbone of a folder": config(backbone__name="local-dir:{canary}"),
    "backbone a path": config(backbone__name="../../{canary}"),
    "backbone an address": config(backbone__name="http://127.0.0.1:{tcp}/x"),
    "pretrained": arguments(pretrained=True),
    "checkpoint path": arguments(checkpoint_path="/dev/zero"),
    "address of weights": arguments(pretrained_cfg={"url": "http://127.0.0.1:1/x"}),
    "layer from a library": arguments(act_layer="os.system"),
    "ten million layers": arguments(depth=10**7),
    "wide": arguments(embed_dim=2**40),
    "large pictures": arguments(img_size=2**31),
    "negative width": arguments(embed_dim=-64),
    "no heads": arguments(num_heads=0),
    "billion layers": config(temporal__num_layers=10**9),
    "billion heads": config(temporal__num_heads=10**9),
    "billion positions": config(temporal__max_positions=10**12),
    "window of 10^12": config(temporal__attention_window=[10**12]),
    "MLP of 10^12": config(temporal__intermediate_size=10**12),
    "class of transformers": config(temporal__kind="transformers:PreTrainedModel"),
    "class of os": config(temporal__kind="transformers:os.system"),
    "pictures of 10^9": config(preprocess__size=10**9, preprocess__resize=10**9),
    "negative size": config(preprocess__size=-1),
    "std of zero": config(preprocess__std=[0.0, 0.0, 0.0]),
    "mean NaN": config(preprocess__mean=[float("nan")] * 3),
    "rate of 1/0": config(sampling__fps="1/0"),
    "rate of 10^400": config(sampling__fps="1e400"),
    "rate NaN": config(sampling__fps=float("nan")),
    "rate of a word": config(sampling__fps="fast"),
    "negative rate": config(sampling__fps="-2"),
    "labels no words": config(head__labels=[1, None, {}]),
    "a million labels": config(head__labels=[str(n) for n in range(10**6)]),
    "of the future": config(schema=99),
    "unknown architecture": config(architecture="../x"),
    "name a path": config(name=["../../x"]),
}

USABLE = {"billion positions", "window of 10^12"}
"""Large numbers that cost nothing."""
SEEN_LATE = {"pictures of 10^9"}
"""What is wrong shows when a video is there."""

FILES: dict[str, Callable[[Path], object]] = {
    "pickle": lambda path: path.write_bytes(pickle.dumps(Evil(path.with_name("owned")))),
    "pickle of protocol 0": lambda path: path.write_bytes(
        pickle.dumps(Evil(path.with_name("owned")), protocol=0)
    ),
    "archive": lambda path: torch.save({"state_dict": Evil(path.with_name("owned"))}, path),
    "old format": lambda path: torch.save(
        {"x": Evil(path.with_name("owned"))}, path, _use_new_zipfile_serialization=False
    ),
    "TorchScript": lambda path: torch_script(path),
    "zip of zeros": lambda path: zipped(path, "archive/data/0", bytes(300_000_000)),
    "zip that climbs": lambda path: zipped(path, "../../../owned", b"x"),
    "fifo": lambda path: os.mkfifo(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path),
    "directory": lambda path: path.mkdir(),
}


def torch_script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/constants.pkl", pickle.dumps(()))
        archive.writestr("archive/code/__torch__.py", "import os\n")
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(path.with_name("owned"))))
        archive.writestr("archive/version", "3\n")


def zipped(path: Path, name: str, data: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
        archive.writestr("archive/data.pkl", pickle.dumps({}))


@pytest.fixture
def scene(tmp_path: Path, work: Work) -> Path:
    shutil.copy(work.video, tmp_path / "canary.mp4")
    return tmp_path


def test_model_folders(work: Work, cases: Cases, some: Some, scene: Path) -> None:
    for number, (name, change) in enumerate(some(FOLDERS.items(), 9)):
        folder = Path(shutil.copytree(work.model, scene / f"model {number}"))
        with cases("hostile model", name), witness(scene, scene / "canary.mp4") as seen:
            change(folder, seen)
            seen.begin()
            out = folder / "out"
            command = ["timeline", work.video, "-m", folder, "-o", out]
            more = ["--cache-dir", scene / "cache", "--progress", "none"]
            ended = work.warm.run(*command, *more, program=seen.program + LIMITS)
            seen.assert_nothing_happened(out, scene / "cache")
            if name in USABLE:
                assert ended.code == 0, ended
            else:
                assert_refused(ended, str(work.video if name in SEEN_LATE else folder))
                assert not out.exists() or not list(out.iterdir())


def test_weights(work: Work, cases: Cases, some: Some, scene: Path) -> None:
    commands = {
        ".pth": ["extract", work.video, "--backbone", "test_vit", "--weights"],
        ".pyth": ["models", "import", "--backbone", "test_vit"],
    }
    for name, suffix in some(itertools.product(FILES, commands), 4):
        path = scene / f"{name}{suffix}"
        with cases("hostile weights", path.name), witness(scene, scene / "canary.mp4") as seen:
            FILES[name](path)
            seen.begin()
            out = scene / ("out.safetensors" if suffix == ".pth" else "out")
            more = ["-o", out, *(["--cache-dir", scene / "c"] * (suffix == ".pth"))]
            ended = work.warm.run(*commands[suffix], path, *more, program=seen.program + LIMITS)
            seen.assert_nothing_happened(out, scene / "c")
            assert_refused(ended, str(path))
            assert not (scene / "owned").exists()
