"""``summarize`` and ``clips`` on a real run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from .conftest import Outcome

Run = Callable[..., Outcome]


def seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0)) / 10


def test_summary_as_edit_list_and_video(
    run: Run, video: Path, model_folder: Path, tmp_path: Path
) -> None:
    rendered, folder = tmp_path / "short.mp4", tmp_path / "lists"
    outcome = run(
        "summarize", video, "--model", model_folder, "--length", "12", "--piece", "4",
        "--render", rendered, "-o", folder, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    document = json.loads(outcome.out)
    kept = [(s["start"], s["end"]) for s in document["segments"]]
    total = sum(end - start for start, end in kept)
    assert 6 < total <= 12
    assert kept == sorted(kept)
    assert document["settings"]["summary"]["length"] == 12
    assert seconds(rendered) == pytest.approx(total, abs=0.1 * len(kept) + 0.01)
    assert (folder / "film one.mp4.otio").exists()


def test_clips_of_one_label(run: Run, video: Path, model_folder: Path, tmp_path: Path) -> None:
    result = tmp_path / "r"
    assert run("timeline", video, "--model", model_folder, "-o", result).code == 0
    stored = result / "film one.mp4.json"
    segments = json.loads(stored.read_text())["segments"]
    label = segments[0]["label"]
    outcome = run("clips", stored, "--label", label, "-o", tmp_path / "clips")
    assert outcome.code == 0, outcome.err
    wanted = [s for s in segments if s["label"] == label]
    files = sorted((tmp_path / "clips").iterdir())
    assert len(files) == len(wanted)
    for file, segment in zip(files, wanted, strict=True):
        assert label in file.name
        assert seconds(file) == pytest.approx(segment["end"] - segment["start"], abs=0.11)
    joined = run("clips", stored, "--join", "--copy", "-o", tmp_path / "one")
    assert joined.code == 0, joined.err
    assert len(list((tmp_path / "one").iterdir())) == 1
    assert run("clips", stored, "--join", "-o", tmp_path / "two" / "all.mkv").code == 0
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["all.mkv"]
    wrong = run("clips", stored, "-o", tmp_path / "all.mkv")
    assert wrong.code == 2 and "--join of one result" in wrong.errors[0]
    wrong = run("clips", stored, "--label", f"{label}x", "-o", tmp_path / "no")
    assert wrong.code == 1
    assert f"did you mean '{label}'" in wrong.errors[0]


def test_what_concerns_all_clips_of_a_video_is_said_once(
    run: Run, video: Path, model_folder: Path
) -> None:
    with av.open(str(video)) as source, av.open("two.mkv", "w") as out:
        picture = source.streams.video[0]
        copy = out.add_stream_from_template(picture)
        sounds = [out.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(2)]
        for packet in source.demux(picture):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
        for sound in sounds:
            silence = np.zeros((1, 40 * 8000), np.int16)
            frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
            frame.rate, frame.pts = 8000, 0
            out.mux([*sound.encode(frame), *sound.encode(None)])
    done = run("split", "two.mkv", "-m", model_folder, "-o", "shots")
    assert done.code == 0, done.err
    assert len(list(Path("shots").glob("*.mkv"))) > 1
    notes = [line for line in done.err.splitlines() if "is left out" in line]
    assert notes == ["vtnstream: warning: two.mkv: audio stream 2 is left out: a cut has one"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("--length", "0"), "length must be positive"), (("--length", "30f"), "not a duration"),
     (("--length", "0.5"), "no piece of at least")],
)  # fmt: skip
def test_lengths_that_cannot_be(
    run: Run, video: Path, model_folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    outcome = run("summarize", video, "--model", model_folder, *arguments)
    assert outcome.code != 0
    assert words in outcome.errors[0]
