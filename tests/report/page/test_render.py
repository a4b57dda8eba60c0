"""The page as a document: complete, escaped, and without connections."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report.cases import HEADS, PARTIAL, REPORT, SEGMENTS, many_segments, report
from tests.report.videos import Case
from vtnstream.report.page.render import report_page
from vtnstream.report.page.timeline import MAX_ROWS, Scale, curves, rows, ticks
from vtnstream.report.place import Place
from vtnstream.types import ClassScore, Curve, Report, ScoreCurve, Segment, Thumbnail

EVIL = (
    "<script>window.hacked = 1</script>",
    '"><img src="http://example.org/x.png" onerror="window.hacked = 1">',
    "</style></title></script><b>",
    "' onclick='window.hacked = 1",
    "{{ 7 * 7 }}",
    "javascript:window.hacked=1",
    "\x00\x1b[31m\u202e",
    "\ud800",
    "",
)


class Document(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._hidden = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        found = [attrs for name, attrs in self.tags if name == tag]
        return [a for a in found if attributes.items() <= a.items()]


def page_of(one: Report, folder: Path = Path("results"), video: Path | None = None) -> Document:
    return Document(report_page(one, Place.of(one, folder, video)))


def test_the_page_shows_the_whole_result_without_a_script() -> None:
    page = page_of(report(partial=PARTIAL))
    words = " ".join(page.words.split())
    for part in (
        "movie.mkv",
        "1:00:00",
        "97.3 %",
        "cholecystectomy",
        "preparation",
        "packaging",
        "7:01.5",
        "00:07:01;16",
        "Partial result",
        "the file ends early",
        "Read 40:10.5 of 1:00:00.1 (67.0 %).",
        "one warning",
        "ab" * 32,
        "2 frames/s",
        "up to 1.8 × even",
    ):
        assert part in words, part
    assert len(page.all("tr", **{"data-label": "dissection"})) == 1
    shapes = [a for a in page.all("svg") if "data-segment" in a]
    assert len(shapes) == len(SEGMENTS)


def test_segments_are_to_scale() -> None:
    shapes = [a for a in page_of(REPORT).all("svg") if "data-segment" in a]
    for shape, segment in zip(shapes, SEGMENTS, strict=True):
        x, w = (float((shape[key] or "").rstrip("%")) for key in ("x", "width"))
        assert x == pytest.approx(100 * segment.start / 3600.1, abs=1e-3)
        assert x + w == pytest.approx(100 * segment.end / 3600.1, abs=1e-3)


def test_values_of_a_result_are_escaped_as_text() -> None:
    odd = tuple(Segment(k, k + 1, label, 0.5) for k, label in enumerate(EVIL))
    hostile = dict.fromkeys(("name", "source"), EVIL[1])
    one = report(
        input="films/" + EVIL[0].replace("/", "∕") + ".mkv",
        segments=odd,
        labels=EVIL,
        classes=tuple(ClassScore(label, 0.5) for label in EVIL),
        scores=tuple(ScoreCurve(0, 9, (0.5,), label) for label in EVIL),
        model=hostile,
        run={EVIL[1]: EVIL[0]},
        warnings=EVIL,
    )
    text = report_page(one, Place.of(one, Path("results")))
    text.encode("utf-8")
    page = Document(text)
    assert len(page.all("script")) == 1 and len(page.all("style")) == 1
    assert page.all("img") == [] and page.all("b") == []
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert not any(key == "style" for _, attrs in page.tags for key in attrs)
    assert "\x1b" not in text and "\u202e" not in text and "49" not in page.words
    assert next(row["data-label"] for row in page.all("tr") if "data-label" in row) == EVIL[0]


def test_the_policy_allows_only_this_style_and_script() -> None:
    text = report_page(REPORT, Place.of(REPORT, Path("results")))
    (policy,) = Document(text).all("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.split(" ", 1) for rule in (policy["content"] or "").split("; "))
    for tag in ("style", "script"):
        (part,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)


def test_the_video_is_linked_relative_to_the_page(case: Case, tmp_path: Path) -> None:
    page = page_of(case.report, case.path.parent / "results")
    (video,) = page.all("video")
    name = case.path.name.replace(" ", "%20")
    assert video["src"] == f"./../{name}"
    links = [a["href"] for a in page.all("a") if "tabindex" not in a]
    first = case.report.segments[0]  # type: ignore[index]
    assert links[0] == f"./../{name}#t={first.start:.3f},{first.end:.3f}"
    assert page_of(REPORT).all("video") == []
    assert "No player" in page_of(REPORT).words


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a b.mp4", "./a%20b.mp4"),
        ("javascript:alert(1).mp4", "./javascript%3Aalert%281%29.mp4"),
        ("#?%.mp4", "./%23%3F%25.mp4"),
        ("切.mp4", "./%E5%88%87.mp4"),
        ("\udcff.mp4", "./%FF.mp4"),
    ],
)
def test_any_file_name_is_a_path(name: str, source: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    one = report(input=str(tmp_path / name))
    assert Place.of(one, tmp_path).relative == source


@pytest.mark.parametrize(
    "address", ["https://example.org/a.mp4", "javascript://x", "-", "s3://b/c"]
)
def test_addresses_are_never_played(address: str, tmp_path: Path) -> None:
    assert page_of(report(input=address), tmp_path).all("video") == []


def test_thumbnails_are_embedded_and_missing_ones_are_reported() -> None:
    pictures = (Thumbnail(3.5, b"\xff\xd8jpeg"), None, None, Thumbnail(2500.0, b"\xff\xd8"))
    page = page_of(report(thumbnails=pictures))
    images = page.all("img")
    assert (
        images[0]["src"] == "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8jpeg").decode()
    )
    assert images[0]["alt"] == "at 0:03.50" and len(images) == 2
    assert "Thumbnails for 2 of 4 segments" in page.words
    assert "No thumbnails" in page_of(REPORT).words
    # Thumbnails of other segments than these are not shown.
    fewer = report(thumbnails=pictures, segments=SEGMENTS[:2])
    assert page_of(fewer).all("img") == []


def test_a_class_without_a_timeline() -> None:
    page = page_of(report(segments=None, scores=(), attention=None))
    assert "cholecystectomy" in page.words and page.all("video") == []
    assert "Class of the whole video" in page.words
    several = page_of(report(segments=None, heads=HEADS)).words
    for title in ("Action", "Verb", "Noun"):
        assert f"{title} of the whole video" in several
    assert "take" in several and "75" in several
    assert not any(a.get("id") == "rows" for a in page.all("div"))
    attention_alone = page_of(report(segments=None, scores=()))
    assert any(a.get("id") == "rows" for a in attention_alone.all("div"))
    assert "No segments." in page_of(report(segments=())).words


# ------------------------------------------------------------------------------- curves


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", path)]


def test_curves_stop_at_gaps_and_keep_their_heights() -> None:
    one = report(
        segments=(),
        attention=Curve(0, 4, (2.0, 1.0, None, 0.0)),
        scores=(
            ScoreCurve(
                0, 4, (0.0, 1.0, None, 0.5), "clipping", (0, 0.5, None, 0.5), (0.5, 1, None, 0.5)
            ),
        ),
        end_seconds=4.0,
        start_seconds=0.0,
    )
    attention, score = curves(one, Scale.of(one), {})
    assert attention.line.count("M") == attention.area.count("M") == 2
    assert points(attention.line)[0] == (0, 3) and attention.even == 50
    assert points(score.line) == [(0, 97), (0.5, 97), (1.5, 3), (2, 3), (3, 50), (3.5, 50), (4, 50)]
    assert points(score.band)[:4] == [(0, 50), (0.5, 50), (1.5, 3), (2, 3)]
    assert (score.x, score.w, score.parts) == (0, 100, 4)


@pytest.mark.parametrize("end", [0.5, 9.0, 61.0, 600.0, 10_800.0, 400_000.0])
def test_ticks_are_round_and_few(end: float) -> None:
    found = ticks(Scale(0.0, end))
    assert 4 <= len(found) <= 11
    assert found[0].text.strip("0:.") == "" and not found[0].minor
    assert [tick.minor for tick in found] == [bool(k % 2) for k in range(len(found))]


def test_overlapping_classes_have_rows_of_their_own_and_not_too_many() -> None:
    labels = [f"label {k}" for k in range(40)]
    both = tuple(Segment(0, 10 + k, label, 0.5) for k, label in enumerate(labels))
    one = report(segments=both, labels=tuple(labels))
    lanes, more = rows(one, Scale.of(one), dict.fromkeys(labels, "#123456"), [None] * 40)
    assert (len(lanes), more) == (MAX_ROWS, 40 - MAX_ROWS)
    assert [lane.name for lane in lanes] == labels[-MAX_ROWS:]
    assert f"{more} more labels" in page_of(one).words


def test_three_hours_and_two_thousand_segments_stay_small() -> None:
    segments = many_segments(2000)
    pictures = tuple(
        Thumbnail(s.start, bytes(3000)) if k < 200 else None for k, s in enumerate(segments)
    )
    one = dataclasses.replace(
        REPORT, segments=segments, end_seconds=segments[-1].end, thumbnails=pictures
    )
    text = report_page(one, Place.of(one, Path("results")))
    assert len(text) < 4_000_000
    assert len(Document(text).all("tr")) == 2000 + 1 + len(REPORT.classes)
