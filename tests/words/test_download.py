"""Fetching an image-text model from a hub on this machine: pinned, complete, offline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.models.io.fake_hub import Hub, fake_hub
from tests.words.towers import write_model
from vtnstream.errors import ModelError
from vtnstream.models.io.hub import HubName, push
from vtnstream.words.model import download_words, open_words
from vtnstream.words.published import published_words

NAME = "siglip2-base"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    from tests.models.io.fake_hub import TOKEN

    with fake_hub() as server:
        settings = {
            "ENDPOINT": server.address,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.address
            + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_OFFLINE": False,
        }
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("VTNSTREAM_OFFLINE", raising=False)
        monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(tmp_path / "cache"))
        yield server


def publish(folder: Path, seed: int) -> None:
    write_model(folder, "siglip2", seed=seed)
    name = HubName(published_words()[NAME].source.repository)
    push(name, {path.name: path for path in folder.iterdir()}, private=False)


def test_a_download_is_pinned_and_serves_offline(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "first", 0)
    folder = download_words(NAME)
    commit = published_words()[NAME].commit
    assert commit is not None and folder.name == commit
    publish(tmp_path / "second", 1)  # what comes later is not taken
    assert download_words(NAME) == folder and published_words()[NAME].commit == commit
    monkeypatch.setenv("VTNSTREAM_OFFLINE", "1")
    model = open_words(NAME)
    assert model is not None and model.folder == folder
    assert model.image_tower() is not None


def test_offline_and_absent_names_the_command(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTNSTREAM_OFFLINE", "1")
    with pytest.raises(ModelError, match=f"`vtnstream models download {NAME}` fetches it"):
        open_words(NAME)


def test_a_half_download_says_how_to_go_on(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "first", 0)
    folder = download_words(NAME)
    (folder / "model.safetensors").unlink()
    monkeypatch.setenv("VTNSTREAM_OFFLINE", "1")
    with pytest.raises(ModelError, match=f"`vtnstream models download {NAME}` fetches it again"):
        open_words(NAME)


def test_a_repository_by_its_name(hub: Hub, tmp_path: Path) -> None:
    publish(tmp_path / "first", 0)
    repository = published_words()[NAME].source.repository
    model = open_words(repository)
    assert model is not None and model.config.family == "siglip2"
