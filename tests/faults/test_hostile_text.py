"""Labels and names that are more than text where they are shown: in a terminal, a page, a
spreadsheet, subtitles, a path. Every format keeps the shape it has with harmless ones."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import srt
import webvtt

from tests.faults.conftest import Some
from tests.faults.tally import Cases
from tests.faults.warm import Ended
from tests.faults.witness import witness
from tests.faults.work import Work

PAYLOADS = (
    "\x1b]0;owned\x07\x1b[2J",
    "<script>alert(1)</script>",
    "</script></style><img src=x onerror=alert(1)>",
    '=HYPERLINK("http://127.0.0.1/","x")',
    "+cmd|' /C calc'!A0",
    "@SUM(1)\t=1",
    "1\n\n2\n00:00:00,000 --> 00:09:00,000\nowned",
    "../../../../owned",
    "a\u202eb\u2066c\u2028d",
    '{{7*7}}{% include "/etc/passwd" %}',
    '" onmouseover="alert(1)',
    "]]><owned>&owned;<!--",
    "`touch owned`$(touch owned);touch owned",
    "\ud800",
    "[red]x[/red] :smile:",
    "a\x00b\x85c",
    "-1+1|x",
    "javascript:alert(1)",
)
HARMLESS = tuple(f"label {number}" for number in range(6))
NAMES = (
    b"<img src=x onerror=alert(1)>.mp4",
    b"=1+1.mp4",
    b"\x1b]0;owned\x07.mp4",
    b"two\nlines --> 00:00.mp4",
    b"\xff\xfe.mp4",
    "a\u202eb.mp4".encode(),
    b"$(touch owned)`touch owned`;touch owned.mp4",
    b"..%2f..%2fowned.mp4",
    b"-o owned.mp4",
    b"{{7*7}}.mp4",
    b"x" * 251 + b".mp4",
)
_ACTING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def with_labels(work: Work, folder: Path, labels: tuple[str, ...]) -> Path:
    """The model with these six labels: three classes and three of segments."""
    model = Path(shutil.copytree(work.model, folder))
    config = json.loads((model / "config.json").read_text())
    config["head"]["labels"] = labels[:3]
    config["head"]["dense_labels"] = ["background", *labels[3:]]
    (model / "config.json").write_text(json.dumps(config))
    return model


class _Shape(HTMLParser):
    """Elements of a page with the names of their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs), attrs
        self.elements.append((tag, tuple(name for name, _ in attrs)))


def _cells(text: str, delimiter: str) -> list[int]:
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    for cell in (cell for row in rows for cell in row):
        acts = cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert not acts or re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", cell), cell
    return [len(row) for row in rows]


def _tree(text: str) -> list[str]:
    assert "<!ENTITY" not in text
    return [element.tag for element in ElementTree.fromstring(text.encode()).iter()]


def _keys(value: Any) -> Any:
    """The shape of JSON data, without its strings; labels may be keys of score tables."""
    if isinstance(value, dict):
        return sorted((str(type(v)), json.dumps(_keys(v))) for v in value.values())
    return [_keys(each) for each in value] if isinstance(value, list) else type(value).__name__


SHAPES: dict[str, Callable[[str], Any]] = {
    ".html": lambda text: _Shape(text).elements,
    ".csv": lambda text: _cells(text, ","),
    ".tsv": lambda text: _cells(text, "\t"),
    ".srt": lambda text: [(cue.start, cue.end) for cue in srt.parse(text)],
    ".vtt": lambda text: [(c.start, c.end) for c in webvtt.from_string(text).captions],
    ".eaf": _tree,
    ".xml": _tree,
    ".fcpxml": _tree,
    ".json": lambda text: _keys(json.loads(text)),
    ".jsonl": lambda text: [_keys(json.loads(line)) for line in text.splitlines()],
}


def shape(path: Path) -> Any:
    """What a file of results looks like, its text aside."""
    text = path.read_bytes().decode("utf-8")
    acting = _ACTING.search(text.replace("\t", " "))
    assert not acting, (path.name, acting)
    return SHAPES.get(path.suffix, lambda text: len(text.splitlines()))(text)


def analysed(work: Work, folder: Path, video: Path, model: Path, program: str) -> Ended:
    fixed = ["--fps", "0.5", "--cache-dir", folder / "cache", "--progress", "none"]
    command = ["timeline", "-m", model, "-o", folder / "out", "-f", "all", *fixed, "--", video]
    return work.warm.run(*command, program=program)


def assert_harmless(ended: Ended) -> None:
    assert ended.code == 0, ended
    assert "Traceback" not in ended.err, ended
    for text in (ended.out, ended.err):
        assert not _ACTING.search(text), repr(_ACTING.search(text))


@pytest.fixture(scope="module")
def usual(work: Work, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The shapes with harmless labels."""
    folder = tmp_path_factory.mktemp("usual")
    video = Path(shutil.copy(work.video, folder / "film.mp4"))
    ended = analysed(work, folder, video, with_labels(work, folder / "model", HARMLESS), "")
    assert_harmless(ended)
    files = (folder / "out").iterdir()
    return {path.name.partition(".mp4")[2]: shape(path) for path in files}


def test_labels(
    work: Work, cases: Cases, some: Some, usual: dict[str, Any], tmp_path: Path
) -> None:
    assert len(usual) > 15
    for number in some(range(0, len(PAYLOADS), 6), 1):
        labels = PAYLOADS[number : number + 6]
        folder = tmp_path / f"case{number}"
        folder.mkdir()
        video = Path(shutil.copy(work.video, folder / "film.mp4"))
        model = with_labels(work, folder / "model", labels)
        with witness(folder, video) as seen:
            seen.begin()
            ended = analysed(work, folder, video, model, seen.program)
            with cases("hostile labels", "terminal"):
                assert_harmless(ended)
                assert seen.deeds() == [] and not seen.was_called()
                assert seen.changed(folder / "out", folder / "cache") == []
            found = {path.name.partition(".mp4")[2]: path for path in (folder / "out").iterdir()}
            # Annotations for training are refused where a spreadsheet would change a label.
            assert found.keys() | {".train.csv"} == usual.keys()
            for ending, path in found.items():
                with cases("hostile labels", f"{number} {ending}"):
                    assert shape(path) == usual[ending]
            for command in (
                *(["models", "show", model], ["models", "show", model, "--json"]),
                *(["plan", video, "-m", model], ["show", found[".json"]]),
                ["export", found[".json"], "-f", "csv", "-o", folder / "out"],
            ):
                with cases("hostile labels", f"{number} {command[:2]}"):
                    assert_harmless(work.warm.run(*command, program=seen.program))


def test_names(work: Work, cases: Cases, some: Some, usual: dict[str, Any], tmp_path: Path) -> None:
    for number, name in enumerate(some(NAMES, 1)):
        folder = tmp_path / f"case{number}"
        folder.mkdir()
        video = Path(shutil.copy(work.video, folder / name.decode(errors="surrogateescape")))
        with cases("hostile file name", repr(name)), witness(folder, video) as seen:
            seen.begin()
            ended = analysed(work, folder, video, work.model, seen.program)
            assert_harmless(ended)
            assert seen.deeds() == [] and not seen.was_called()
            assert seen.changed(folder / "out", folder / "cache") == []
            files = list((folder / "out").iterdir())
            assert len(files) == len(usual)
            for path in files:
                shape(path)
