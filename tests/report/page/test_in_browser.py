"""The page in a real browser: its functions, and what it must not do."""

from __future__ import annotations

import dataclasses
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.report.cases import PARTIAL, REPORT, many_segments, report
from tests.report.page.test_render import EVIL
from tests.report.videos import make_case
from tests.synth import SyntheticVideo
from vtnstream.report.writer import write_reports
from vtnstream.types import ClassScore, Report, Segment
from vtnstream.video.probe import probe
from vtnstream.video.thumbnails import thumbnails

SIZES = {"wide": (1280, 900), "narrow": (390, 844)}


@pytest.fixture(scope="module")
def video_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page next to its video, with thumbnails."""
    case = make_case(tmp_path_factory.mktemp("beside"), "25")
    one = dataclasses.replace(case.report, attention=REPORT.attention, scores=REPORT.scores)
    spans = [(s.start, s.end) for s in one.segments or ()]
    one = dataclasses.replace(one, thumbnails=thumbnails(case.path, spans))
    (path,) = write_reports(one, case.path.parent / "results", ["html"]).files
    return path


def written(one: Report, folder: Path) -> Path:
    (path,) = write_reports(one, folder, ["html"]).files
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", sorted(SIZES))
def test_the_page_fits_any_window_without_console_errors(
    visit: Any, video_page: Path, size: str, scheme: str
) -> None:
    width, height = SIZES[size]
    seen = visit(video_page, viewport={"width": width, "height": height}, color_scheme=scheme)
    seen.until("document.querySelector('video').readyState >= 1")
    assert seen.see("document.documentElement.scrollWidth") == width
    ground = seen.see("getComputedStyle(document.documentElement).backgroundColor")
    assert (int(ground[4:].split(",")[0]) < 60) is (scheme == "dark")
    images = seen.see("[...document.images].map(i => i.naturalWidth)")
    assert images == [160] * 5
    assert seen.problems == []
    assert {address.rsplit("/", 1)[1] for address in seen.requests} - {""} == {
        "25%20film.mp4",
        "25%20film.mp4.html",
    } | {address.rsplit("/", 1)[1] for address in seen.requests if address.startswith("data:")}
    assert all(address.startswith(("file:", "data:")) for address in seen.requests)


def test_choosing_a_segment_seeks(visit: Any, video_page: Path) -> None:
    seen = visit(video_page)
    seen.until("document.querySelector('video').readyState >= 1")
    now = "document.querySelector('video').currentTime"
    seen.page.click("#segment-4 td.label")
    assert seen.see(now) == pytest.approx(76 / 25, abs=0.02)
    assert seen.see(now) > 76 / 25  # never the picture before the cut
    seen.page.click("[data-segment='2']")
    assert seen.see(now) == pytest.approx(31 / 25, abs=0.02)
    assert seen.chosen == "segment-2"
    assert "a/b" in seen.page.inner_text("#now")
    assert seen.page.url.endswith(".html")  # the link was not followed
    box = seen.page.locator(".curve .track").first.bounding_box()
    seen.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    assert seen.see(now) == pytest.approx(3.0, abs=0.1)
    seen.page.keyboard.press("Space")
    seen.until(f"{now} > 3.3")
    seen.page.keyboard.press("Space")
    assert seen.see("document.querySelector('video').paused")
    assert seen.page.locator("#playhead").is_visible()


def test_the_player_follows_while_the_table_is_read(visit: Any, video_page: Path) -> None:
    seen = visit(video_page, viewport={"width": 1000, "height": 500})
    seen.until("document.querySelector('video').readyState >= 1")
    seen.page.click("#segment-5 td.label")
    seen.until("document.querySelector('.player').classList.contains('floating')")
    box = seen.page.locator("video").bounding_box()
    assert box["y"] >= 0 and box["y"] + box["height"] <= 500
    seen.see("scrollTo(0, 0)")
    seen.until("!document.querySelector('.floating')")


def test_keys(visit: Any, video_page: Path) -> None:
    seen = visit(video_page)
    for key, number in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("ArrowLeft", 1)):
        seen.page.keyboard.press(key)
        assert seen.chosen == f"segment-{number}"
    width = "document.getElementById('rows').offsetWidth"
    before = seen.see(width)
    for key, factor in (("+", 2), ("+", 4), ("-", 2), ("0", 1), ("-", 1)):
        seen.page.keyboard.press(key)
        assert seen.see(width) == pytest.approx(factor * before, abs=2)
    seen.page.keyboard.press("/")
    seen.page.keyboard.type("SCHNITT")
    assert seen.shown() == ["Schnitt — 切"]
    assert seen.page.inner_text("#count") == "1 of 5"
    seen.page.keyboard.press("+")  # belongs to the field now
    assert seen.shown() == [] and seen.see(width) == before
    seen.page.keyboard.press("Escape")
    assert len(seen.shown()) == 5
    seen.page.focus("#scroll")
    seen.page.keyboard.press("ArrowRight")
    assert seen.chosen == "segment-2"


def test_filter_by_chips_and_sort(visit: Any, video_page: Path) -> None:
    seen = visit(video_page)
    seen.page.click(".chip[data-label='intro']")
    assert "intro" not in seen.shown() and len(seen.shown()) == 4
    assert seen.page.locator(".segment.off").count() == 1
    assert seen.page.get_attribute(".chip[data-label='intro']", "aria-pressed") == "false"
    seen.page.click(".chip[data-label='intro']")
    assert len(seen.shown()) == 5
    seen.page.click("[data-sort='label']")
    assert seen.shown() == sorted(seen.shown(), key=str.casefold)
    seen.page.click("[data-sort='score']")
    first = seen.shown()
    assert seen.see("document.querySelectorAll('[aria-sort]').length") == 1
    seen.page.click("[data-sort='score']")
    assert seen.shown() == first[::-1]
    assert seen.page.get_attribute("th:has([data-sort='score'])", "aria-sort") == "descending"


def test_the_page_is_readable_without_javascript(visit: Any, video_page: Path) -> None:
    seen = visit(video_page, java_script_enabled=False)
    text = seen.page.inner_text("body")
    assert "Schnitt — 切" in text and "50.0 %" in text and "up to" in text
    assert seen.page.locator("#filter").is_hidden() and seen.page.locator("#zoom-in").is_hidden()
    assert seen.page.locator("video").is_visible()
    assert "#t=" in seen.page.locator("#segment-1 a").get_attribute("href")
    seen.page.locator("summary", has_text="Video").click()
    assert "h264" in seen.page.inner_text(".groups")


def test_nothing_in_a_result_can_run_or_contact_a_host(visit: Any, tmp_path: Path) -> None:
    odd = tuple(Segment(k, k + 1, label, 0.5) for k, label in enumerate(EVIL))
    one = report(
        input=f"films/{EVIL[1].replace('/', '∕')}.mkv",
        segments=odd,
        classes=tuple(ClassScore(label, 0.5) for label in EVIL),
        model={"name": EVIL[0]},
        warnings=EVIL,
        partial=dataclasses.replace(PARTIAL, reasons=EVIL),
    )
    seen = visit(written(one, tmp_path))
    for number in range(len(EVIL)):
        seen.page.click(f"[data-segment='{number + 1}']", force=True)
    assert seen.see("window.hacked") is None
    assert seen.problems == [] and len(seen.requests) == 1
    add = "(() => { const s = document.createElement('script'); s.textContent = 'hacked = 1'; "
    seen.see(f"{add} document.body.append(s); }})()")
    assert seen.see("window.hacked") is None  # the policy stops what escaping would have missed
    tried = "fetch('http://127.0.0.1:9/').then(() => 'went', () => 'stopped')"
    assert seen.see(tried) == "stopped"
    assert any("Content Security Policy" in problem for problem in seen.problems)


def test_three_hours_with_two_thousand_segments(visit: Any, tmp_path: Path) -> None:
    segments = many_segments(2000)
    one = report(segments=segments, end_seconds=segments[-1].end, partial=PARTIAL)
    seen = visit(written(one, tmp_path))
    assert seen.page.inner_text("#count") == "2000"
    seen.page.fill("#filter", "label 3")
    assert (
        seen.page.inner_text("#count") == f"{sum(s.label == 'label 3' for s in segments)} of 2000"
    )
    seen.page.locator("#filter").blur()
    for _ in range(8):
        seen.page.keyboard.press("+")
    seen.page.keyboard.press("ArrowLeft")  # from the end
    last = max(k for k, s in enumerate(segments, 1) if s.label == "label 3")
    assert seen.chosen == f"segment-{last}"
    box = seen.page.locator(f"[data-segment='{last}']").bounding_box()
    assert 0 < box["x"] < 1280  # the timeline has gone there
    texts = seen.see("[...document.querySelectorAll('#ticks text')].map(t => t.textContent)")
    assert len(set(texts)) == len(texts) > 50
    assert seen.problems == []


def test_a_video_that_no_browser_plays_is_reported(visit: Any, tmp_path: Path) -> None:
    path = SyntheticVideo(count=25, codec="mpeg4", options={}, ticks=25).write(tmp_path / "old.avi")
    one = report(input=str(path), video=probe(path), segments=(Segment(0, 1, "a", 0.5),))
    seen = visit(written(one, tmp_path))
    seen.page.wait_for_selector("#now.failed")
    assert "open it in a player" in seen.page.inner_text("#now")
    seen.page.click("#segment-1 td.label")
    assert "open it in a player" in seen.page.inner_text("#now")


def test_served_over_http(visit: Any, video_page: Path) -> None:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(video_page.parent.parent))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        seen = visit(f"{address}/results/{video_page.name}")
        seen.until("document.querySelector('video').readyState >= 1")
        assert seen.problems == []
        assert all(url.startswith((address, "data:")) for url in seen.requests)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
