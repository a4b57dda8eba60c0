"""Annotation files: every form that is read, every mistake with its line."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from vtnstream.datasets.annotations import Annotation, check_overlaps, read_annotations
from vtnstream.errors import AnnotationError
from vtnstream.timecode import FrameCount


def read(tmp_path: Path, text: str | bytes, *, check_files: bool = False):
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_annotations(path, check_files=check_files)


def refused(tmp_path: Path, text: str | bytes, *, check_files: bool = False) -> str:
    with pytest.raises(AnnotationError) as caught:
        read(tmp_path, text, check_files=check_files)
    assert "\n" not in str(caught.value)
    assert "labels.csv" in str(caught.value)
    return str(caught.value)


def test_classes_of_videos_with_folds_and_scenes(tmp_path: Path) -> None:
    got = read(tmp_path, "path,label,fold,scene\nb/1.mp4,run,0,7\na.mp4,jump,2,8\n")
    assert not got.has_segments
    assert got.labels == ("jump", "run")
    assert [v.path for v in got.videos] == [tmp_path / "b/1.mp4", tmp_path / "a.mp4"]
    assert [(v.fold, v.group, v.split) for v in got.videos] == [("0", "7", None), ("2", "8", None)]
    assert got.videos[1].annotations == (Annotation("jump", line=3),)


def test_segments_take_every_form_of_time(tmp_path: Path) -> None:
    got = read(
        tmp_path,
        "path,start,end,label\nv.mp4,0,12.5,a\nv.mp4,0:12.5,1:00,b\nw.mp4,10f,2700f,a\n",
    )
    assert got.has_segments
    first, second = got.videos[0].annotations
    assert (first.start, first.end) == (Fraction(0), Fraction(25, 2))
    assert (second.start, second.end) == (Fraction(25, 2), Fraction(60))
    assert got.videos[1].annotations[0].end == FrameCount(2700)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters(tmp_path: Path, delimiter: str) -> None:
    text = "path,start,end,label\nv.mp4,0,1,a\n".replace(",", delimiter)
    assert read(tmp_path, text).videos[0].annotations[0].label == "a"


def test_bom_quotes_spaces_blank_lines_and_windows_ends(tmp_path: Path) -> None:
    text = '\ufeffPath, Label\r\n\r\n"my film, part 1.mp4", "open; close"\r\n  \r\nä.mp4,b\r\n'
    got = read(tmp_path, text)
    assert [v.path.name for v in got.videos] == ["my film, part 1.mp4", "ä.mp4"]
    assert got.labels == ("b", "open; close")
    assert [v.annotations[0].line for v in got.videos] == [3, 5]


def test_line_numbers_count_lines_inside_quotes(tmp_path: Path) -> None:
    assert "line 4" in refused(tmp_path, 'path,label\n"a\nb.mp4",x\nc.mp4,\n')


@pytest.mark.parametrize(
    ("text", "segments"), [("a.mp4,x\nb.mp4,y\n", False), ("a.mp4,0,1,x\na.mp4,1,2,y\n", True)]
)
def test_header_is_inferred(tmp_path: Path, text: str, segments: bool) -> None:
    got = read(tmp_path, text)
    assert got.has_segments is segments
    assert got.labels == ("x", "y")
    assert got.videos[0].annotations[0].line == 1


def test_absolute_paths_stay_and_unused_columns_are_told(tmp_path: Path) -> None:
    video = tmp_path / "elsewhere" / "a.mp4"
    got = read(tmp_path, f"video,class,who\n{video},x,me\n")
    assert got.videos[0].path == video
    assert got.warnings == (f"{tmp_path / 'labels.csv'}: columns not used: who",)


def test_empty_start_and_end_columns_are_classes(tmp_path: Path) -> None:
    assert not read(tmp_path, "path,start,end,label\na.mp4,,,x\n").has_segments


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("path,label\n", "only a header"),
        ("path,label\na.mp4\n", "line 2: 1 columns"),
        ("path,label\na, b.mp4,x\n", "line 2: 3 columns instead of 2"),
        ("path,label\na.mp4,x\n,y\n", "line 3: the path is empty"),
        ("path,label\na.mp4,x\nb.mp4,\n", "line 3: the label is empty"),
        ("path,start,label\na.mp4,1,x\n", "start and end go together"),
        ("path,start,end,label\na.mp4,1,,x\n", "line 2: start and end go together"),
        ("path,start,end,label\na.mp4,1,soon,x\n", "line 2: not a time: 'soon'"),
        ("path,start,end,label\na.mp4,-1,2,x\n", "line 2: not a time: '-1'"),
        ("path,start,end,label\na.mp4,5,5,x\n", "line 2: end 5 is not after start 5"),
        ("path,start,end,label\na.mp4,1,20f,x\n", "line 2: start and end must both be"),
        ("path,start,end,label\na.mp4,0,1,x\nb.mp4,,,y\n", "line 3 has no start and end"),
        ("path,start,end,label\na.mp4,4,9,x\na.mp4,0,5,y\n", "lines 2 and 3 overlap"),
        ("path,start,end,label\na.mp4,4f,9f,x\na.mp4,0f,5f,x\n", "lines 2 and 3 overlap"),
        ("path,label\na.mp4,x\na.mp4,y\n", "line 3 calls a.mp4 'y', line 2 calls it 'x'"),
        ("path,label,fold\na.mp4,x,1\na.mp4,x,2\n", "line 3 puts a.mp4 into another fold"),
        ("path,label,split\na.mp4,x,later\n", "line 2: split 'later'"),
        ("a.mp4,x,1\n", "line 1 is not a header"),
        ('path,label\n"a.mp4,x\n', "line 2"),
        (b"path,label\na.mp4,x\nb\xff.mp4,y\n", "line 3 is not UTF-8"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert words in refused(tmp_path, text)


def test_repeated_lines_count_once(tmp_path: Path) -> None:
    got = read(tmp_path, "path,label\na.mp4,x\na.mp4,x\n")
    assert len(got.videos[0].annotations) == 1
    assert "line 3 repeats line 2" in got.warnings[0]


def test_segments_may_touch(tmp_path: Path) -> None:
    got = read(tmp_path, "path,start,end,label\na.mp4,5,9,x\na.mp4,0,5,y\n")
    assert len(got.videos[0].annotations) == 2


def test_missing_videos_are_listed(tmp_path: Path) -> None:
    (tmp_path / "here.mp4").touch()
    text = "path,label\nhere.mp4,x\n" + "".join(f"gone{i}.mp4,y\n" for i in range(7))
    message = refused(tmp_path, text, check_files=True)
    assert "7 of 8 videos do not exist" in message
    assert f"line 3 {tmp_path / 'gone0.mp4'}" in message
    assert "and 2 more" in message
    assert len(read(tmp_path, text).missing()) == 7


def test_splits_by_any_of_their_names(tmp_path: Path) -> None:
    got = read(tmp_path, "path,label,subset\na,x,Training\nb,x,val\nc,x,TEST\nd,x,\n")
    assert [v.split for v in got.videos] == ["train", "validation", "test", None]


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_annotations(tmp_path / "none.csv")


def test_frames_and_seconds_are_not_compared() -> None:
    mixed = [
        Annotation("x", Fraction(0), Fraction(10), 2),
        Annotation("y", FrameCount(5), FrameCount(9), 3),
    ]
    check_overlaps(mixed, "somewhere")


GERMAN = "\ufeffPath;Start;End;Label\r\nv1.mp4;5,0;15,5;pour\r\nv1.mp4;15,5;1:20,25;stir\r\n"


@pytest.mark.parametrize(
    "data",
    [
        GERMAN.encode(),
        GERMAN.encode("utf-16"),
        GERMAN[1:].encode("utf-16-le"),
        GERMAN[1:].encode("utf-16-be"),
        b"sep=;\r\n" + GERMAN[1:].encode(),
        GERMAN[1:].replace(";", "\t").encode("utf-16"),
    ],
)
def test_tables_of_spreadsheets(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "de.csv"
    path.write_bytes(data)
    (video,) = read_annotations(path, check_files=False).videos
    assert [(a.start, a.end, a.label) for a in video.annotations] == [
        (Fraction(5), Fraction(31, 2), "pour"),
        (Fraction(31, 2), Fraction(321, 4), "stir"),
    ]


def test_lines_are_numbered_behind_the_line_that_names_the_separator(tmp_path: Path) -> None:
    path = tmp_path / "de.csv"
    path.write_text("sep=;\npath;start;end;label\nv.mp4;5;4;x\n")
    with pytest.raises(AnnotationError, match="line 3: end 4 is not after start 5"):
        read_annotations(path, check_files=False)


def test_labels_in_two_unicode_forms_are_one(tmp_path: Path) -> None:
    path = tmp_path / "nfd.csv"
    path.write_text("path,start,end,label\nv.mp4,5,15,caf\u00e9\nv.mp4,15,20,cafe\u0301\n", "utf-8")
    assert read_annotations(path, check_files=False).labels == ("caf\u00e9",)


def test_file_names_in_the_other_unicode_form_are_found(tmp_path: Path) -> None:
    video = tmp_path / "cafe\u0301.mp4"
    video.touch()
    path = tmp_path / "a.csv"
    path.write_text("path,label\ncaf\u00e9.mp4,x\n", "utf-8")
    assert read_annotations(path).videos[0].path == video


def test_one_video_under_two_paths_is_one(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").touch()
    (tmp_path / "link.mp4").symlink_to("v.mp4")
    (tmp_path / "sub").mkdir()
    path = tmp_path / "a.csv"
    path.write_text("path,start,end,label\nv.mp4,1,2,x\nsub/../v.mp4,2,3,y\nlink.mp4,3,4,x\n")
    found = read_annotations(path)
    assert len(found.videos) == 1 and len(found.videos[0].annotations) == 3
    assert "is the same video as" in found.warnings[0]
    path.write_text("path,start,end,label\nv.mp4,1,3,x\nlink.mp4,2,4,y\n")
    with pytest.raises(AnnotationError, match="overlap"):
        read_annotations(path)
