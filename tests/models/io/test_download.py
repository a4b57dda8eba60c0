"""Published models: listed, downloaded, imported, and found offline."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.models.io.pyslowfast_files import SMALL, checkpoint, make_reference
from tests.models.io.server import Behaviour, serving
from vtnstream.cli.main import main
from vtnstream.config import BackboneConfig
from vtnstream.models.io import published
from vtnstream.models.io.checkpoint import load_model
from vtnstream.models.io.published import PublishedModel, published_model

NAME = "small-vtn"


@pytest.fixture
def server() -> Behaviour:
    content = io.BytesIO()
    torch.save(checkpoint(make_reference(SMALL)), content)
    return Behaviour(content.getvalue())


@pytest.fixture
def small(
    server: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PublishedModel]:
    """A small version of the published model on a local server."""
    monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    real = published_model("vtn-vit-b-kinetics")
    config = replace(
        real.config,
        backbone=BackboneConfig("test_vit"),
        temporal=replace(real.config.temporal, num_heads=SMALL.heads, attention_window=(6,)),
    )
    with serving(server) as url:
        source = replace(real.source, url=url, sha256=server.sha256)
        known = {NAME: PublishedModel(NAME, config, source)}
        monkeypatch.setattr(published, "_read", lambda: known)
        yield known[NAME]


def test_download_then_offline(
    small: PublishedModel, server: Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    server.cut_after = [1000]
    assert main(["models", "download", NAME]) == 0
    assert capsys.readouterr().out.strip() == str(small.folder)
    assert sorted(p.name for p in small.folder.parent.iterdir() if p.suffix != ".lock") == [NAME]
    asked = len(server.asked)
    assert main(["models", "download", NAME, "--offline"]) == 0
    assert main(["models", "show", NAME]) == 0
    assert len(server.asked) == asked == 2
    frames, numbers = torch.randn(1, 9, 3, 160, 160), torch.arange(9)[None]
    with torch.no_grad():
        ours = load_model(NAME)(frames, indices=numbers).logits
    torch.testing.assert_close(ours, make_reference(SMALL)(frames, numbers), rtol=1e-4, atol=1e-4)


def test_a_model_that_is_not_downloaded(
    small: PublishedModel, server: Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["download", NAME, "--offline"], ["download", "small-vt"]):
        assert main(["models", *arguments]) == 2
    assert main(["classify", "film.mp4", "--model", NAME]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "offline mode is on" in errors[0]
    assert "did you mean 'small-vtn'" in errors[1]
    assert f"vtnstream models download {NAME}" in errors[2]
    assert len(errors) == 3 and not server.asked


def test_a_replaced_file_is_refused(
    small: PublishedModel, server: Behaviour, capsys: pytest.CaptureFixture[str]
) -> None:
    server.data += b"more"
    assert main(["models", "download", NAME]) == 2
    assert "SHA-256" in capsys.readouterr().err
    assert [p for p in small.folder.parent.iterdir() if p.suffix != ".lock"] == []


def test_the_list_shows_source_and_licence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(tmp_path))
    assert main(["models", "list", "--json", str(tmp_path)]) == 0
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    found = listed["vtn-vit-b-kinetics"]
    assert found["kind"] == "published" and found["here"] is False
    source = found["source"]
    assert source["url"].endswith("windows.net/vtn/VTN_VIT_B_KINETICS.pyth")
    assert source["url"].startswith("https://") and "Apache-2.0" in source["license"]
    assert (source["top1"], source["top5"]) == (77.72, 93.24)
    assert len(found["config"]["head"]["labels"]) == 400
    assert main(["models", "list", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert source["url"] in text and "size       unknown" in text
    assert main(["models", "show", "vtn-vit-b-kinetics", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert round(shown["parameters"]["all"] / 1e6, 1) == 113.5
