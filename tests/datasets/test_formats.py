"""Every format of annotations: recognised, read, and its mistakes named with their lines."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from vtnstream.datasets.annotations import Annotations, read_annotations, recognise
from vtnstream.errors import AnnotationError, UsageError
from vtnstream.timecode import FrameCount


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"video")


def pairs(annotations: Annotations) -> list[tuple[str, str]]:
    return [(v.path.name, a.label) for v in annotations.videos for a in v.annotations]


def test_pyslowfast_lists(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "my film.mp4")
    path = tmp_path / "train.csv"
    path.write_text('a.mp4 12\n"my film.mp4" 3\n')
    assert recognise(path) == "pyslowfast"
    got = read_annotations(path)
    assert pairs(got) == [("a.mp4", "12"), ("my film.mp4", "3")]
    assert got.labels == ("3", "12")  # by size, not as words
    (tmp_path / "labels.txt").write_text("\n".join(f"class {i}" for i in range(13)))
    assert pairs(read_annotations(path))[0] == ("a.mp4", "class 12")
    path.write_text("a.mp4,12\nmy film.mp4,3\n")
    got = read_annotations(path, format="pyslowfast")
    assert pairs(got) == [("a.mp4", "class 12"), ("my film.mp4", "class 3")]
    path.write_text("a.mp4 12\nb.mp4 1,5\n")
    with pytest.raises(AnnotationError, match=r"line 2: several labels 1,5"):
        read_annotations(path, format="pyslowfast")
    path.write_text("a.mp4 13\n")
    with pytest.raises(AnnotationError, match=r"line 1: label 13, but .* names 13"):
        read_annotations(path)


def test_kinetics_csv(tmp_path: Path) -> None:
    head = "label,youtube_id,time_start,time_end,split,is_cc\n"
    path = tmp_path / "kinetics.csv"
    path.write_text(head + "riding a bike,abc-_1,20,30,train,0\nskiing,xyz,5,15,validate,0\n")
    touch(tmp_path / "riding a bike" / "abc-_1_000020_000030.mp4", tmp_path / "xyz.webm")
    with pytest.raises(AnnotationError, match=r"line 3: split 'validate' is none of"):
        read_annotations(path)
    path.write_text(path.read_text().replace("validate", "val"))
    assert recognise(path) == "kinetics"
    got = read_annotations(path)
    assert pairs(got) == [("abc-_1_000020_000030.mp4", "riding a bike"), ("xyz.webm", "skiing")]
    assert [v.split for v in got.videos] == ["train", "validation"]
    path.write_text(head + "skiing,,5,15,train,0\n")
    with pytest.raises(AnnotationError, match=r"line 2: one of .* is empty"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run,a,inf,5,train,0", "line 3: cannot convert"),
        ("run,a,8,5,train,0", "line 3: 8 to 5 does not run forward"),
        ("run,a,-8,5,train,0", "line 3: -8 to 5 does not run forward"),
        ('run,"a"b,1,5,train,0', "line 3: ',' expected"),
        ('run,"a,1,5,train,0', "line 3: unexpected end"),
    ],
)
def test_wrong_lines_of_kinetics(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "kinetics.csv"
    head = "label,youtube_id,time_start,time_end,split,is_cc"
    path.write_text(f"{head}\nski,xyz,1,2,train,0\n{line}\n")
    with pytest.raises(AnnotationError, match=words):
        read_annotations(path, check_files=False)


def activitynet(tmp_path: Path, annotations: list[object]) -> Path:
    path = tmp_path / "gt.json"
    entry = {"subset": "validation", "duration": 60.0, "annotations": annotations}
    path.write_text(json.dumps({"version": "1.3", "database": {"one": entry}}))
    return path


def test_activitynet_json(tmp_path: Path) -> None:
    touch(tmp_path / "deep" / "v_one.mkv")
    path = activitynet(
        tmp_path,
        [
            {"segment": [1.5, 10.25], "label": "jump"},
            {"segment": [5, 20], "label": "run"},
            {"segment": [7, 7], "label": "run"},
        ],
    )
    assert recognise(path) == "activitynet"
    with pytest.raises(AnnotationError, match="overlap"):
        read_annotations(path)
    got = read_annotations(path, overlapping=True)
    (video,) = got.videos
    assert video.path == tmp_path / "deep" / "v_one.mkv"
    assert [(a.start, a.end) for a in video.annotations] == [
        (Fraction(3, 2), Fraction(41, 4)),
        (Fraction(5), Fraction(20)),
        (Fraction(7), Fraction(7)),
    ]
    assert video.split == "validation" and video.length == 60


def test_segments_of_no_length_and_repeats_count_in_evaluation_alone(tmp_path: Path) -> None:
    touch(tmp_path / "v_one.mkv")
    one = {"segment": [1, 2], "label": "jump"}
    path = activitynet(tmp_path, [one, one, {"segment": [7, 7], "label": "run"}])
    (video,) = read_annotations(path, overlapping=True).videos
    assert len(video.annotations) == 3
    learned = read_annotations(path)
    assert len(learned.videos[0].annotations) == 1
    assert "line 2 repeats line 1" in learned.warnings[0]
    assert "line 3 is of no length" in learned.warnings[1]


def test_videos_without_segments_are_named(tmp_path: Path) -> None:
    path = tmp_path / "gt.json"
    some = [{"segment": [1, 2], "label": "jump"}]
    database = {
        "one": {"subset": "validation", "annotations": some},
        "none": {"subset": "validation", "annotations": []},
        "secret": {"subset": "testing", "annotations": []},
    }
    path.write_text(json.dumps({"database": database}))
    read = read_annotations(path, check_files=False, overlapping=True)
    assert [(v.path.stem, len(v.annotations)) for v in read.videos] == [("v_one", 1), ("v_none", 0)]
    assert "subset test has no annotations at all: 1 video left out" in read.warnings[0]
    learned = read_annotations(path, check_files=False)
    assert len(learned.videos) == 1 and "1 video without segments left out" in learned.warnings[-1]
    table = tmp_path / "gt.csv"
    table.write_text("path,start,end,label\na.mp4,1,2,jump\nb.mp4,,,\n")
    videos = read_annotations(table, check_files=False, overlapping=True).videos
    assert [(v.path.name, len(v.annotations)) for v in videos] == [("a.mp4", 1), ("b.mp4", 0)]
    folder = tmp_path / "tcn" / "groundTruth"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("jump\njump\nbackground\n")
    (folder / "b.txt").write_text("background\n" * 5)
    videos = read_annotations(tmp_path / "tcn", check_files=False, overlapping=True).videos
    assert [(v.path.stem, len(v.annotations), v.length) for v in videos] == [
        ("a", 1, FrameCount(3)),
        ("b", 0, FrameCount(5)),
    ]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"segment": [9, 3], "label": "a"}, r"annotation 1: segment \[9, 3\] does not run forward"),
        ({"segment": [0, "x"], "label": "a"}, "is not two numbers"),
        ({"segment": [0, 1]}, "expected a segment"),
        ({"segment": [0, 1], "label": " "}, "annotation 1: the label is empty"),
        (7, "expected a segment"),
    ],
)
def test_wrong_activitynet(tmp_path: Path, item: object, words: str) -> None:
    with pytest.raises(AnnotationError, match=words):
        read_annotations(activitynet(tmp_path, [item]))


def test_json_of_endless_depth(tmp_path: Path) -> None:
    path = tmp_path / "gt.json"
    path.write_text("[" * 100_000)
    with pytest.raises(AnnotationError, match=r"gt\.json: not JSON"):
        read_annotations(path)


def test_ms_tcn_folder(tmp_path: Path) -> None:
    touch(tmp_path / "videos" / "rgb-01.avi", tmp_path / "videos" / "rgb-02.avi")
    truth = tmp_path / "groundTruth"
    truth.mkdir()
    (tmp_path / "mapping.txt").write_text("0 background\n1 cut\n2 peel tomato\n")
    (truth / "rgb-01.txt").write_text("background\ncut\ncut\npeel tomato\n")
    (truth / "rgb-02.txt").write_text("cut\nbackground\ncut\n")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "test.split2.bundle").write_text("rgb-02.txt\n")
    assert recognise(tmp_path) == "ms-tcn"
    got = read_annotations(tmp_path)
    assert got.labels == ("cut", "peel tomato")
    assert [v.fold for v in got.videos] == [None, "2"]
    assert [(a.label, a.start, a.end) for a in got.videos[0].annotations] == [
        ("cut", FrameCount(1), FrameCount(3)),
        ("peel tomato", FrameCount(3), FrameCount(4)),
    ]
    assert len(got.videos[1].annotations) == 2
    (truth / "rgb-01.txt").write_text("background\nslice\n")
    with pytest.raises(AnnotationError, match=r"rgb-01.txt: line 2: 'slice' is not in mapping"):
        read_annotations(tmp_path)


def test_cholec80_phases(tmp_path: Path) -> None:
    touch(tmp_path / "videos" / "video07.mp4")
    notes = tmp_path / "phase_annotations"
    notes.mkdir()
    rows = ["Frame\tPhase", *(f"{i}\tPreparation" for i in range(50))]
    rows += [f"{i}\tCalotTriangleDissection" for i in range(50, 75)]
    (notes / "video07-phase.txt").write_text("\n".join(rows))
    assert recognise(tmp_path) == "cholec80"
    (video,) = read_annotations(tmp_path).videos
    assert video.path.name == "video07.mp4"
    assert [(a.label, a.start, a.end) for a in video.annotations] == [
        ("Preparation", FrameCount(0), FrameCount(50)),
        ("CalotTriangleDissection", FrameCount(50), FrameCount(75)),
    ]
    (notes / "video07-phase.txt").write_text("Frame\tPhase\n0\tA\n0\tB\n")
    with pytest.raises(AnnotationError, match=r"line 3: frame 0 comes twice"):
        read_annotations(tmp_path)
    (notes / "video07-phase.txt").write_text("Frame\tPhase\n0\tA\n30000000000\tB\n")
    with pytest.raises(AnnotationError, match=r"line 3: frame 30000000000 is days"):
        read_annotations(tmp_path)


def test_class_folders_with_splits(tmp_path: Path) -> None:
    touch(
        tmp_path / "train" / "run" / "1.mp4",
        tmp_path / "train" / "jump" / "deep" / "2.MKV",
        tmp_path / "test" / "run" / "3.mp4",
        tmp_path / "train" / "run" / ".hidden.mp4",
        tmp_path / "loose.mp4",
    )
    (tmp_path / "train" / "run" / "notes.txt").write_text("x")
    assert recognise(tmp_path) == "folders"
    got = read_annotations(tmp_path)
    assert sorted(pairs(got)) == [("1.mp4", "run"), ("2.MKV", "jump"), ("3.mp4", "run")]
    assert {v.path.name: v.split for v in got.videos} == {
        "1.mp4": "train",
        "2.MKV": "train",
        "3.mp4": "test",
    }
    assert "1 video outside" in got.warnings[0]


def test_missing_videos_are_listed(tmp_path: Path) -> None:
    path = activitynet(tmp_path, [{"segment": [0, 1], "label": "a"}])
    with pytest.raises(AnnotationError, match=r"1 of 1 videos do not exist.*v_one\.mp4"):
        read_annotations(path)


def test_two_videos_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "one.mp4", tmp_path / "b" / "one.mp4")
    path = activitynet(tmp_path, [{"segment": [0, 1], "label": "a"}])
    with pytest.raises(AnnotationError, match="one may be"):
        read_annotations(path)


def test_unknown_formats_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'kinetics'"):
        read_annotations(tmp_path, format="kinetic")
    with pytest.raises(AnnotationError, match="no videos in folders"):
        read_annotations(tmp_path)
    with pytest.raises(AnnotationError, match="not JSON"):
        path = tmp_path / "x.json"
        path.write_text("{")
        read_annotations(path)


def test_moments_in_time(tmp_path: Path) -> None:
    touch(tmp_path / "training" / "running" / "a.mp4")
    touch(tmp_path / "validation" / "diving" / "b.mp4")
    (tmp_path / "trainingSet.csv").write_text("running/a.mp4,running,4,0\n")
    (tmp_path / "validationSet.csv").write_text("diving/b.mp4,diving,3,1\n")
    assert recognise(tmp_path) == recognise(tmp_path / "trainingSet.csv") == "moments"
    found = read_annotations(tmp_path)
    assert [(v.path.name, v.split, v.annotations[0].label) for v in found.videos] == [
        ("a.mp4", "train", "running"),
        ("b.mp4", "validation", "diving"),
    ]
    (tmp_path / "trainingSet.csv").write_text("running/a.mp4,running,4,0\nrunning\n")
    with pytest.raises(AnnotationError, match=r"trainingSet\.csv: line 2"):
        read_annotations(tmp_path)


EPIC = """narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,\
stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes
P01_01_0,P01,P01_01,00:00:00.14,00:00:03.37,8,202,open door,open,3,door,3,['door'],[3]
P01_01_1,P01,P01_01,00:00:03.00,00:01:06.17,180,370,"turn on, light",turn-on,6,light,114,\
"['light', 'tap']","[114, 0]"
"""


def epic_kitchens(folder: Path, text: str = EPIC) -> Path:
    touch(folder / "P01" / "videos" / "P01_01.MP4", folder / "P02" / "videos" / "P02_01.MP4")
    (folder / "EPIC_100_train.csv").write_text(text)
    (folder / "EPIC_100_validation.csv").write_text(text.replace("P01", "P02"))
    (folder / "EPIC_100_verb_classes.csv").write_text(
        "id,key,instances,category\n3,open,\"['open', 'unlock']\",access\n6,turn-on,['on'],access\n"
    )
    (folder / "EPIC_100_noun_classes_v2.csv").write_text(
        '"id","key","instances","category"\n3,"cupboard","[\'door\']","a"\n114,"light","[]","b"\n'
    )
    return folder


def test_epic_kitchens(tmp_path: Path) -> None:
    folder = epic_kitchens(tmp_path)
    train = folder / "EPIC_100_train.csv"
    assert recognise(folder) == recognise(train) == "epic-kitchens"
    got = read_annotations(folder)
    assert got.heads == ("verb", "noun") and got.has_segments and got.are_clips
    assert got.labels == ("verb:open", "verb:turn-on", "noun:cupboard", "noun:light")
    assert not got.warnings
    found = [(v.path.name, v.split, v.group) for v in got.videos]
    assert found == [("P01_01.MP4", "train", "P01"), ("P02_01.MP4", "validation", "P02")]
    first, second = got.videos[0].annotations  # they overlap
    assert (first.start, first.end, first.label) == (
        Fraction(14, 100),
        Fraction(337, 100),
        "open cupboard",
    )
    assert second.parts == ("verb:turn-on", "noun:light") and second.end == Fraction(6617, 100)
    assert (first.line, second.line) == (2, 3)
    (folder / "EPIC_100_verb_classes.csv").unlink()
    without = read_annotations(train)
    assert without.labels[:2] == ("verb:3", "verb:6")
    assert "EPIC_100_verb_classes.csv is not beside it" in without.warnings[0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("verb_class", "verb_id", r"line 1: no column verb_class"),
        (",3,door,", ",,door,", r"line 2: one of .* is empty"),
        ("00:00:03.37", "00:00:00.14", r"line 2: 00:00:00.14 to 00:00:00.14 does not run forward"),
        ("00:00:03.37", "soon", r"line 2: not a time: 'soon'"),
        (",114,", ",115,", r"line 3: noun_class 115 is not among the named"),
    ],
)
def test_wrong_lines_of_epic_kitchens(tmp_path: Path, old: str, new: str, words: str) -> None:
    folder = epic_kitchens(tmp_path, EPIC.replace(old, new))
    with pytest.raises(AnnotationError, match=words):
        read_annotations(folder)


def test_a_table_with_labels_for_several_heads(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "b.mp4")
    path = tmp_path / "labels.csv"
    path.write_text("path,label:verb,label:noun\na.mp4,take,10\nb.mp4,put,9\n")
    got = read_annotations(path)
    assert got.heads == ("verb", "noun") and not got.has_segments and not got.are_clips
    assert got.labels == ("verb:put", "verb:take", "noun:9", "noun:10")
    assert pairs(got) == [("a.mp4", "take 10"), ("b.mp4", "put 9")]
    path.write_text("path,start,end,label:verb,label:noun\na.mp4,0,2,take,lid\na.mp4,1,3,put,lid\n")
    assert [a.parts[0] for a in read_annotations(path).videos[0].annotations] == [
        *("verb:take", "verb:put"),
    ]
    path.write_text("path,label:verb,label:noun\na.mp4,take,\n")
    with pytest.raises(AnnotationError, match="line 2: the label is empty"):
        read_annotations(path)
    path.write_text("path,label:verb\na.mp4,take\n")
    with pytest.raises(AnnotationError, match="line 1: one class head needs no name"):
        read_annotations(path)
