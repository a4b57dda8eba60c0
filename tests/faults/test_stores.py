"""Damage in a feature store is found and mended; processes, videos, models and settings never
mix in one."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.conftest import Some
from tests.faults.tally import Cases
from tests.faults.work import CHUNK, TOKENS, Place, Work


def change(path: Path, edit: Callable[[bytearray], object]) -> None:
    data = bytearray(path.read_bytes())
    edit(data)
    path.write_bytes(data)


def flip(data: bytearray) -> None:
    data[len(data) * 2 // 3] ^= 0x40


def tear(data: bytearray) -> None:
    del data[len(data) // 2 :]


def zero(data: bytearray) -> None:
    data[:] = bytes(len(data))


def zero_end(data: bytearray) -> None:
    """What a file system leaves of a page that never reached the disk."""
    start = len(data) // 4096 * 4096 - 4096
    data[start:] = bytes(len(data) - start)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": lambda path: change(path, flip),
    "torn": lambda path: change(path, tear),
    "zeroed": lambda path: change(path, zero),
    "last page zeroed": lambda path: change(path, zero_end),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "a copy of the next": lambda path: shutil.copy(path.with_name("00000003.safetensors"), path),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
    "a fifo": lambda path: (path.unlink(), os.mkfifo(path)),
}
RECORDS = ("store.json", "identity.json", "end.json")


@pytest.fixture(scope="module")
def filled(work: Work) -> Iterator[Place]:
    """A place in which ``extract`` has been through."""
    with work.place("extract") as place:
        assert place.run().code == 0
        yield place


@contextmanager
def copy_of(place: Place) -> Iterator[Place]:
    """The same store elsewhere, without results; all its times are kept."""
    with place.work.place(place.kind) as other:
        shutil.copytree(place.cache, other.cache)
        yield other


def test_damaged_chunks_are_found_and_computed_again(
    filled: Place, cases: Cases, some: Some
) -> None:
    for name, damage in some(DAMAGES.items(), 3):
        with cases("damaged chunk", name), copy_of(filled) as place:
            damage(place.chunks()[2])
            again = place.run()
            assert (again.code, again.errors) == (0, []), again
            place.assert_whole()
            assert place.frames_encoded() == CHUNK


def test_damaged_records_are_found(filled: Place, cases: Cases, some: Some) -> None:
    damages = ("flipped", "torn", "zeroed", "missing")
    for record, name in some(itertools.product(RECORDS, damages), 2):
        with cases("damaged record of a store", f"{record} {name}"), copy_of(filled) as place:
            DAMAGES[name](place.chunks()[0].with_name(record))
            again = place.run()
            assert (again.code, again.errors) == (0, []), again
            place.assert_whole()


def test_two_processes_share_a_store_without_doing_anything_twice(work: Work, cases: Cases) -> None:
    with cases("two processes on one store"), work.place("extract") as first:
        second = Place(work, "timeline", first.folder)
        pids = [place.start() for place in (first, second)]
        assert [work.warm.end(pid).code for pid in pids] == [0, 0]
        assert first.frames_encoded() + second.frames_encoded() == TOKENS
        first_results, second_results = (work.whole(kind)[0] for kind in ("extract", "timeline"))
        assert first.left().store == first_results.store | second_results.store
        assert first.left().results == first_results.results | second_results.results


def test_settings_side_by_side_do_not_mix(work: Work, cases: Cases) -> None:
    with cases("two settings at once"), work.place("extract") as first:
        second = replace(first, kind="timeline", more=("--fps", "0.25"))
        pids = [place.start() for place in (first, second)]
        assert [work.warm.end(pid).code for pid in pids] == [0, 0]
        assert (first.frames_encoded(), second.frames_encoded()) == (TOKENS, TOKENS // 2)
        assert len(list(first.cache.glob("features/*/*"))) == 2


def test_the_lock_of_a_killed_process_is_taken_over(work: Work, cases: Cases) -> None:
    with cases("lock of a killed process"), work.place("extract") as first:
        second = replace(first, kind="timeline")
        pid = first.start()
        while not first.chunks():
            time.sleep(0.002)
        os.kill(pid, signal.SIGSTOP)  # holds the lock, and will not go on
        waiting = second.start()
        time.sleep(0.5)
        stored = len(first.chunks())
        os.kill(pid, signal.SIGKILL)
        assert work.warm.end(pid).was_killed
        assert work.warm.end(waiting).code == 0
        assert second.frames_encoded() == TOKENS - CHUNK * stored
        assert second.left().results == work.whole("timeline")[0].results


def test_a_stale_lock_file_and_the_rest_of_a_killed_writer_are_no_obstacle(
    filled: Place, cases: Cases
) -> None:
    with cases("lock of a killed process", "left file"), copy_of(filled) as place:
        store = place.chunks()[0].parent
        (store / "lock").write_bytes(b"12345\n")
        (store / ".vtnstream-12345-0badcafe.tmp").write_bytes(b"half")
        assert place.run().code == 0
        place.assert_whole()
        assert place.frames_encoded() == 0


# ------------------------------------------------------------- old features never met


def edit_in_silence(video: Path) -> None:
    """One byte where no sample is taken, with the old size and time of change."""
    state = video.stat()
    change(video, lambda data: data.__setitem__(len(data) - 100_000, 7))
    os.utime(video, ns=(state.st_atime_ns, state.st_mtime_ns))


def another_backbone(model: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    name = next(name for name in weights if name.startswith("backbone.") and "bias" in name)
    weights[name] = weights[name] + 0.5
    save_file(weights, model / "model.safetensors")


def another_mean(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["preprocess"]["mean"] = [0.4, 0.5, 0.5]
    (model / "config.json").write_text(json.dumps(config))


CHANGES: dict[str, Callable[[Work], tuple[str, ...]]] = {
    "video edited, size and time kept": lambda work: edit_in_silence(work.video) or (),
    "weights of the backbone": lambda work: another_backbone(work.model) or (),
    "preprocessing of the model": lambda work: another_mean(work.model) or (),
    "--fps": lambda work: ("--fps", "0.25"),
    "--dtype": lambda work: ("--dtype", "bfloat16"),
}


def with_padding(video: Path, target: Path) -> Path:
    """The video with 3 MB behind it that no player looks at."""
    padding = 3_000_000
    box = padding.to_bytes(4, "big") + b"free" + bytes(padding - 8)
    target.write_bytes(video.read_bytes() + box)
    return target


def test_what_is_changed_never_meets_old_features(
    work: Work, cases: Cases, some: Some, tmp_path: Path
) -> None:
    for name, change_it in some(CHANGES.items(), 2):
        folder = tmp_path / name
        folder.mkdir()
        own = replace(
            work,
            video=with_padding(work.video, folder / "film.mp4"),
            model=Path(shutil.copytree(work.model, folder / "model")),
            _whole={},
        )
        with cases("changed video, model or setting", name), own.place("extract") as place:
            assert place.run().code == 0
            place.more = change_it(own)
            again = place.run()
            assert again.code == 0, again
            assert place.frames_encoded() == (TOKENS // 2 if name == "--fps" else TOKENS)
