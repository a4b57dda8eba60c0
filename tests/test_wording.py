"""Messages for people: numbers with nouns, and install hints that work for this installation."""

from __future__ import annotations

import importlib.metadata
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from vtnstream import optional
from vtnstream.optional import extras, install_command
from vtnstream.wording import plural


def test_plurals() -> None:
    assert [plural(n, "packet") for n in (0, 1, 2, 1200)] == [
        *("0 packets", "1 packet", "2 packets", "1,200 packets")
    ]
    assert plural(1, "packet or frame is", "packets or frames are") == "1 packet or frame is"


class Installed:
    def __init__(self, document: object) -> None:
        self.document = document

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self.document is None else json.dumps(self.document)


@pytest.mark.parametrize(
    ("document", "command"),
    [
        (None, 'pip install "vtnstream[formats]"'),
        (
            {"url": "file:///home/me/my%20clone", "dir_info": {"editable": True}},
            'pip install -e "/home/me/my clone[formats]"',
        ),
        ({"url": "file:///src/vtn", "dir_info": {}}, 'pip install "/src/vtn[formats]"'),
        ({"url": "https://example.org/a.whl"}, 'pip install "vtnstream[formats]"'),
    ],
)
def test_install_hints_name_the_place_vtnstream_came_from(
    document: object, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(optional, "_ROOT", tmp_path)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed(document))
    assert install_command("formats") == command


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """The clone is looked up again in each test."""
    optional._project.cache_clear()
    yield
    optional._project.cache_clear()


def test_a_clone_is_installed_from_its_folder() -> None:
    root = Path(__file__).resolve().parents[1]
    assert install_command("formats") == f'pip install -e "{root}[formats]"'


def test_the_extras_are_those_of_the_clone() -> None:
    root = Path(__file__).resolve().parents[1]
    with (root / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["optional-dependencies"]
    found = extras()
    assert found.keys() == declared.keys()
    assert found["library"] == ("lancedb",) and found["remote"] == ("fsspec", "s3fs")


def test_the_extras_of_an_installed_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(optional, "_ROOT", tmp_path)
    lines = ["click>=8", "ray[data]>=2; extra == 'ray'", 'fsspec; extra == "ray"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    assert extras() == {"ray": ("ray", "fsspec")}
