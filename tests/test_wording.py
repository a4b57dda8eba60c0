"""Messages for people: numbers with nouns, and install hints that work for this installation."""

from __future__ import annotations

import importlib.metadata
import json

import pytest

from vtnstream.optional import install_command
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
    document: object, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed(document))
    assert install_command("formats") == command
