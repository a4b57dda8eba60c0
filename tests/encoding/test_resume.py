"""A run that is interrupted at any point resumes inside the file and ends byte-identical."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
import pytest

from tests.patience import HANG
from tests.small_model import RATE, SECONDS, noise_frames
from tests.synth import SyntheticVideo
from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.extract import extract_features
from vtnstream.encoding.stored import ExtractedFeatures
from vtnstream.errors import VideoError
from vtnstream.features.cache import FeatureCache
from vtnstream.inference.end_to_end import run_end_to_end
from vtnstream.models.vtn.model import VTN
from vtnstream.progress import NullProgress
from vtnstream.types import TimeRange
from vtnstream.video.decoding.packets import PacketReader


class InterruptAfter(NullProgress):
    """Raises Ctrl-C after this number of encoded tokens; complete chunks are stored."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def advance(self, done: float, *, note: str = "") -> None:
        if done >= self.tokens:
            raise KeyboardInterrupt


def extracted(
    video: Path, model: VTN, runtime: RuntimeConfig, **options: object
) -> tuple[dict[str, object], ExtractedFeatures]:
    encoder = FrameEncoder.from_model(model, runtime)
    sampling = options.pop("sampling", model.config.sampling)
    with extract_features(video, encoder, sampling, runtime=runtime, **options) as result:  # type: ignore[arg-type]
        return result.facts.as_dict(), result


def stored_bytes(runtime: RuntimeConfig) -> dict[str, bytes]:
    """Return every file of the only store, by name."""
    assert runtime.cache_dir is not None
    (entry,) = FeatureCache(runtime.cache_dir).entries()
    return {
        path.name: path.read_bytes()
        for path in entry.directory.iterdir()
        if path.name not in ("lock", "identity.json")
    }


SAMPLINGS = [
    SamplingConfig(),
    SamplingConfig("uniform", num_frames=400),
    SamplingConfig("all"),
    SamplingConfig("stride", stride=2),
]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda s: s.kind)
def test_interrupted_run_ends_byte_identical(
    video: Path,
    model: VTN,
    runtime: RuntimeConfig,
    other_runtime: RuntimeConfig,
    sampling: SamplingConfig,
) -> None:
    extracted(video, model, runtime, sampling=sampling)
    with pytest.raises(KeyboardInterrupt):
        extracted(video, model, other_runtime, sampling=sampling, progress=InterruptAfter(250))
    left = stored_bytes(other_runtime)
    assert "00000000.safetensors" in left and "end.json" not in left
    facts, _ = extracted(video, model, other_runtime, sampling=sampling)
    assert 0 < facts["tokens_encoded"] < facts["tokens"]  # type: ignore[operator]
    assert stored_bytes(other_runtime) == stored_bytes(runtime)


def test_resumed_run_does_not_decode_the_beginning_again(
    video: Path, model: VTN, runtime: RuntimeConfig
) -> None:
    with pytest.raises(KeyboardInterrupt):
        extracted(video, model, runtime, progress=InterruptAfter(250))
    facts, _ = extracted(video, model, runtime)
    assert facts["tokens_encoded"] == 60
    assert facts["frames_decoded"] < 400  # of 600


def test_ranges_fill_one_store_in_any_order(
    video: Path, model: VTN, runtime: RuntimeConfig, other_runtime: RuntimeConfig
) -> None:
    extracted(video, model, runtime)
    for start, end in ((70, 80), (0, 5), (10, 61)):
        _, part = extracted(video, model, other_runtime, span=TimeRange(start, end))  # type: ignore[arg-type]
        assert part.features.times.start_seconds[0] == start
        assert part.features.times.end_seconds[-1] == end
        assert part.partial is None
    extracted(video, model, other_runtime)
    assert stored_bytes(other_runtime) == stored_bytes(runtime)


def test_a_range_beyond_the_end_does_not_shorten_the_video(
    video: Path, model: VTN, runtime: RuntimeConfig, other_runtime: RuntimeConfig
) -> None:
    extracted(video, model, runtime)
    for seen in ((), (TimeRange(Fraction(0), Fraction(5)),)):
        for span in (*seen, TimeRange(Fraction(200), Fraction(300))):
            try:
                extracted(video, model, other_runtime, span=span)
            except VideoError as error:
                assert "no frame in the requested range" in str(error)
        facts, _ = extracted(video, model, other_runtime)
        assert facts["tokens"] == SECONDS * 2
        assert stored_bytes(other_runtime) == stored_bytes(runtime)
        other_runtime = replace(other_runtime, cache_dir=Path(f"{other_runtime.cache_dir}-2"))


def break_reading_at(seconds: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the demuxer raise ``error`` from ``seconds`` on."""
    whole = PacketReader._demux

    def demux(reader: PacketReader) -> Iterator[Any]:
        for packet in whole(reader):
            if packet.pts * packet.time_base >= seconds:
                raise error
            yield packet

    monkeypatch.setattr(PacketReader, "_demux", demux)


@pytest.mark.parametrize("end", [None, 120])
def test_a_failing_disk_leaves_a_valid_store(
    video: Path,
    model: VTN,
    runtime: RuntimeConfig,
    other_runtime: RuntimeConfig,
    end: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extracted(video, model, runtime)
    span = TimeRange(Fraction(0), None if end is None else Fraction(end))
    with monkeypatch.context() as patch:
        break_reading_at(70, OSError(errno.EIO, "Input/output error"), patch)
        with pytest.raises(VideoError, match=r"reading failed after 1:09\.75 .*run again"):
            extracted(video, model, other_runtime, span=span)
    facts, result = extracted(video, model, other_runtime)
    assert facts["tokens_encoded"] == 180  # the first minute is kept
    assert result.partial is None
    assert stored_bytes(other_runtime) == stored_bytes(runtime)


def test_a_video_with_an_unreadable_end_is_partial_and_not_read_again(
    video: Path, model: VTN, runtime: RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = av.error.InvalidDataError(-1094995529, "Invalid data")
    break_reading_at(70, broken, monkeypatch)
    _, first = extracted(video, model, runtime)
    assert first.partial is not None
    assert any("reading stopped at 1:10" in reason for reason in first.partial.reasons)
    facts, second = extracted(video, model, runtime)
    assert facts["frames_decoded"] == 0
    assert second.partial == first.partial


def test_damaged_chunk_is_computed_again(video: Path, model: VTN, runtime: RuntimeConfig) -> None:
    extracted(video, model, runtime)
    good = stored_bytes(runtime)
    assert runtime.cache_dir is not None
    (entry,) = FeatureCache(runtime.cache_dir).entries()
    path = entry.directory / "00000001.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    facts, _ = extracted(video, model, runtime)
    assert facts["tokens_encoded"] == 120
    assert stored_bytes(runtime) == good


CHILD = """
import sys, time
from vtnstream.config import RuntimeConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.extract import extract_features
from vtnstream.models.io.checkpoint import load_model
from vtnstream.progress import NullProgress
from pathlib import Path

class Stuck(NullProgress):
    def advance(self, done, *, note=""):
        if done > 200:  # behind the first chunk, before the end
            time.sleep(600)

video, folder, cache = sys.argv[1:]
runtime = RuntimeConfig(cache_dir=Path(cache), batch_size=8, dtype="float32")
model = load_model(folder)
print("ready", flush=True)
with extract_features(video, FrameEncoder.from_model(model, runtime), model.config.sampling,
                      runtime=runtime, progress=Stuck()):
    print("done", flush=True)
"""


def test_killed_run_resumes_byte_identical(
    video: Path, model: VTN, runtime: RuntimeConfig, other_runtime: RuntimeConfig, tmp_path: Path
) -> None:
    from vtnstream.models.io.checkpoint import save_model

    save_model(model, tmp_path / "model")
    extracted(video, model, runtime)
    command = [sys.executable, "-c", CHILD, video, tmp_path / "model", other_runtime.cache_dir]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # type: ignore[arg-type]
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert other_runtime.cache_dir is not None
    deadline = time.monotonic() + HANG
    while not list(other_runtime.cache_dir.rglob("*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert "end.json" not in stored_bytes(other_runtime), "the child was through before the kill"
    child.stdout.close()
    extracted(video, model, other_runtime)
    assert stored_bytes(other_runtime) == stored_bytes(runtime)


def test_file_that_changes_while_read_is_refused(
    video: Path, model: VTN, runtime: RuntimeConfig, tmp_path: Path
) -> None:
    growing = tmp_path / "growing.mp4"
    growing.write_bytes(video.read_bytes())

    class Grow(NullProgress):
        def finish(self) -> None:
            with open(growing, "ab") as file:
                file.write(b"more")

    with pytest.raises(VideoError, match="changed while it was read"):
        extracted(growing, model, runtime, progress=Grow())
    assert runtime.cache_dir is not None
    assert not FeatureCache(runtime.cache_dir).entries()


def test_gap_is_stored_once_and_not_decoded_again(
    model: VTN, runtime: RuntimeConfig, other_runtime: RuntimeConfig, tmp_path: Path
) -> None:
    """Two hours without a frame give no token, one empty chunk and no second decode."""
    path = tmp_path / "hole.mkv"
    write_with_hole(path, before=10, hole=7200, after=10)
    facts, result = extracted(path, model, runtime)
    assert facts["tokens"] == 42  # the last picture stays on screen for a second
    assert result.partial is not None
    ((start, end),) = result.partial.gaps
    assert (start, end) == pytest.approx((11.0, 7210.0))
    assert len(stored_bytes(runtime)) < 8
    facts, _ = extracted(path, model, runtime)
    assert facts["tokens_encoded"] == 0
    # A range that ends inside the hole is answered for good, too.
    for encoded in (22, 0):
        span = TimeRange(Fraction(0), Fraction(3000))
        facts, _ = extracted(path, model, other_runtime, span=span)
        assert facts["tokens_encoded"] == encoded
    assert facts["frames_decoded"] == 0


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    "start, end, gap",
    [
        (0, 3000, (11, 3000)),
        (3000, 7215, (3000, 7210)),
        (2, 12, (11, 12)),
        (2, 11, None),
        (7210, 7215, None),
        (7212, 9000, None),
    ],
)
def test_a_range_that_begins_or_ends_in_a_gap_is_partial(
    model: VTN,
    runtime: RuntimeConfig,
    tmp_path: Path,
    start: int,
    end: int,
    gap: tuple[int, int] | None,
    known: bool,
) -> None:
    path = tmp_path / "hole.mkv"
    write_with_hole(path, before=10, hole=7200, after=10)
    if known:
        extracted(path, model, runtime)
    span = TimeRange(Fraction(start), Fraction(end))
    _, result = extracted(path, model, runtime, span=span)
    whole = run_end_to_end(path, model, model.config.sampling, span=span)
    for partial in (result.partial, whole.partial):
        assert (partial.gaps if partial else ()) == ((gap,) if gap else ())


def write_with_hole(path: Path, *, before: int, hole: int, after: int) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width = stream.height = 64
        stream.time_base = Fraction(1, 1000)
        for number, picture in enumerate(noise_frames(2, (before + after) * RATE)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            seconds = number / RATE + (hole if number >= before * RATE else 0)
            frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_video_between_two_sampling_times_says_what_helps(
    model: VTN, runtime: RuntimeConfig, tmp_path: Path
) -> None:
    path = tmp_path / "late.mkv"
    SyntheticVideo(count=3, rate=25, start=0.1, audio_seconds=0.3).write(path)
    with pytest.raises(VideoError, match=r"ends at 0\.\d+ s\).*--sample all"):
        extracted(path, model, runtime)
    _, result = extracted(path, model, runtime, sampling=SamplingConfig("all"))
    assert len(result.features.times) == 3
