"""The library: what it finds, how it is searched, and how little is read again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.cases import PARTIAL, report
from tests.studio.conftest import write_result
from vtnstream.batch.status import StatusLine
from vtnstream.errors import UsageError
from vtnstream.studio.correcting.journal import Base, Journal
from vtnstream.studio.correcting.timeline import Action, EditedSegment
from vtnstream.studio.database import Database
from vtnstream.studio.folders import Workspace
from vtnstream.studio.problems import InvalidProblem
from vtnstream.studio.results import index as module
from vtnstream.studio.results.index import Index, Query
from vtnstream.types import ClassScore, Segment


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, Index, Database]]:
    folder = tmp_path / "results"
    folder.mkdir()
    workspace = Workspace.of([folder])
    database = Database(workspace.state)
    yield folder, Index(workspace, database), database
    database.close()


def names(index: Index, **query: object) -> list[str]:
    return [row.name for row in index.page(Query(**query)).rows]  # type: ignore[arg-type]


def make(folder: Path, name: str, **changes: object) -> Path:
    return write_result(report(input=f"films/{name}", **changes), folder, name)


def test_search_filter_sort_and_pages(place: tuple[Path, Index, Database]) -> None:
    folder, index, _ = place
    make(folder, "b.mkv", segments=(Segment(0, 1, "goal", 0.2),), end_seconds=9.0)
    make(folder, "A.mkv", segments=(Segment(0, 1, "corner", 0.9),), end_seconds=5.0)
    make(folder, "100%_c.mkv", partial=PARTIAL, classes=(ClassScore("hernia", 0.9),))
    index.scan()
    assert names(index) == ["100%_c.mkv", "A.mkv", "b.mkv"]
    assert names(index, sort="length") == ["100%_c.mkv", "b.mkv", "A.mkv"]
    assert names(index, sort="unsure")[0] == "b.mkv"
    assert names(index, text="GOAL") == ["b.mkv"]
    assert names(index, text="a.mk corner") == ["A.mkv"]
    assert names(index, text="%_") == ["100%_c.mkv"]
    assert names(index, text="%%") == []
    assert names(index, text="hernia") == names(index, state="partial") == ["100%_c.mkv"]
    assert names(index, label="goal") == ["b.mkv"] and names(index, label="goa") == []
    page = index.page(Query(start=1, size=1))
    assert ([row.name for row in page.rows], page.total, page.found) == (["A.mkv"], 3, 3)
    assert ("goal", 1) in index.labels()
    for wrong in (Query(sort="name; DROP TABLE results"), Query(state="x' OR 1=1")):
        with pytest.raises(InvalidProblem):
            index.page(wrong)


def test_only_what_changed_is_read_again(
    place: tuple[Path, Index, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, index, _ = place
    first, second = make(folder, "a.mkv"), make(folder, "b.mkv")
    index.scan()
    read: list[Path] = []
    plain = module.listings
    monkeypatch.setattr(module, "listings", lambda path: read.append(path) or plain(path))
    index.scan()
    assert read == [] and names(index) == ["a.mkv", "b.mkv"]
    make(folder, "b.mkv", segments=())
    os.utime(second, ns=(1, 1))
    first.unlink()
    index.scan()
    assert read == [second] and names(index) == ["b.mkv"]


def test_files_that_are_no_results_and_videos_without_one(
    place: tuple[Path, Index, Database],
) -> None:
    folder, index, _ = place
    for name, text in {
        "list.json": "[1, 2]",
        "other.json": '{"schema": "x"}',
        "broken.json": '{"schema": "vtnstream/report/1", "input',
        "deep.json": "[" * 100_000,
        "odd.json": json.dumps(
            {
                "schema": "vtnstream/report/1",
                "input": "\ud800\x1b[31m.mkv",
                "segments": [{"start": "x"}, 7, {"start": 0, "end": 1, "label": None}],
                "range": {"start": 0, "end": "late"},
                "model": 5,
                "partial": {"reasons": 9},
            }
        ),
        ".hidden.json": json.dumps({"schema": "vtnstream/report/1", "input": "hidden.mkv"}),
    }.items():
        (folder / name).write_text(text)
    (folder / "new.mp4").write_bytes(b"x")
    (folder / "analysed.mkv").write_bytes(b"x")
    make(folder, "analysed.mkv")
    line = StatusLine("bad.avi", "/x/bad.avi", "failed", "open", "bad.avi: not a video")
    (folder / "status.jsonl").write_text(line.as_json() + "\n")
    index.scan()
    rows = {row.name: row for row in index.page(Query()).rows}
    assert {name: row.state for name, row in rows.items()} == {
        "analysed.mkv": "done",
        "bad.avi": "failed",
        "new.mp4": "new",
        "\\ud800_[31m.mkv": "partial",
    }
    assert rows["bad.avi"].problem == "bad.avi: not a video"


def test_results_in_one_file(place: tuple[Path, Index, Database]) -> None:
    folder, index, _ = place
    one, two = make(folder, "a.mkv"), make(folder, "b.mkv")
    both = [json.loads(path.read_text()) for path in (one, two)]
    one.write_text(json.dumps(both))
    two.unlink()
    index.scan()
    assert names(index) == ["a.mkv", "b.mkv"]


def test_corrected_and_checked(place: tuple[Path, Index, Database]) -> None:
    folder, index, database = place
    make(folder, "a.mkv")
    make(folder, "b.mkv")
    index.scan()
    name = index.page(Query(text="a.mkv")).rows[0].id
    base = Base(name, "a.mkv.json", "a.mkv", (EditedSegment("m0", 0, 1, "x"),), 5.0)
    Journal(database).change(base, 0, Action("check", checked=True), "ann")
    assert names(index, state="checked") == names(index, state="corrected") == ["a.mkv"]
    assert names(index, state="open") == ["b.mkv"]
    index.scan()
    assert index.page(Query(text="a.mkv")).rows[0].checked


def test_the_library_shows_corrected_labels_and_counts(
    place: tuple[Path, Index, Database],
) -> None:
    folder, index, database = place
    file = make(folder, "a.mkv")
    index.scan()
    row = index.page(Query()).rows[0]
    segments = (EditedSegment("m0", 0, 2, "shot", score=0.5), EditedSegment("m1", 2, 5, "shot"))
    base, journal = Base(row.id, "a.mkv.json", "a.mkv", segments, 5.0), Journal(database)
    journal.change(base, 0, Action("relabel", ("m0",), label="rider"), "ann")
    state = journal.change(base, 1, Action("relabel", ("m1",), label="wheel"), "ann")
    assert index.labels() == [("rider", 1), ("wheel", 1)]
    assert names(index, text="rider") == names(index, label="wheel") == ["a.mkv"]
    assert names(index, label="shot") == []
    ids = tuple(state.timeline.segments)
    journal.change(base, 2, Action("merge", ids, label="race"), "ann")
    os.utime(file, ns=(1, 1))  # read again: the corrections stay
    index.scan()
    shown = index.page(Query(sort="segments")).rows[0]
    assert (shown.segments, shown.score) == (1, None) and index.labels() == [("race", 1)]
    journal.change(base, 3, Action("undo"), "ann")
    assert index.page(Query()).rows[0].segments == 2 and names(index, label="race") == []


def test_the_id_survives_moving_the_folder(tmp_path: Path) -> None:
    found = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        make(folder, "a.mkv")
        workspace = Workspace.of([folder])
        database = Database(workspace.state)
        index = Index(workspace, database)
        index.scan()
        found.append(index.page(Query()).rows[0].id)
        database.close()
    assert found[0] == found[1]


def test_no_file_outside_the_folders(tmp_path: Path) -> None:
    folder, secret = tmp_path / "results", tmp_path / "secret.mp4"
    folder.mkdir()
    secret.write_bytes(b"x")
    (folder / "link.mp4").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    inside = folder / "inside.mp4"
    inside.write_bytes(b"x")
    workspace = Workspace.of([folder])
    assert workspace.allowed(inside) == inside.resolve()
    for path in ("link.mp4", "up/secret.mp4", "../secret.mp4", "x\x00y", "."):
        assert workspace.allowed(folder / path) is None
    assert workspace.video_of(str(secret), folder) is None
    assert workspace.video_of("../secret.mp4", folder) is None
    assert workspace.video_of("elsewhere/inside.mp4", folder) == inside.resolve()
    with pytest.raises(UsageError, match="no such file or folder"):
        Workspace.of([tmp_path / "missing"])


@pytest.mark.slow
def test_ten_thousand_results(place: tuple[Path, Index, Database]) -> None:
    import resource

    folder, index, _ = place
    text = make(folder, "seed.mkv").read_text()
    for number in range(10_000):
        (folder / f"{number}.json").write_text(text.replace("seed.mkv", f"video {number}.mkv"))
    index.scan()
    before = resource.getrusage(resource.RUSAGE_SELF)
    page = index.page(Query(text="video 77.mkv", sort="unsure", size=60))
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert page.total == sum(f"{n}".endswith("77") for n in range(10_000))
    assert page.found == 10_001
    assert after.ru_utime - before.ru_utime < 1.0
    assert after.ru_maxrss - before.ru_maxrss < 50_000
