"""Damaged and hostile checkpoints: each gives one clear line, and nothing is written."""

from __future__ import annotations

import io
import json
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.io.pyslowfast_files import SMALL, checkpoint, make_reference, recipe, save
from tests.models.small import small_vtn
from vtnstream.cli.main import main
from vtnstream.models.io.checkpoint import save_model

HEAD = "mlp_head.4.weight"
POSITIONS = "temporal_encoder.embeddings.position_embeddings.weight"


class Hostile:
    """An object that runs a command when it is unpickled without restrictions."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("the checkpoint was executed",))


def _with(path: Path, **tensors: torch.Tensor | None) -> None:
    """The good checkpoint with tensors changed, added or (None) removed."""
    content = checkpoint(make_reference(SMALL), cfg=recipe(SMALL))
    for name, tensor in tensors.items():
        key = name.replace("__", ".")
        content["model_state"].pop(key, None)
        if tensor is not None:
            content["model_state"][key] = tensor
    save(path, content)


def _nan(path: Path) -> None:
    _with(path, cls_token=torch.full((1, 1, 64), float("nan")))


def _truncated(path: Path) -> None:
    save(path, checkpoint(make_reference(SMALL)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _hostile(path: Path) -> None:
    save(path, checkpoint(make_reference(SMALL), cfg=Hostile()))


def _hostile_old_format(path: Path) -> None:
    path.write_bytes(pickle.dumps({"model_state": Hostile()}))


def _compressed(path: Path) -> None:
    """A small archive whose one record would fill memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(50_000_000))


def _beyond_its_storage(path: Path) -> None:
    """A tensor that claims more numbers than the file holds."""
    plain = io.BytesIO()
    torch.save({"model_state": {"cls_token": torch.zeros(64)}}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry.filename, data.replace(b"K@\x85", b"J\x00\x00\x00\x40\x85"))


def _cfg(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        save(path, checkpoint(make_reference(SMALL), cfg=text))

    return write


LAUGHS = "VTN:\n  a0: &a0 [1, 1]\n" + "".join(
    f"  a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)
)

IMPORTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "absent": (lambda path: None, "no such checkpoint"),
    "empty": (lambda path: path.touch(), "not a readable weights file"),
    "text": (lambda path: path.write_text("<html>404</html>"), "damaged|not a readable"),
    "truncated": (_truncated, "damaged|not a readable"),
    "hostile": (_hostile, "never unpickled"),
    "hostile, old format": (_hostile_old_format, "never unpickled"),
    "compressed": (_compressed, "compressed archive"),
    "beyond its storage": (_beyond_its_storage, "not a readable"),
    "no tensors": (lambda path: save(path, {"epoch": 3}), "not only plain tensors"),
    "a list": (lambda path: save(path, [1, 2]), "no dictionary of tensors"),
    "sparse": (lambda p: _with(p, cls_token=torch.ones(1, 1, 64).to_sparse()), "cls_token"),
    "without storage": (lambda p: _with(p, cls_token=torch.ones(1, 1, 64, device="meta")), "cls"),
    "NaN": (_nan, "cls_token holds numbers that are not finite"),
    "integers": (lambda p: _with(p, cls_token=torch.ones(1, 1, 64, dtype=torch.int64)), "int64"),
    "missing": (lambda p: _with(p, mlp_head__1__bias=None), r"1 missing \(mlp_head.1.bias\)"),
    "unknown": (lambda p: _with(p, extra=torch.ones(1)), r"1 unexpected \(extra\)"),
    "misshapen": (lambda p: _with(p, cls_token=torch.ones(1, 2, 64)), "1 misshapen"),
    "head of another size": (lambda p: _with(p, **{HEAD: torch.ones(7, 64)}), "--labels FILE"),
    "no room for [CLS]": (lambda p: _with(p, **{POSITIONS: torch.ones(2, 64)}), "max_positions"),
    "config no YAML": (_cfg("VTN: [1"), "not readable as YAML"),
    "config a list": (_cfg("- 1"), "not a table"),
    "config too large": (_cfg("#" * 2_000_000), "too large"),
    "config with code": (_cfg("VTN: !!python/object/apply:print [x]"), "not readable as YAML"),
    "config that explodes": (_cfg(f"{LAUGHS}  ATTENTION_WINDOW: *a39"), "ATTENTION_WINDOW"),
    "odd window": (_cfg(recipe(SMALL).replace("- 6", "- 7")), "even and positive"),
    "heads that do not divide": (
        _cfg(recipe(SMALL).replace("HEADS: 4", "HEADS: 5")),
        "5 heads do not divide its hidden size 64: give --num-heads",
    ),
    "BGR": (_cfg("DATA: {REVERSE_INPUT_CHANNEL: true}"), "BGR"),
    "std of zero": (_cfg("DATA: {STD: [0, 0, 0]}"), "std must be positive"),
}


@pytest.mark.parametrize("case", IMPORTS)
def test_import(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = IMPORTS[case]
    path, folder = tmp_path / "given.pyth", tmp_path / "models" / "new"
    make(path)
    code = main(["models", "import", str(path), "-o", str(folder), "--backbone", "test_vit"])
    _assert_refused(capsys, code, str(path), message)
    assert not folder.parent.exists(), "nothing is written"


def test_import_with_labels_that_do_not_match(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "given.pyth", checkpoint(make_reference(SMALL), cfg=recipe(SMALL)))
    labels = tmp_path / "labels.txt"
    labels.write_text("one\ntwo\n")
    folder = str(tmp_path / "new")
    arguments = ["models", "import", str(path), "-o", folder, "--backbone", "test_vit"]
    code = main([*arguments, "--labels", str(labels)])
    _assert_refused(capsys, code, str(path), "400 classes, but 2 labels are given")
    assert not Path(folder).exists()


def _folder_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def _folder_tensor(folder: Path, name: str, tensor: torch.Tensor) -> None:
    tensors = {**load_file(folder / "model.safetensors"), name: tensor}
    save_file({key: value.clone() for key, value in tensors.items()}, folder / "weights")
    (folder / "weights").replace(folder / "model.safetensors")


def _huge_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + path.read_bytes()[8:])


def _header_beyond_the_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    header = {"cls_token": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "huge header": (_huge_header, "not a readable weights file"),
    "header beyond the file": (_header_beyond_the_file, "not a readable weights file"),
    "cut": (_cut, "not a readable weights file"),
    "NaN": (lambda f: _folder_tensor(f, "cls_token", torch.full((1, 1, 64), torch.nan)), "finite"),
    "misshapen": (lambda f: _folder_tensor(f, "cls_token", torch.ones(1, 1, 9)), "misshapen"),
    "unknown": (lambda f: _folder_tensor(f, "extra", torch.ones(1)), "1 unexpected"),
    "labels that do not match": (
        lambda f: _folder_config(f, lambda c: c["head"].update(labels=["a"])),
        "the class head has .* classes, the config names 1 label",
    ),
    "std that is no number": (
        lambda f: _folder_config(f, lambda c: c["preprocess"].update(std=[float("nan")] * 3)),
        "std must be positive, not nan",
    ),
    "a typo": (
        lambda f: _folder_config(f, lambda c: c["temporal"].update(num_layer=2)),
        "unknown key 'num_layer'; did you mean 'num_layers'",
    ),
    "heads that do not divide": (
        lambda f: _folder_config(f, lambda c: c["temporal"].update(num_heads=7)),
        "7 heads",
    ),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folder(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = FOLDERS[case]
    folder = save_model(small_vtn(), tmp_path / "model")
    make(folder)
    output = tmp_path / "results"
    code = main(["classify", "film.mp4", "--model", str(folder), "-o", str(output)])
    _assert_refused(capsys, code, str(folder), message)
    assert not output.exists() or not list(output.iterdir())


def _assert_refused(capsys: pytest.CaptureFixture[str], code: int, name: str, message: str) -> None:
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    errors = [line for line in lines if line.startswith("vtnstream: error: ")]
    assert code == 2 and captured.out == "" and len(errors) == 1, captured
    assert "Traceback" not in captured.err and "executed" not in captured.err
    assert name in errors[0] and len(errors[0]) < 700
    assert re.search(message, errors[0]), errors[0]
