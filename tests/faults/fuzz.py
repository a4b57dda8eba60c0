"""Mutated files of every kind, read by what reads them in earnest. Runs in children of the
warm process: a crash of native code, a hang or a flood of memory ends one of them.

Each case is decided by its kind and number alone: ``python -m tests.faults.fuzz KIND NUMBER``
does one again, in a folder of seeds made by :func:`write_seeds`.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

CPU_SECONDS = 20
"""Of one case; a child that needs more is ended by SIGPROF."""
MEMORY_BYTES = 1 << 30
"""Beyond what the process holds when it begins."""

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
_VALUES = (
    *(None, True, 0, -1, 1.5, 1e308, -0.0, 2**31, 2**63, 2**70, 10**400, float("nan")),
    *(float("inf"), "", "x", "\x00", "\ud800", "1/0", "../../x", "9" * 5000, [], {}, [[]], [None]),
    *({"x": 1}, [1] * 100),
)


# ------------------------------------------------------------------------- mutations


def mutated_bytes(data: bytes, dice: random.Random) -> bytes:
    """One to eight changes to a file's bytes."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        at = dice.randrange(len(changed) or 1)
        # Headers, which steer everything, stand at either end.
        at = dice.choice((at, at % 512, max(0, len(changed) - 1 - at % 512)))
        length = dice.choice((1, 2, 4, 16, 200, 5000))
        kind = dice.randrange(8)
        if kind == 0:
            changed[at : at + 1] = bytes([dice.randrange(256)])
        elif kind == 1:
            changed[at : at + length] = dice.randbytes(length)
        elif kind == 2:
            changed[at : at + length] = bytes([dice.choice((0, 255))]) * length
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        elif kind == 5:
            size = dice.choice((2, 4, 8))
            number = dice.choice(_NUMBERS) % 256**size
            changed[at : at + size] = number.to_bytes(size, dice.choice(("big", "little")))
        elif kind == 6:
            other = dice.randrange(len(changed) or 1)
            changed[at : at + length] = changed[other : other + length]
        else:
            del changed[at:]
    return bytes(changed)


def mutated_data(data: Any, dice: random.Random) -> Any:
    """JSON data with one to three places changed: a value, a key, an order."""
    data = json.loads(json.dumps(data))
    for _ in range(dice.choice((1, 1, 2, 3))):
        holder = dice.choice(_holders(data) or [{}])
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = dice.choice(list(keys) or [0])
        kind = dice.randrange(4)
        if kind == 0 and keys:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[dice.choice(("x", "", "name", "start"))] = dice.choice(_VALUES)
        elif kind == 2 and isinstance(holder, list):
            holder.append(dice.choice(_VALUES))
        elif keys:
            holder[key] = dice.choice(_VALUES)
    return data


def _holders(data: Any) -> list[Any]:
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    found = [each for value in inner for each in _holders(value)]
    return [data, *found] if isinstance(data, (dict, list)) else found


def mutated_lines(text: str, dice: random.Random) -> bytes:
    """Lines swapped, cut, doubled, with odd fields and bytes."""
    lines = text.splitlines()
    for _ in range(dice.choice((1, 2, 3))):
        at = dice.randrange(len(lines))
        fields = lines[at].split(",")
        fields[dice.randrange(len(fields))] = str(dice.choice(_VALUES))
        lines[at] = dice.choice((",".join(fields), lines[at] * 2, "", '"', lines[at][:5], "\0"))
        lines.insert(dice.randrange(len(lines)), dice.choice(lines))
    data = dice.choice(("\n", "\r\n", "\r")).join(lines).encode(errors="surrogatepass")
    return mutated_bytes(data, dice) if dice.random() < 0.3 else data


# ----------------------------------------------------------------------------- readers


def media(folder: Path, target: Path, dice: random.Random) -> None:
    seed = dice.choice(sorted((folder / "media").iterdir()))
    target = target.with_suffix(seed.suffix)
    target.write_bytes(mutated_bytes(seed.read_bytes(), dice))
    from tests.video.reading import read, sampling

    reading = read(target, dice.choice((sampling(), sampling("all"), sampling("keyframes"))))
    times = reading.times
    assert (times.indices[1:] > times.indices[:-1]).all()
    assert (times.end_seconds >= times.start_seconds).all()


def chunks(folder: Path, target: Path, dice: random.Random) -> None:
    from vtnstream.features.chunk import StoredChunk

    good = (folder / "chunk.safetensors").read_bytes()
    chunk = StoredChunk.from_bytes(mutated_bytes(good, dice), str(target))
    same = StoredChunk.from_bytes(good, "good")
    assert (chunk.values == same.values).all() and chunk.stats == same.stats, "unnoticed"


def feature_files(folder: Path, target: Path, dice: random.Random) -> None:
    from vtnstream.features.file import FeatureFile

    target.write_bytes(mutated_bytes((folder / "features.safetensors").read_bytes(), dice))
    same = FeatureFile(folder / "features.safetensors")
    found = FeatureFile(target)
    for block, good in zip(found.blocks(64), same.blocks(64), strict=True):
        assert (block == good).all(), "unnoticed"


def checkpoints(folder: Path, target: Path, dice: random.Random) -> None:
    from vtnstream.models.io.weights import read_tensors

    target = target.with_suffix(dice.choice((".safetensors", ".pth")))
    good = (folder / f"weights{target.suffix}").read_bytes()
    target.write_bytes(mutated_bytes(good, dice))
    read_tensors(target)


def model_configs(folder: Path, target: Path, dice: random.Random) -> None:
    from vtnstream.models.io.checkpoint import load_model

    target.mkdir()
    os.link(folder / "model" / "model.safetensors", target / "model.safetensors")
    text = (folder / "model" / "config.json").read_text()
    data = json.dumps(mutated_data(json.loads(text), dice)).encode()
    (target / "config.json").write_bytes(mutated_bytes(data, dice) if dice.random() < 0.2 else data)
    load_model(target)


def settings(folder: Path, target: Path, dice: random.Random) -> None:
    from vtnstream.training.settings import train_config

    target = target.with_suffix(".toml")
    seed = dice.choice(sorted((folder / "toml").iterdir()))
    target.write_bytes(
        mutated_lines(seed.read_text().replace(" = ", ","), dice).replace(b",", b"=")
    )
    train_config(target)


def manifests(folder: Path, target: Path, dice: random.Random) -> None:
    from vtnstream.batch.manifest import read_manifest
    from vtnstream.batch.status import StatusLine

    names = "film.mp4\n*.mkv\n-\n./a/../b.mp4\n# no\n[x].mp4\n~/x\n"
    target.write_bytes(mutated_lines(names, dice))
    for item in read_manifest([], files_from=str(target), null=dice.random() < 0.3).items:
        assert item.path
    line = StatusLine("a", "/a", "done", "ok").as_json().encode()
    StatusLine.from_json(mutated_bytes(line, dice))


def annotations(folder: Path, target: Path, dice: random.Random) -> None:
    from vtnstream.datasets.annotations import read_annotations

    seed = dice.choice(sorted((folder / "annotations").iterdir()))
    target = target.with_suffix(seed.suffix)
    text = seed.read_text()
    if seed.suffix == ".json":
        target.write_text(json.dumps(mutated_data(json.loads(text), dice)))
    else:
        target.write_bytes(mutated_lines(text, dice))
    read_annotations(target, check_files=False, overlapping=dice.random() < 0.5)


def reports(folder: Path, target: Path, dice: random.Random) -> None:
    """Also written again, in every format that can hold what was read."""
    from vtnstream.report.formats import WRITERS
    from vtnstream.report.reading import read_report
    from vtnstream.report.writer import write_reports

    good = json.loads((folder / "report.json").read_text())
    data = json.dumps(mutated_data(good, dice)).encode()
    target = target.with_suffix(".json")
    target.write_bytes(mutated_bytes(data, dice) if dice.random() < 0.2 else data)
    report = read_report(target)
    write_reports(report, target.with_suffix(".out"), list(WRITERS))


KINDS: dict[str, Callable[[Path, Path, random.Random], None]] = {
    "media": media,
    "feature chunk": chunks,
    "feature file": feature_files,
    "checkpoint": checkpoints,
    "model config": model_configs,
    "settings": settings,
    "manifest": manifests,
    "annotation": annotations,
    "report": reports,
}


def run_case(kind: str, number: int, folder: Path, target: Path) -> None:
    """Raises:
    AssertionError: the case is lost: an error that is not ours, or of several lines.
    """
    from vtnstream.errors import VtnstreamError

    try:
        KINDS[kind](folder, target, random.Random(f"{kind} {number}"))
    except VtnstreamError as error:
        text = str(error)
        assert text and "\n" not in text and len(text) < 2000, f"not one line: {text[:300]!r}"


def main(kind: str, first: int, stop: int, folder: str, scratch: str) -> None:
    """Cases ``[first, stop)`` in this process; each that is lost is a line of ``lost``."""
    from vtnstream.models.backbone import list_backbones

    list_backbones("x")  # timm, imported before memory is limited
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    for number in range(first, stop):
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        Path(scratch, "at").write_text(str(number))
        try:
            run_case(kind, number, Path(folder), Path(scratch, f"{kind}-{number}"))
        except BaseException as error:
            import traceback

            frames = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in frames if "vtnstream/" in frame.filename] or frames
            place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
            line = [number, f"{type(error).__name__} at {place}: {str(error)[:300]}"]
            with open(Path(scratch, "lost"), "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    sys.exit(0)


# ------------------------------------------------------------------------------- seeds


def write_seeds(folder: Path, model: Path, results: dict[str, Any]) -> Path:
    """The files that are mutated: short videos in many containers, and what commands wrote.

    Args:
        folder: where to.
        model: a model folder.
        results: a feature file and a report of :class:`tests.faults.work.Work`, and a chunk.
    """
    import shutil

    import torch
    from safetensors.torch import load_file

    from tests.synth import SyntheticVideo

    (folder / "media").mkdir(parents=True)
    small = {"count": 12, "size": (64, 48), "rate": Fraction(6)}
    videos = {
        "plain.mp4": SyntheticVideo(**small, audio_seconds=1),
        "faststart.mov": SyntheticVideo(**small, muxer={"movflags": "faststart"}),
        "fragments.mp4": SyntheticVideo(**small, muxer={"movflags": "frag_keyframe+empty_moov"}),
        "turned.mp4": SyntheticVideo(**small, matrix=(0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)),
        "film.mkv": SyntheticVideo(**small, b_frames=2),
        "film.webm": SyntheticVideo(**small, codec="libvpx", options={}),
        "film.avi": SyntheticVideo(**small, codec="mpeg4", options={}, ticks=6),
        "film.ts": SyntheticVideo(**small),
        "film.mpg": SyntheticVideo(
            **small | {"rate": 25}, codec="mpeg2video", options={}, ticks=25
        ),
        "film.flv": SyntheticVideo(**small, codec="flv", options={}, ticks=1000),
        "film.h264": SyntheticVideo(**small, format="h264"),
        "film.gif": SyntheticVideo(**small, codec="gif", options={}, pix_fmt="rgb8", ticks=100),
        "film.nut": SyntheticVideo(**small, codec="mjpeg", options={}, pix_fmt="yuvj420p"),
        "film.ogv": SyntheticVideo(**small, codec="libtheora", options={}, ticks=6),
    }
    import av

    for name, video in videos.items():
        if video.codec in av.codecs_available:
            video.write(folder / "media" / name)
    shutil.copytree(model, folder / "model")
    state = load_file(model / "model.safetensors")
    small_state = dict(list(state.items())[:6])
    torch.save({"state_dict": small_state}, folder / "weights.pth")
    from safetensors.torch import save_file

    save_file(small_state, folder / "weights.safetensors")
    for name, data in results.items():
        (folder / name).write_bytes(data)
    (folder / "toml").mkdir()
    root = Path(__file__).parents[2]
    for path in sorted((root / "configs" / "train").glob("*.toml"))[:4]:
        shutil.copy(path, folder / "toml")
    _write_annotations(folder / "annotations")
    return folder


def _write_annotations(folder: Path) -> None:
    folder.mkdir()
    (folder / "segments.csv").write_text(
        "path,start,end,label\na.mp4,0:00,0:30,x\na.mp4,0:30,1:01:10.5,y\nb.mp4,1,2,x\n"
    )
    (folder / "clips.csv").write_text("path,label\na.mp4,x\nb.mp4,y\n")
    (folder / "kinetics.csv").write_text(
        "label,youtube_id,time_start,time_end,split\nx,abcdefghijk,0,10,train\n"
    )
    (folder / "pyslowfast.csv").write_text("a.mp4 0\nb.mp4 1\n")
    document = {
        "version": "1",
        "database": {
            "v1": {
                "duration": 10.5,
                "subset": "training",
                "annotations": [{"segment": [0.5, 3], "label": "x"}],
            }
        },
    }
    (folder / "activitynet.json").write_text(json.dumps(document))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        run_case(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(scratch, "case"))
