"""One image of each shot, and contact sheets."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.report.cases import REPORT, VIDEO
from vtnstream.errors import VideoDecodeError
from vtnstream.report.writer import Written, write_reports
from vtnstream.report.writers.pictures import Pixels, pictured
from vtnstream.types import Report, Segment

SMALL = dataclasses.replace(VIDEO, width=64, height=36)


def shots(count: int, video: object = SMALL) -> Report:
    """Shots of two seconds; a dissolve of one second follows every third one."""
    segments: list[Segment] = []
    start = 0.0
    for number in range(1, count + 1):
        segments.append(Segment(start, start + 2, "shot", 0.9, shot=number))
        start += 2
        if number % 3 == 0:
            segments.append(Segment(start, start + 1, "dissolve", 0.9))
            start += 1
    assert isinstance(video, type(VIDEO))
    return dataclasses.replace(
        REPORT, segments=tuple(segments), video=video, end_seconds=start, scores=()
    )


def grey(spans: Sequence[tuple[float, float]], longest: int | None) -> Iterator[Pixels | None]:
    """Frames whose brightness is the second at which their span starts."""
    width, height = (64, 36) if longest is None else (min(longest, 64), 36)
    for start, _ in spans:
        yield np.full((height, width, 3), int(start) % 256, np.uint8)


def written(report: Report, folder: Path, *formats: str, **more: object) -> Written:
    return write_reports(report, folder, formats, frames=grey, **more)  # type: ignore[arg-type]


def test_one_image_of_each_shot_named_by_number_and_time(tmp_path: Path) -> None:
    found = written(shots(4), tmp_path, "images")
    assert [p.relative_to(tmp_path).as_posix() for p in found.files] == [
        "movie.mkv.images/shot-001_0-00-01.000.jpg",
        "movie.mkv.images/shot-002_0-00-03.000.jpg",
        "movie.mkv.images/shot-003_0-00-05.000.jpg",
        "movie.mkv.images/shot-004_0-00-08.000.jpg",
    ]
    with Image.open(found.files[3]) as image:
        assert image.size == (64, 36)
        assert abs(np.asarray(image).mean() - 7) < 2


def test_segments_without_numbers_are_named_by_label(tmp_path: Path) -> None:
    names = [p.name for p in written(REPORT, tmp_path, "images").files]
    assert names[0] == "001_0-03-30.750_preparation.jpg"
    assert len(names) == 4


def test_a_later_run_replaces_the_images_of_an_earlier_one(tmp_path: Path) -> None:
    written(shots(5), tmp_path, "images")
    folder = tmp_path / "movie.mkv.images"
    (folder / "notes.jpg").touch()
    kept = folder / "shot-005_0-00-10.000.jpg"
    assert kept.exists()
    written(shots(2), tmp_path, "images", obsolete=lambda path: path != kept)
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["notes.jpg", "shot-001_0-00-01.000.jpg", "shot-002_0-00-03.000.jpg", kept.name]


def test_one_contact_sheet(tmp_path: Path) -> None:
    (path,) = written(shots(10), tmp_path, "contact-sheet").files
    assert path.name == "movie.mkv.contact-sheet.jpg"
    with Image.open(path) as image:
        assert image.width <= 2000 and image.height <= 2000
        assert image.width > 8 * 240


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (10, 4000)])
def test_two_thousand_shots_fit_on_sheets_of_sane_size(
    tmp_path: Path, width: int, height: int
) -> None:
    video = dataclasses.replace(VIDEO, width=width, height=height)
    files = written(shots(2000, video), tmp_path, "contact-sheet").files
    assert 10 <= len(files) <= 40
    assert files[0].name == "movie.mkv.contact-sheet-01.jpg"
    for path in files:
        with Image.open(path) as image:
            assert max(image.size) <= 2000


def test_images_and_sheets_read_the_video_once(tmp_path: Path) -> None:
    calls: list[int | None] = []

    def frames(spans: Sequence[tuple[float, float]], longest: int | None) -> Iterator[Pixels]:
        calls.append(longest)
        yield from (np.zeros((36, 64, 3), np.uint8) for _ in spans)

    files = write_reports(shots(3), tmp_path, ["images", "contact-sheet"], frames=frames).files
    assert calls == [None]
    assert len(files) == 4


def test_frames_that_cannot_be_decoded_are_told(tmp_path: Path) -> None:
    def frames(spans: Sequence[tuple[float, float]], longest: int | None) -> Iterator[None]:
        yield from (None for _ in spans)

    found = write_reports(shots(2), tmp_path, ["images", "contact-sheet"], frames=frames)
    assert [path.name for path in found.files] == ["movie.mkv.contact-sheet.jpg"]
    assert "no frame of 2 segments could be decoded: shot 1, shot 2" in found.remarks[-1]


def test_other_formats_are_written_if_the_video_fails(tmp_path: Path) -> None:
    def frames(spans: Sequence[tuple[float, float]], longest: int | None) -> Iterator[Pixels]:
        yield np.zeros((36, 64, 3), np.uint8)
        raise VideoDecodeError("movie.mkv: cannot be read")

    found = write_reports(shots(2), tmp_path, ["json", "images"], frames=frames)
    assert [path.name for path in found.files] == ["movie.mkv.json"]
    assert dict(found.refused) == {"images": "movie.mkv: cannot be read"}
    assert [path.name for path in tmp_path.iterdir()] == ["movie.mkv.json"]


def test_without_a_video_or_segments_images_are_refused(tmp_path: Path) -> None:
    refused = write_reports(shots(2), tmp_path, ["images"]).refused
    assert "--video" in refused["images"]
    empty = dataclasses.replace(REPORT, segments=())
    assert "none" in written(empty, tmp_path, "contact-sheet").refused["contact-sheet"]
    assert list(tmp_path.iterdir()) == []


def test_shots_alone_have_images_where_there_are_some() -> None:
    assert [one.number for one in pictured(shots(4))] == [1, 2, 3, 4]
    assert len(pictured(dataclasses.replace(REPORT, segments=None))) == 0


def test_a_sheet_shows_each_frame_at_its_place(tmp_path: Path) -> None:
    (path,) = written(shots(9), tmp_path, "contact-sheet").files
    data = io.BytesIO(path.read_bytes())
    pixels = np.asarray(Image.open(data).convert("L"), np.int16)
    # Frames of 64 x 36 lie in the middle of cells of 240 x 135; the ninth begins a row.
    middle = 32 + 135 // 2
    for number, start in enumerate((0, 2, 4, 7, 9, 11, 14, 16)):
        assert abs(int(pixels[middle, 8 + number * 248 + 120]) - start) <= 3
    assert abs(int(pixels[middle + 135 + 28, 8 + 120]) - 18) <= 3
