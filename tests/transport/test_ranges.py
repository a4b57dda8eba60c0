"""Remote files are read exactly, over broken connections, and never from two versions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.transport.server import Site, serving
from vtnstream.errors import UsageError, VideoOpenError
from vtnstream.features.key import FileState, video_identity
from vtnstream.transport.address import check_address, is_address, shown, unsigned
from vtnstream.transport.media import open_media


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "film.mkv").write_bytes(random.Random(0).randbytes(3_000_000))
    with serving(Site(tmp_path)) as site:
        yield site


def read(file: object, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := file.read(size - len(data))):  # type: ignore[attr-defined]
        data += part
    return data


def test_random_access_reads_the_bytes_of_the_file(site: Site) -> None:
    whole = (site.folder / "film.mkv").read_bytes()
    opened = open_media(f"{site.address}/film.mkv")
    dice = random.Random(1)
    with opened.file as file:
        assert opened.size == len(whole) and opened.version
        for _ in range(40):
            start, size = dice.randrange(len(whole)), dice.randrange(1, 600_000)
            assert file.seek(start) == start
            assert read(file, size) == whole[start : start + size]
        file.seek(-10, 2)
        assert read(file, 100) == whole[-10:]
        file.seek(0)
        assert read(file, len(whole) + 1) == whole


def test_reading_continues_after_broken_connections(site: Site) -> None:
    site.cut_after = [700_000, 100, 300_000]
    whole = (site.folder / "film.mkv").read_bytes()
    with open_media(f"{site.address}/film.mkv").file as file:
        assert read(file, len(whole)) == whole
    starts = [wanted for _, wanted in site.asked]
    assert len(starts) == 4 and "bytes=524288-" in starts


def test_a_file_that_changes_while_it_is_read_is_an_error(site: Site) -> None:
    with open_media(f"{site.address}/film.mkv").file as file:
        read(file, 1000)
        (site.folder / "film.mkv").write_bytes(bytes(3_000_000))
        file.seek(2_900_000)
        with pytest.raises(OSError, match="changed"):
            read(file, 1000)


def test_the_identity_of_a_video_depends_on_its_version_alone(site: Site) -> None:
    url = f"{site.address}/film.mkv"
    before = video_identity(url), FileState.of(url)
    assert (video_identity(f"{url}?signature=1"), FileState.of(f"{url}?signature=2")) == before
    path = site.folder / "film.mkv"
    data = bytearray(path.read_bytes())
    data[1_500_000] ^= 1  # neither at the beginning nor at the end
    path.write_bytes(data)
    after = video_identity(url), FileState.of(url)
    assert after[0] != before[0] and after[1] != before[1]


def test_unavailable_files_and_servers_are_errors(site: Site) -> None:
    with pytest.raises(VideoOpenError, match=r"404 .*check the address"):
        open_media(f"{site.address}/nothing.mkv")
    with pytest.raises(VideoOpenError, match=r"cannot be reached .*Connection refused"):
        open_media("http://127.0.0.1:9/film.mkv")


def test_objects_of_a_store_are_read() -> None:
    data = random.Random(2).randbytes(2_500_000)
    system = fsspec.filesystem("memory")
    system.pipe("/bucket/film.mkv", data)
    opened = open_media("memory://bucket/film.mkv")
    with opened.file as file:
        file.seek(1_234_567)
        assert (opened.size, read(file, 500_000)) == (len(data), data[1_234_567:1_734_567])
    before = video_identity("memory://bucket/film.mkv")
    system.pipe("/bucket/film.mkv", data)  # the same bytes, written again
    assert video_identity("memory://bucket/film.mkv") != before
    with pytest.raises(VideoOpenError, match="no such object"):
        open_media("memory://bucket/nothing.mkv")


def test_addresses_are_recognised_and_checked() -> None:
    assert is_address("s3://bucket/film.mkv") and is_address("HTTPS://host/film")
    assert not is_address(Path("http://host/film")) and not is_address("Episode:1.mp4")
    assert shown("rtsp://me:secret@camera:554/1") == "rtsp://me:***@camera:554/1"
    assert unsigned("https://host/film.mkv?X-Signature=1#t") == "https://host/film.mkv"
    with pytest.raises(UsageError, match="of this kind are not read") as refused:
        check_address("ftp://host/film.mkv")
    assert "http, https, s3" in str(refused.value)
    with pytest.raises(UsageError) as refused:
        check_address("http://me:secret@host/film.mkv")
    assert "secret" not in str(refused.value)
