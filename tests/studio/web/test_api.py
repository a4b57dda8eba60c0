"""The REST interface over real connections."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from tests.report.cases import report
from tests.report.page.test_render import EVIL
from tests.studio.conftest import Served, write_result
from vtnstream.datasets.annotations import read_annotations
from vtnstream.errors import UsageError
from vtnstream.report.formats import WRITERS
from vtnstream.report.reading import report_from_json
from vtnstream.studio.offline import corrections_for_training
from vtnstream.types import ClassScore, Segment

Serve = Callable[..., Served]


@pytest.fixture
def served(serve: Serve, folder: Path) -> Served:
    return serve(folder)


@pytest.fixture
def name(served: Served) -> str:
    return served.ids()["25 film.mp4"]


def test_library_and_document(served: Served, name: str) -> None:
    page = served.get("/api/results")
    assert [row["name"] for row in page["rows"]] == [*("25 film.mp4", "29.97 film.mkv", "long.mkv")]
    found = served.get(f"/api/results/{name}")
    assert found["corrected"]["revision"] == 0 and not found["no_video"]
    assert [s["label"] for s in found["corrected"]["segments"]][1] == "a/b"
    assert found["lanes"] and found["frame_seconds"] == 0.04
    gone = served.get(f"/api/results/{served.ids()['long.mkv']}")
    assert "--videos gone" in gone["no_video"] and len(gone["corrected"]["segments"]) == 2000
    assert served.ask("GET", "/api/results/0123")[0] == 404
    about = served.get("/api/about")
    assert "srt" in about["formats"] and about["author"] == "tester"


def test_corrections_and_conflicts(served: Served, name: str) -> None:
    path = f"/api/results/{name}/changes"
    body = {"revision": 0, "kind": "relabel", "ids": ["m0"], "label": "mine", "author": "Ann"}
    found = served.post(path, body)
    assert found["revision"] == 1 and found["can_undo"]
    first = found["segments"][0]
    assert (first["label"], first["by"], first["score"]) == ("mine", "person", None)
    assert "mine" in found["colors"]
    stale = served.post(path, body, 409)
    assert "at revision 1" in stale["error"]
    for wrong in (
        {"revision": 1, "kind": "explode"},
        {"revision": "x", "kind": "undo"},
        {"revision": 1, "kind": "delete", "ids": ["m0"]},
        {"kind": "undo"},
        [],
        {"revision": 1, "kind": "relabel", "ids": [first["id"]], "label": {"a": 1}},
    ):
        assert "\n" not in served.post(path, wrong, 422)["error"]
    assert served.ask("POST", path, data=b"{not json")[0] == 422
    history = served.get(f"/api/results/{name}/history")
    assert [(e["revision"], e["author"]) for e in history] == [(1, "Ann")]


def test_counts_of_the_model_are_not_shown_beside_corrections(serve: Serve, tmp_path: Path) -> None:
    edits = {"shots": 2, "cuts": 1, "transitions": 0, "average_shot_seconds": 2.5}
    one = report(input="a.mkv")
    folder = tmp_path / "results"
    folder.mkdir()
    write_result(dataclasses.replace(one, run={**one.run, "edits": edits}), folder)
    served = serve(folder)
    (name,) = served.ids().values()
    assert "2 shots" in served.get(f"/api/results/{name}")["summary"][0]
    _, _, exported = served.ask("GET", f"/api/results/{name}/export/json")
    assert json.loads(exported)["run"]["edits"] == edits
    body = {"revision": 0, "kind": "relabel", "ids": ["m0"], "label": "mine"}
    served.post(f"/api/results/{name}/changes", body)
    assert "2 shots" not in str(served.get(f"/api/results/{name}")["summary"])
    _, _, exported = served.ask("GET", f"/api/results/{name}/export/json")
    assert "edits" not in json.loads(exported)["run"]


def test_every_format_holds_the_corrections(served: Served, name: str) -> None:
    path = f"/api/results/{name}/changes"
    served.post(path, {"revision": 0, "kind": "relabel", "ids": ["m4"], "label": "Mine"})
    served.post(path, {"revision": 1, "kind": "relabel", "ids": ["m3"], "label": "other"})
    refused = []
    for format, writer in WRITERS.items():
        status, headers, body = served.ask("GET", f"/api/results/{name}/export/{format}")
        if status == 422:
            assert f"format {format}" in json.loads(body)["error"]
            refused.append(format)
            continue
        assert status == 200 and b"Mine" in body, format
        assert headers["content-disposition"].endswith(writer.suffix)
        if format == "json":
            segments = report_from_json(body).segments or ()
            assert segments[-1].label == "Mine" and segments[-1].score != segments[-1].score
    assert refused == []


def test_training_on_the_command_line(
    served: Served, name: str, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out" / "mine.csv"
    with pytest.raises(UsageError, match="no corrected video is at hand"):
        corrections_for_training(folder, [], target)
    with pytest.raises(UsageError, match="make some with vtnstream studio"):
        corrections_for_training(tmp_path, [], target)
    body = {"revision": 0, "kind": "relabel", "ids": ["m0"], "label": "mine"}
    served.post(f"/api/results/{name}/changes", body)
    assert corrections_for_training(folder, [], target) == 1
    assert "mine" in read_annotations(target).labels


def test_unknown_formats_are_refused(served: Served, name: str) -> None:
    for format in ("exe", "..%2f..", "json%00"):
        assert served.ask("GET", f"/api/results/{name}/export/{format}")[0] in (404, 422)


def test_annotations_are_what_train_reads(served: Served, name: str, tmp_path: Path) -> None:
    assert served.ask("GET", "/api/annotations.csv")[2].decode() == "path,start,end,label\n"
    labels = {"revision": 0, "kind": "relabel", "ids": ["m0", "m1", "m2", "m3", "m4"]}
    served.post(f"/api/results/{name}/changes", {**labels, "label": 'a, "b"'})
    path = tmp_path / "annotations.csv"
    path.write_bytes(served.ask("GET", "/api/annotations.csv")[2])
    found = read_annotations(path)
    assert found.labels == ('a, "b"',) and len(found.videos[0].annotations) == 5
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert Path(rows[0]["path"]).name == "25 film.mp4"


def test_byte_ranges(served: Served, name: str, folder: Path) -> None:
    whole = (folder / "25 film.mp4").read_bytes()
    path = f"/api/results/{name}/video"
    status, headers, body = served.ask("GET", path)
    assert (status, body, headers["accept-ranges"]) == (200, whole, "bytes")
    assert headers["content-type"] == "video/mp4"
    for given, want in (
        ("bytes=0-99", whole[:100]),
        ("bytes=100-", whole[100:]),
        ("bytes=-50", whole[-50:]),
    ):
        status, headers, body = served.ask("GET", path, headers={"Range": given})
        assert (status, body) == (206, want) and headers["content-range"].startswith("bytes ")
    assert served.ask("GET", path, headers={"Range": "bytes=99999999-"})[0] == 416
    many = "bytes=" + ",".join(f"{k}-{k}" for k in range(5000))
    assert served.ask("GET", path, headers={"Range": many})[0] in (200, 206, 400, 416)


def test_pictures(served: Served, name: str) -> None:
    for path in (f"/api/results/{name}/poster", f"/api/results/{name}/pictures/60"):
        first, second = served.ask("GET", path), served.ask("GET", path)
        assert first[0] == 200 and first[2].startswith(b"\xff\xd8") and first[2] == second[2]
        assert first[1]["content-type"] == "image/jpeg"
    for number in ("120", "-1", "x"):
        assert served.ask("GET", f"/api/results/{name}/pictures/{number}")[0] in (404, 422)
    gone = served.ids()["long.mkv"]
    assert served.ask("GET", f"/api/results/{gone}/poster")[0] == 404


def test_a_video_that_no_browser_plays(served: Served) -> None:
    name = served.ids()["29.97 film.mkv"]
    assert served.get(f"/api/results/{name}/playing") == {"way": "remux", "address": ""}
    assert served.ask("GET", f"/api/results/{name}/video")[0] == 404


def test_results_of_hostile_names_and_labels(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    segments = tuple(Segment(k, k + 1, label, 0.5) for k, label in enumerate(EVIL))
    one = report(
        input="<img src=x onerror=alert(1)>.mkv",
        segments=segments,
        classes=tuple(ClassScore(label, 0.5) for label in EVIL),
        warnings=EVIL,
        model={"name": EVIL[0]},
    )
    write_result(one, folder, "odd")
    (folder / "passwd.json").write_text(
        (folder / "odd.json").read_text().replace("<img src=x onerror=alert(1)>.mkv", "/etc/passwd")
    )
    served = serve(folder)
    for name in served.ids().values():
        status, headers, body = served.ask("GET", f"/api/results/{name}")
        assert status == 200 and headers["content-type"] == "application/json"
        assert json.loads(body)["no_video"]
        assert served.ask("GET", f"/api/results/{name}/video")[0] == 404


def test_a_result_that_is_gone_or_broken(served: Served, name: str, folder: Path) -> None:
    (folder / "25 film.mp4.json").write_text("{}")
    assert "no" in json.loads(served.ask("GET", f"/api/results/{name}")[2])["error"]
    (folder / "25 film.mp4.json").unlink()
    assert served.ask("GET", f"/api/results/{name}")[0] == 404
    served.post("/api/scan", {}, 202)
    served.studio.index.wait()
    assert served.get("/api/results?text=25%20film")["rows"][0]["state"] == "new"


def test_the_openapi_document_describes_every_route(served: Served, name: str) -> None:
    document = served.get("/api/openapi.json")
    assert document["openapi"].startswith("3.")
    app = Path(__file__).parents[3] / "vtnstream" / "studio" / "web" / "app.py"
    count = len(re.findall(r"@routes\.(get|post|delete)\(", app.read_text()))
    operations = [op for item in document["paths"].values() for op in item.values()]
    assert len(operations) == count - 1  # the icon
    assert all(op.get("description") for op in operations)
    parts = document["components"]["schemas"]
    schema = {"$ref": "#/components/schemas/Document", "components": {"schemas": parts}}
    jsonschema.validate(served.get(f"/api/results/{name}"), schema)


def test_the_curl_lines_of_the_documents_work(serve: Serve, folder: Path, tmp_path: Path) -> None:
    (folder / "models" / "mine").mkdir(parents=True)
    (folder / "models" / "mine" / "config.json").write_text("{}")
    served = serve(folder, search_model=str(folder))  # jobs are submitted here, and not run
    name = served.ids()["25 film.mp4"]
    text = (Path(__file__).parents[3] / "docs" / "studio.md").read_text("utf-8")
    text = text.replace("match.mp4", "25 film.mp4")
    served.studio.queue.submit("analyse", {})
    served.studio.queue.cancel(1)
    served.studio.queue.submit("analyse", {})
    lines = re.findall(r"(?m)^curl .*$", text.replace("\\\n", ""))
    assert len(lines) >= 6
    for line in lines:
        own = line.replace("127.0.0.1:8090", f"127.0.0.1:{served.port}").replace("/ID", f"/{name}")
        own = own.replace('"ID"', f'"{name}"')
        done = subprocess.run(
            [*shlex.split(own), "--fail-with-body"], cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, (line, done.stdout)
    assert "kick-off" in (tmp_path / "match.srt").read_text()
    assert "kick-off" in (tmp_path / "annotations.csv").read_text()
