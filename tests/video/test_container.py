"""Files are opened safely: malicious input gives one clear error line, and all files are closed."""

from __future__ import annotations

import gc
import os
import socket
import threading
from pathlib import Path

import av
import pytest

from tests.patience import HANG
from tests.synth import SyntheticVideo
from tests.video.reading import read, sampling
from vtnstream.errors import (
    NoVideoStreamError,
    UsageError,
    VideoDecodeError,
    VideoError,
    VideoOpenError,
)
from vtnstream.video import container
from vtnstream.video.probe import probe

SECRET = "secret.mp4"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    SyntheticVideo(count=5).write(tmp_path / SECRET)
    return tmp_path


def hostile(folder: Path, name: str) -> Path:
    """Write one of the files that must be refused."""
    path = folder / f"{name}.mp4"
    video = folder / SECRET
    texts = {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{video}\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile {SECRET}\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
        "text": "This is no video. " * 50,
    }
    if name in texts:
        path.write_text(texts[name])
    elif name == "empty":
        path.touch()
    elif name == "noise":
        path.write_bytes(os.urandom(5000))
    elif name == "directory":
        path.mkdir()
    elif name == "fifo":
        os.mkfifo(path)
    elif name == "jpeg":
        path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(2000))
    return path


KINDS = [
    "m3u8", "ffconcat", "sdp", "dash", "text", "empty", "noise", "directory", "fifo", "jpeg",
    "absent",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_malicious_files_are_refused_in_one_line(folder: Path, kind: str) -> None:
    path = hostile(folder, kind)
    with pytest.raises(VideoOpenError) as caught:
        probe(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert isinstance(caught.value, OSError)


def test_a_playlist_makes_no_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        port = server.getsockname()[1]
        path = tmp_path / "list.mp4"
        path.write_text(f"#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:{port}/canary.ts\n#EXT-X-ENDLIST\n")
        with pytest.raises(VideoOpenError):
            probe(path)
        with pytest.raises(TimeoutError):
            server.accept()


def gif_bomb(path: Path, side: int) -> Path:
    """Return a GIF of some hundred bytes with ``side`` x ``side`` pixels."""
    size = side.to_bytes(2, "little") * 2
    header = b"GIF89a" + size + b"\x80\x00\x00" + bytes(6)
    frame = b"\x2c" + bytes(4) + size + b"\x00\x02\x02\x4c\x01\x00"
    path.write_bytes(header + frame * 3 + b"\x3b")
    return path


def test_huge_frames_are_rejected_before_decoding(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"50000000 pixels|no frame"):
        read(gif_bomb(tmp_path / "bomb.gif", 60_000))


def test_the_pixel_limit_is_an_option(tmp_path: Path) -> None:
    path = SyntheticVideo(count=3).write(tmp_path / "film.mp4")
    with pytest.raises(VideoOpenError, match="larger than the limit of 1000 pixels"):
        probe(path, max_pixels=1000)


def test_decoders_that_are_not_allowed_do_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = SyntheticVideo(count=3).write(tmp_path / "film.mp4")
    monkeypatch.setattr(container, "DECODERS", container.DECODERS - {"h264"})
    with pytest.raises(VideoOpenError, match="the codec h264"):
        probe(path)


def test_every_allowed_name_exists() -> None:
    known = {name for names in av.formats_available for name in names.split(",")}
    assert known >= container.FORMATS
    assert {"hls", "concat", "dash", "sdp", "lavfi", "image2"}.isdisjoint(container.FORMATS)


def test_metadata_need_not_be_utf8(tmp_path: Path) -> None:
    path = SyntheticVideo(count=3, muxer={"movflags": "faststart"}).write(tmp_path / "film.mkv")
    data = path.read_bytes()
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"\xff\xfe\xfd\xfc"))
    assert probe(path).codec_name == "h264"


def test_file_names_are_never_interpreted_as_options_or_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("Episode:1.mp4", "-y.mp4", "%d.mp4", "http:x.mp4", "fïlm \n.mp4"):
        SyntheticVideo(count=3).write(tmp_path / "film.mp4").rename(tmp_path / name)
        assert probe(name).width == 128


def test_a_file_with_only_a_cover_has_no_video(tmp_path: Path) -> None:
    path = SyntheticVideo(video=False, cover=True, audio_seconds=1).write(tmp_path / "song.mp4")
    with pytest.raises(NoVideoStreamError, match="only a cover image"):
        probe(path)


def test_an_audio_file_has_no_video(tmp_path: Path) -> None:
    path = SyntheticVideo(video=False, audio_seconds=1).write(tmp_path / "song.mp4")
    with pytest.raises(NoVideoStreamError, match="only audio or subtitles"):
        probe(path)


def test_a_cover_image_is_not_the_video_stream(tmp_path: Path) -> None:
    reading = read(SyntheticVideo(cover=True, audio_seconds=2).write(tmp_path / "film.mp4"))
    assert reading.numbers == [0, 12, 25, 37]
    assert reading.info.num_video_streams == 1


def test_the_animation_of_an_avif_is_the_video(tmp_path: Path) -> None:
    path = tmp_path / "animated.avif"
    SyntheticVideo(
        count=10, rate=10, codec="libsvtav1", options={"preset": "12", "crf": "20"}
    ).write(path)
    found = read(path, sampling("all"))
    assert found.info.num_video_streams == 1
    assert found.numbers == list(range(10))


def test_the_largest_of_several_streams_is_chosen_and_another_can_be_named(tmp_path: Path) -> None:
    path = SyntheticVideo(second_stream=(256, 192)).write(tmp_path / "two.mkv")
    info = probe(path)
    assert (info.num_video_streams, info.width) == (2, 256)
    assert "2 video streams" in info.warnings[0]
    assert probe(path, stream=0).width == 128
    with pytest.raises(UsageError, match="stream 7"):
        probe(path, stream=7)


def test_files_are_closed_after_success_and_errors(folder: Path) -> None:
    def num_open() -> int:
        return len(os.listdir("/proc/self/fd"))

    video = folder / SECRET
    broken = folder / "broken.mp4"
    broken.write_bytes(video.read_bytes()[:200])
    before = num_open()
    for _ in range(5):
        probe(video)
        for path in (broken, hostile(folder, "text")):
            with pytest.raises(VideoError):
                probe(path)
    assert num_open() == before


def test_thousands_of_files_do_not_leak_memory(folder: Path) -> None:
    import resource

    def peak() -> int:
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    video = folder / SECRET
    for _ in range(30):
        read(video)
    before = peak()
    gc.disable()  # closing, not the garbage collector, must free what is large
    try:
        for _ in range(150):
            read(video)
    finally:
        gc.enable()
    assert peak() - before < 15_000  # kB; without close() it is 4 MB a file


def test_no_python_code_runs_in_libavs_log(folder: Path) -> None:
    assert av.logging.get_level() is None


def test_opening_does_not_wait_for_a_writer(folder: Path) -> None:
    path = hostile(folder, "fifo")
    outcome: list[type[BaseException]] = []

    def open_it() -> None:
        try:
            probe(path)
        except VideoError as error:
            outcome.append(type(error))

    thread = threading.Thread(target=open_it, daemon=True)
    thread.start()
    thread.join(HANG)
    assert outcome == [VideoOpenError]


def test_a_file_without_any_packet_is_an_error(tmp_path: Path) -> None:
    path = SyntheticVideo(count=5, lost=range(5), audio_seconds=1).write(tmp_path / "silent.mkv")
    with pytest.raises((VideoDecodeError, NoVideoStreamError)):
        read(path)
