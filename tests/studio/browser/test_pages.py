"""The studio in a real browser: look, correct with mouse and keyboard, reload, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Visit
from tests.cli.conftest import frames
from tests.report.cases import report
from tests.report.page.test_render import EVIL
from tests.studio.conftest import Served, write_result
from vtnstream.report.reading import read_report
from vtnstream.types import ClassScore, Segment
from vtnstream.video.probe import probe
from vtnstream.video.write import write_video

Serve = Callable[..., Served]
SERIOUS = {"serious", "critical"}


@pytest.fixture
def served(serve: Serve, folder: Path) -> Served:
    return serve(folder)


@pytest.fixture
def open_video(served: Served, visit: Any) -> Callable[..., Visit]:
    def open_video(name: str = "25 film.mp4", **options: Any) -> Visit:
        seen: Visit = visit(f"http://127.0.0.1:{served.port}/video/{served.ids()[name]}", **options)
        seen.until("document.querySelector('.list .row') !== null")
        if name == "25 film.mp4":
            seen.until("document.querySelector('video').readyState >= 1")
        return seen

    return open_video


def rows(seen: Visit) -> list[str]:
    script = (
        "[...document.querySelectorAll('.list .row')].map(r => r.innerText.replace(/\\s+/g, ' '))"
    )
    return list(seen.see(script))


def chosen(seen: Visit) -> list[str]:
    script = (
        "[...document.querySelectorAll('.row[aria-selected=true] .name')].map(r => r.innerText)"
    )
    return list(seen.see(script))


def saved(seen: Visit, count: int) -> None:
    noun = "correction" if count == 1 else "corrections"
    seen.until(f"document.getElementById('saved').textContent === '{count} {noun}, all saved'")


def serious(seen: Visit) -> list[str]:
    """Findings of axe-core that keep people out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(seen.page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']][:3]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        (390, "dark"),
        pytest.param(1280, "dark", marks=pytest.mark.slow),
        pytest.param(390, "light", marks=pytest.mark.slow),
    ],
)
def test_pages_fit_and_keep_nobody_out(
    served: Served, visit: Any, open_video: Any, width: int, scheme: str
) -> None:
    options = {"viewport": {"width": width, "height": 850}, "color_scheme": scheme}
    library = visit(f"http://127.0.0.1:{served.port}/", **options)
    library.until("document.querySelectorAll('.card').length === 3")
    library.until("[...document.images].every(i => i.complete)")
    video = open_video(**options)
    video.page.keyboard.press("ArrowRight")
    teach = visit(f"http://127.0.0.1:{served.port}/teach", **options)
    teach.until("document.getElementById('ready').textContent.includes('corrected')")
    for seen in (library, video, teach):
        assert seen.see("document.documentElement.scrollWidth") == width
        ground = seen.see("getComputedStyle(document.documentElement).backgroundColor")
        assert (int(ground[4:].split(",")[0]) < 60) is (scheme == "dark")
        assert serious(seen) == []
        own = f"http://127.0.0.1:{served.port}/"
        assert all(url.startswith(own) for url in seen.requests)
    missing = [p for p in library.problems if "404" not in p]  # the poster of a lost video
    assert missing == [] and video.problems == [] and teach.problems == []


@pytest.mark.slow
def test_the_library_is_searched_and_filtered(served: Served, visit: Any) -> None:
    seen = visit(f"http://127.0.0.1:{served.port}/")
    seen.until("document.querySelectorAll('.card').length === 3")
    seen.page.keyboard.press("/")
    seen.page.keyboard.type("label 3")
    seen.until("document.querySelectorAll('.card').length === 1")
    assert "long.mkv" in seen.page.inner_text("#cards")
    seen.page.reload()  # the address holds the search
    seen.until("document.querySelectorAll('.card').length === 1")
    seen.page.fill("#text", "")
    seen.page.select_option("#label", "end")
    seen.until("document.getElementById('count').textContent.startsWith('2 of 3')")
    seen.page.click(".card a")
    seen.until("document.querySelector('.list .row') !== null")


def test_correct_with_the_keyboard_reload_and_export(
    served: Served, open_video: Any, tmp_path: Path
) -> None:
    seen = open_video()
    page = seen.page
    page.keyboard.press("ArrowRight")
    assert chosen(seen) == ["intro"]
    page.keyboard.press("l")
    page.keyboard.type("opening")
    page.keyboard.press("Enter")
    saved(seen, 1)
    assert chosen(seen) == ["opening"] and "person" in rows(seen)[0]
    page.keyboard.press("m")  # with the next one
    saved(seen, 2)
    seen.see("document.querySelector('video').currentTime = 0.5")
    seen.until("!document.querySelector('video').seeking")
    page.keyboard.press("s")
    saved(seen, 3)
    assert len(rows(seen)) == 5
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Delete")
    saved(seen, 4)
    assert len(rows(seen)) == 4
    page.keyboard.press("Control+z")
    saved(seen, 5)
    page.keyboard.press("Control+z")
    saved(seen, 6)
    page.keyboard.press("Control+Shift+z")
    saved(seen, 7)
    before = rows(seen)
    page.reload()
    seen.until("document.querySelectorAll('.list .row').length === 5")
    assert rows(seen) == before
    with page.expect_download() as download:
        page.select_option("#export", "json")
    download.value.save_as(tmp_path / "out.json")
    segments = read_report(tmp_path / "out.json").segments or ()
    assert [s.label for s in segments][:2] == ["opening", "opening"]
    assert segments[0].end == pytest.approx(0.5, abs=0.05)
    assert seen.problems == []


def test_drag_a_bound_with_the_mouse(served: Served, open_video: Any) -> None:
    seen = open_video()
    box = seen.page.locator("#canvas").bounding_box()
    y = box["y"] + 22 + 4 + 10

    def x(seconds: float) -> float:
        return float(box["x"] + box["width"] * seconds / 6.0)

    seen.page.mouse.move(x(31 / 25), y)
    seen.page.mouse.down()
    seen.page.mouse.move(x(0.9), y, steps=4)
    seen.page.mouse.up()
    saved(seen, 1)
    name = served.ids()["25 film.mp4"]
    found = served.get(f"/api/results/{name}")["corrected"]["segments"]
    bound = found[0]["end"]
    assert bound == pytest.approx(0.88, abs=0.06)
    assert bound * 25 == pytest.approx(round(bound * 25), abs=1e-3)  # at a frame
    assert found[1]["start"] == bound  # the neighbour went along
    seen.page.mouse.move(x(3.5), y)
    seen.until("document.querySelector('#preview img').naturalWidth > 0")
    assert "=1+1" in seen.page.inner_text("#preview")
    seen.page.mouse.click(x(3.5), y)
    assert chosen(seen) == ["=1+1"]
    assert seen.see("document.querySelector('video').currentTime") == pytest.approx(3.5, abs=0.05)
    seen.page.mouse.move(x(2.1), y)  # nothing is here: a drag adds a segment
    seen.page.mouse.down()
    seen.page.mouse.move(x(2.9), y, steps=4)
    seen.page.mouse.up()
    saved(seen, 2)
    added = served.get(f"/api/results/{name}")["corrected"]["segments"][2]
    assert (added["by"], chosen(seen)) == ("person", ["=1+1"])
    assert (added["start"], added["end"]) == (
        pytest.approx(2.1, abs=0.06),
        pytest.approx(2.9, abs=0.06),
    )
    seen.page.keyboard.press("Escape")
    seen.page.keyboard.press("Control+z")
    saved(seen, 3)
    seen.page.click(".row[aria-posinset='3']")  # the playhead is at its start:
    seen.page.click("[data-do=split]")  # no sliver is split off
    seen.until("document.querySelector('.toast')?.textContent.includes('inside no segment')")
    seen.page.mouse.click(x(3.5), y)
    seen.page.click("#as-grid")  # the segments as frames
    seen.until("[...document.querySelectorAll('#grid img')].every(i => i.naturalWidth > 0)")
    assert seen.see("document.querySelectorAll('#grid .card').length") == 5
    assert "=1+1" in seen.page.inner_text("#grid [aria-selected=true]")
    seen.page.click("#grid .card[aria-posinset='5']")
    assert seen.page.inner_text("#grid [aria-selected=true] strong") == "end"
    assert seen.see("document.querySelector('video').currentTime") == pytest.approx(4.8, abs=0.05)


def test_three_hours_with_two_thousand_segments(served: Served, open_video: Any) -> None:
    seen = open_video("long.mkv")
    assert seen.see("document.querySelectorAll('.list .row').length") < 60
    assert seen.page.inner_text("#count") == "2000"
    seen.page.click("#as-grid")
    assert 60 <= seen.see("document.querySelectorAll('#grid .card').length") <= 240
    assert seen.see("document.querySelectorAll('#grid img').length") == 0  # there is no video
    seen.page.click("#as-grid")
    assert "--videos gone" in seen.page.inner_text("#novideo")
    seen.page.fill("#filter", "label 3")
    seen.until("document.getElementById('count').textContent.includes(' of 2000')")
    assert all("label 3" in row for row in rows(seen))
    seen.page.keyboard.press("Escape")
    seen.until("document.getElementById('count').textContent === '2000'")
    seen.page.focus("#list")
    seen.see("document.getElementById('list').scrollTop = 1e9")
    seen.until("[...document.querySelectorAll('.row')].some(r => r.ariaPosInSet === '2000')")
    seen.page.click(".row[aria-posinset='2000']")
    for _ in range(6):
        seen.page.keyboard.press("+")
    seen.page.keyboard.press("ArrowUp")
    seen.page.keyboard.press("c")
    saved(seen, 1)
    assert seen.see("document.querySelector('.row[aria-selected=true]').ariaPosInSet") == "1999"
    name = served.ids()["long.mkv"]
    assert served.get(f"/api/results/{name}")["corrected"]["segments"][1998]["by"] == "person"
    assert seen.problems == []


@pytest.mark.slow
def test_a_second_tab_is_told(served: Served, open_video: Any) -> None:
    seen = open_video()
    name = served.ids()["25 film.mp4"]
    body = {"revision": 0, "kind": "relabel", "ids": ["m0"], "label": "theirs"}
    served.post(f"/api/results/{name}/changes", body)  # by someone else
    seen.page.keyboard.press("ArrowRight")
    seen.page.keyboard.press("ArrowRight")
    seen.page.keyboard.press("c")
    seen.until("document.querySelector('.toast')?.textContent.includes('another tab')")
    assert "theirs" in rows(seen)[0]
    seen.page.keyboard.press("c")  # again, now for what is shown
    saved(seen, 2)


def test_nothing_in_a_result_can_run(serve: Serve, visit: Any, tmp_path: Path) -> None:
    evil = [text for text in EVIL if text.strip()]
    one = report(
        input="<img src=x onerror='window.hacked = 1'>.mkv",
        segments=tuple(Segment(k, k + 1, label, 0.5) for k, label in enumerate(evil)),
        classes=tuple(ClassScore(label, 0.5) for label in evil),
        warnings=EVIL,
        model={"name": EVIL[0]},
    )
    write_result(one, tmp_path / "odd", "odd")
    served = serve(tmp_path / "odd")
    seen = visit(f"http://127.0.0.1:{served.port}/")
    seen.until("document.querySelector('.card') !== null")
    seen.page.click(".card a")
    seen.until("document.querySelector('.list .row') !== null")
    for _ in evil:
        seen.page.keyboard.press("ArrowRight")
    assert EVIL[0] in seen.page.inner_text("#list")
    assert seen.see("window.hacked") is None
    assert seen.see("document.images.length") == 2  # the icon and the frame of the preview
    tried = "fetch('http://127.0.0.1:9/').then(() => 'went', () => 'stopped')"
    assert seen.see(tried) == "stopped"
    assert json.dumps(seen.requests).count("127.0.0.1:9") == 0 or seen.problems


@pytest.mark.slow
def test_correct_train_and_use_the_model_with_the_mouse(
    serve: Serve, visit: Any, tmp_path: Path
) -> None:
    videos, results = tmp_path / "videos", tmp_path / "made"
    videos.mkdir()
    for number in range(5):
        path = videos / f"{number}.mp4"
        write_video(path, frames(10), Fraction(10))
        one = report(input=str(path), video=probe(path), segments=(), end_seconds=10.0, scores=())
        write_result(one, results)
    served = serve(results, videos=[videos])
    served.studio.start()
    own = f"http://127.0.0.1:{served.port}"
    for name in list(served.ids().values())[:4]:  # the last is left to be suggested
        spans = ((0.0, 5.0, "dark"), (5.0, 10.0, "bright"))
        for revision, (start, end, label) in enumerate(spans):
            body = {"kind": "add", "start": start, "end": end, "label": label}
            served.post(f"/api/results/{name}/changes", {"revision": revision, **body})
    seen = visit(f"{own}/teach")
    seen.until("document.querySelectorAll('#plan li').length === 1")
    assert "No training video" not in seen.page.inner_text("#plan")
    assert seen.see("document.getElementById('suggest-go').disabled")  # there is no model yet
    seen.page.fill("#name", "mine")
    seen.page.fill("#epochs", "1")
    seen.page.click("#train button")
    seen.until("document.querySelector('.held') !== null", seconds=600)
    assert "held-out" in seen.page.inner_text(".model")
    seen.page.click("#suggest-go")
    seen.until("document.querySelector('#suggestions .card') !== null", seconds=300)
    seen.page.click("#suggestions a")
    seen.until(
        "document.querySelector('video')?.currentTime > 0 || location.search.includes('0.000')"
    )
    seen.page.goto(f"{own}/teach")
    seen.until("document.querySelector('.model button') !== null")
    seen.page.click(".model button")
    seen.until("document.querySelector('#jobs .state.done') !== null", seconds=300)
    assert seen.problems == []
