"""Skipping frames gives the same tokens and the same report for every kind of video."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tests.synth import SyntheticVideo, joined, truncated
from tests.video.decoding.skipping import assert_same, h264, textured, without_packets
from tests.video.reading import Reading, read, sampling
from vtnstream.errors import VideoError
from vtnstream.types import DecodeSummary, TimeRange
from vtnstream.video.decoding.reader import DecodedFrame, FrameReader


def h265(**options: object) -> dict[str, str]:
    params = ":".join(f"{name.replace('_', '-')}={value}" for name, value in options.items())
    return {"preset": "ultrafast", "x265-params": f"log-level=none:pools=1:{params}"}


PLAIN = SyntheticVideo(count=130, gop=30, b_frames=3, draw=textured)
PYRAMID = h264(bframes=3, b_pyramid="normal", keyint=30, scenecut=0)
OPEN = h264(open_gop=1, bframes=3, b_pyramid="normal", keyint=30, scenecut=0)
UNEVEN = [Fraction(k * k, 2000) for k in range(130)]
HEVC = replace(PLAIN, codec="libx265")
FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}

SKIPPED = {
    "h264.mp4": PLAIN,
    "h264 pyramid.mkv": replace(PLAIN, options=PYRAMID),
    "h264.ts": replace(PLAIN, options=PYRAMID),
    "h264.flv": PLAIN,
    "h264 one reference.mov": replace(PLAIN, options=h264(bframes=3, ref=1, keyint=30)),
    "h264 weighted.mp4": replace(PLAIN, options=h264(bframes=3, weightp=2, direct="temporal")),
    "h264 slices.mp4": replace(PLAIN, options=h264(bframes=3, slices=4, keyint=30)),
    "h264 open.mp4": replace(PLAIN, options=OPEN),
    "h264 open.ts": replace(PLAIN, options=OPEN),
    "h264 uneven.mp4": replace(PLAIN, times=UNEVEN),
    "h264 uneven.mkv": replace(PLAIN, times=UNEVEN),
    "h264 offset.mp4": replace(PLAIN, start=100),
    "h264 sound.mkv": replace(PLAIN, audio_seconds=6),
    "h264 fragments.mp4": replace(
        PLAIN, muxer={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    ),
    "h264 hole.mkv": replace(PLAIN, lost=range(60, 95), count=200),
    "hevc closed.mp4": replace(HEVC, options=h265(keyint=30, open_gop=0, bframes=3)),
    "hevc open.mkv": replace(HEVC, options=h265(keyint=30, open_gop=1, bframes=3)),
    "hevc.ts": replace(HEVC, options=h265(keyint=30, bframes=4, b_pyramid=1)),
    "hevc layers.mp4": replace(HEVC, options=h265(keyint=30, bframes=3, temporal_layers=3)),
    "mpeg2.mkv": replace(PLAIN, codec="mpeg2video", options={}, ticks=25, b_frames=2),
    "mpeg2.ts": replace(PLAIN, codec="mpeg2video", options={}, ticks=25, b_frames=2),
    "mpeg4.mp4": replace(PLAIN, codec="mpeg4", options={}, ticks=25, b_frames=2),
    "vp8.webm": replace(PLAIN, codec="libvpx", options={"deadline": "realtime"}, b_frames=0),
    "vp9.webm": replace(PLAIN, codec="libvpx-vp9", options=FAST_VP9, b_frames=0),
    "vp9 hidden.mkv": replace(
        PLAIN,
        codec="libvpx-vp9",
        options={"deadline": "good", "cpu-used": "5", "lag-in-frames": "16", "auto-alt-ref": "1"},
        b_frames=0,
    ),
    "av1.mp4": replace(PLAIN, codec="libsvtav1", options={"preset": "12"}, b_frames=0),
    "mjpeg.mov": replace(PLAIN, codec="mjpeg", options={}, pix_fmt="yuvj420p", b_frames=0),
    "prores.mov": replace(PLAIN, codec="prores_ks", options={}, pix_fmt="yuv422p10le", b_frames=0),
}
"""Videos of which some frames may be skipped."""

NOT_SKIPPED = {
    "mpeg4.avi": replace(PLAIN, codec="mpeg4", options={}, ticks=25, b_frames=2),
    "h264 fields.mp4": replace(PLAIN, options=h264(bframes=3, tff=1, keyint=30)),
    "theory.h264": replace(PLAIN, format="h264"),
}
"""Videos of which all frames must be decoded: without times, or with two packets per frame."""

KINDS = {
    "rate": sampling(fps=2),
    "slow rate": sampling(fps="1/2"),
    "odd rate": sampling(fps="7/3"),
    "uniform": sampling("uniform", num_frames=7),
    "stride": sampling("stride", stride=7),
}


DECODERS = {"odd rate": 3, "stride": 3}
"""Decoders for some kinds, the others have one. The videos are too short for two parts, so that the
decoder works on several frames at the same time; if its codec does not allow that, videos with an
index of keyframes are divided even so."""


DIVIDED = {
    *("hevc closed.mp4", "hevc open.mkv", "hevc layers.mp4"),
    *("mpeg2.mkv", "vp8.webm", "mjpeg.mov", "prores.mov"),
}
"""Videos that are divided with several decoders, although they are short."""


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("skipping")

    def path_of(name: str) -> Path:
        path = folder / name
        if not path.exists():
            {**SKIPPED, **NOT_SKIPPED}[name].write(path)
        return path

    return path_of


def both(path: Path, kind: str, **options: object) -> tuple[Reading, Reading]:
    decoders = DECODERS.get(kind, 1)
    return (
        read(path, KINDS[kind], chunk_size=4, skip=True, decoders=decoders, **options),
        read(path, KINDS[kind], chunk_size=4, skip=False, **options),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SKIPPED)
def test_skipping_gives_equal_results(write: Callable[[str], Path], name: str, kind: str) -> None:
    skipped, plain = both(write(name), kind)
    assert_same(skipped, plain)
    counts = skipped.summary.stats.num_frames, plain.summary.stats.num_frames
    if kind in ("slow rate", "uniform"):
        assert counts[0] < 0.9 * counts[1]
    assert counts[0] <= counts[1] or skipped.summary.frames is None


@pytest.mark.parametrize("name", {**SKIPPED, **NOT_SKIPPED})
def test_several_cores_give_equal_frames(
    write: Callable[[str], Path], name: str, threads: list[int]
) -> None:
    """Every frame of a video and its times, bit for bit."""
    together = read(write(name), sampling("all"), decoders=3)
    divided = together.summary.frames is None
    assert_same(together, read(write(name), sampling("all")))
    assert divided == (name in DIVIDED)
    assert threads[-1] == 1
    alone = name in DIVIDED or name in NOT_SKIPPED or name.startswith(("hevc", "mpeg2"))
    assert (threads[0] == 1) == alone


def test_unreferenced_frames_of_av1_are_not_decoded(write: Callable[[str], Path]) -> None:
    """Within one group of pictures, so that none is left out for another reason."""
    third = sampling("stride", stride=3)
    skipped, plain = (
        read(write("av1.mp4"), third, chunk_size=4, stop_index=8, skip=skip)
        for skip in (True, False)
    )
    assert_same(skipped, plain)
    assert skipped.summary.stats.num_frames < plain.summary.stats.num_frames


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record of the decoder's number of threads, for each frame that is read."""
    found: list[int] = []
    frames = FrameReader.decoded_frames

    def decoded_frames(reader: FrameReader) -> Iterator[DecodedFrame]:
        context = reader.video.stream.codec_context
        for frame in frames(reader):
            found.append(context.thread_count)
            yield frame

    monkeypatch.setattr(FrameReader, "decoded_frames", decoded_frames)
    return found


@pytest.mark.parametrize("kind", ["rate", "stride"])
@pytest.mark.parametrize("name", NOT_SKIPPED)
def test_all_frames_are_decoded_if_skipping_is_unsafe(
    write: Callable[[str], Path], name: str, kind: str
) -> None:
    skipped, plain = both(write(name), kind)
    assert_same(skipped, plain)
    assert skipped.summary.stats == plain.summary.stats


@pytest.mark.parametrize("name", ["h264 pyramid.mkv", "h264 open.mp4", "hevc open.mkv"])
def test_a_range_gives_equal_results(write: Callable[[str], Path], name: str) -> None:
    for kind in ("rate", "odd rate", "uniform"):
        for first, stop in ((4, None), (4, 8), (0, 4)):
            skipped, plain = both(write(name), kind, first_index=first, stop_index=stop)
            assert_same(
                replace(skipped, summary=without_packets(skipped)),
                replace(plain, summary=without_packets(plain)),
            )
    span = TimeRange(Fraction(5, 2), Fraction(9, 2))
    for kind in ("stride", "uniform"):
        skipped, plain = both(write(name), kind, span=span)
        assert_same(
            replace(skipped, summary=without_packets(skipped)),
            replace(plain, summary=without_packets(plain)),
        )


def damaged(folder: Path, how: str) -> Path:
    """Return a video that is damaged in one of several ways."""
    path = folder / f"whole.{how.split()[-1]}"
    broken = range(60, 90) if how.startswith("broken") else ()
    video = SyntheticVideo(
        count=200, gop=30, b_frames=3, draw=textured, options=PYRAMID, broken=broken
    )
    if how.startswith("cut"):
        video.muxer = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
        return truncated(video.write(path), 0.61, folder / f"cut{path.suffix}")
    video.write(path)
    if how.startswith("joined"):
        return joined(folder / "joined.ts", path, path)
    if how.startswith("zeros"):
        data = bytearray(path.read_bytes())
        third = len(data) // 3
        data[third : third + third // 2] = bytes(third // 2)
        path.write_bytes(data)
    if how.startswith("hole"):
        packets = path.read_bytes()
        third = len(packets) // 188 // 3 * 188
        path.write_bytes(packets[:third] + packets[third + third // 2 // 188 * 188 :])
    if how.startswith("no index"):
        path.write_bytes(path.read_bytes().replace(b"stss", b"free"))
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "how",
    [
        *("cut mp4", "cut mkv", "cut ts", "cut flv", "joined ts", "hole ts", "no index mp4"),
        *("broken mp4", "broken mkv", "broken ts", "zeros mp4", "zeros mkv", "zeros ts"),
    ],
)
def test_damage_gives_the_same_report(tmp_path: Path, how: str, kind: str) -> None:
    skipped, plain = both(damaged(tmp_path, how), kind)
    if not how.startswith(("joined", "no index")):
        assert plain.summary.problems
    if skipped.summary.stats.num_frames < plain.summary.stats.num_frames:
        # Damage in packets that no needed frame depends on is not reported.
        plain = replace(plain, summary=without_damaged_packets(plain))
    assert_same(skipped, plain)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "mpeg4"])
def test_damage_gives_equal_frames_with_several_frame_threads(
    tmp_path: Path, codec: str, threads: list[int]
) -> None:
    """Single wrong bits, of which some change frames and some are errors."""
    options = {"libx265": h265(keyint=30), "libvpx-vp9": FAST_VP9}.get(codec, {})
    b_frames = 0 if codec == "libvpx-vp9" else 2
    video = replace(PLAIN, count=60, codec=codec, options=options, ticks=25, b_frames=b_frames)
    suffix = "mp4" if codec == "mpeg4" else "mkv"
    whole = bytearray(video.write(tmp_path / f"whole.{suffix}").read_bytes())
    choose = random.Random(codec)
    for number in range(6):
        damaged = bytearray(whole)
        for _ in range(4):
            place = choose.randrange(len(whole) // 3, len(whole) * 3 // 4)
            damaged[place] ^= 1 << choose.randrange(8)
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(damaged)
        assert_same(
            read(path, sampling("all"), chunk_size=4, decoders=3),
            read(path, sampling("all"), chunk_size=4),
        )
    assert max(threads) > 1 or codec == "libx265"


def without_damaged_packets(reading: Reading) -> DecodeSummary:
    summary = reading.summary
    return replace(
        summary,
        stats=replace(summary.stats, num_packet_errors=0, num_corrupt=0),
        problems=tuple(text for text in summary.problems if " packet" not in text),
    )


@pytest.mark.parametrize("how", ["ts", "mkv", "index mp4", "fragments mp4"])
def test_a_cut_file_is_detected_without_a_sampled_last_frame(tmp_path: Path, how: str) -> None:
    """Transport streams do not state their length, so only the last packet reveals the cut; in MP4
    and Matroska the size of a packet does, which is then not decoded for it."""
    suffix = how.split()[-1]
    flags = "faststart" if how.startswith("index") else "frag_keyframe+empty_moov"
    muxer = {"movflags": flags} if suffix == "mp4" else {}
    whole = replace(PLAIN, options=PYRAMID, muxer=muxer).write(tmp_path / f"whole.{suffix}")
    partial = 0
    for share in (0.55, 0.61, 0.7, 0.83):
        cut = truncated(whole, share, tmp_path / f"cut.{suffix}")
        skipped, plain = both(cut, "slow rate")
        assert_same(skipped, plain)
        partial += bool(plain.summary.problems)
    assert partial
    if suffix != "ts":
        numbers = [
            read(whole, KINDS["slow rate"], stop_index=stop).summary.stats.num_frames
            for stop in (3, None)
        ]
        assert numbers[1] <= numbers[0] + 2  # nothing is decoded after the last token


def test_damage_after_returned_chunks_does_not_repeat_them(tmp_path: Path) -> None:
    video = SyntheticVideo(count=400, gop=30, b_frames=3, draw=textured, broken=range(300, 330))
    path = video.write(tmp_path / "film.mkv")
    skipped, plain = (
        read(path, sampling(fps=5), chunk_size=4, skip=skip) for skip in (True, False)
    )
    assert len(plain.chunks) > 15
    assert_same(skipped, plain)
    assert skipped.summary.stats == plain.summary.stats  # the plain pass was what counted


def test_a_wrong_choice_is_detected(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A choice that excludes a needed frame costs time but loses no frame."""
    from vtnstream.video.sampling.frame_choice import GridChoice

    monkeypatch.setattr(GridChoice, "__call__", lambda self, pts, following: False)
    skipped, plain = both(write("h264.mp4"), "rate")
    assert_same(skipped, plain)
    assert skipped.summary.stats == plain.summary.stats


def test_memory_of_the_window_is_bounded(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a small window more frames are decoded, and the result is the same."""
    from vtnstream.video.decoding import lookahead

    far = read(write("h264.mp4"), KINDS["slow rate"])
    for name, limit in (("_MAX_PACKETS", 5), ("_MAX_BYTES", 3000)):
        with monkeypatch.context() as patch:
            patch.setattr(lookahead, name, limit)
            skipped, plain = both(write("h264.mp4"), "slow rate")
        assert_same(skipped, plain)
        assert far.summary.stats.num_frames < skipped.summary.stats.num_frames
        assert skipped.summary.stats.num_frames < plain.summary.stats.num_frames


def test_a_read_error_ahead_is_reported_at_its_position(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error after the requested range must not fail because of the look-ahead."""
    from vtnstream.video.decoding.packets import PacketReader

    whole = PacketReader._demux

    def demux(reader: PacketReader):  # type: ignore[no-untyped-def]
        for packet in whole(reader):
            if packet.pts * packet.time_base >= 3:
                raise OSError(5, "Input/output error")
            yield packet

    monkeypatch.setattr(PacketReader, "_demux", demux)
    path = write("h264.mp4")
    for fps in ("1/2", "2"):
        reading = read(path, sampling(fps=fps), stop_index=1)
        assert reading.indices == [0]
    with pytest.raises(VideoError, match="reading failed"):
        read(path, KINDS["rate"])


def test_skipping_is_set_for_each_packet(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sampled frame is decoded with skipping switched on."""
    seen: list[int] = []
    place = FrameReader._place

    def note(reader: FrameReader, frame: object):  # type: ignore[no-untyped-def]
        picture = place(reader, frame)
        if picture is not None:
            seen.append(picture.place.pts)
        return picture

    monkeypatch.setattr(FrameReader, "_place", note)
    both(write("h264 pyramid.mkv"), "slow rate")
    half = len(seen) // 2
    assert seen[:half] == seen[half:] == sorted(seen[:half])  # one for each packet, in order
