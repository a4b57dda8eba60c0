"""Index videos into a library: only new or changed ones, each completely or not at all."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from vtnstream.config import RuntimeConfig
from vtnstream.features.key import FileState, video_identity
from vtnstream.inference.report import report_of
from vtnstream.library.rows import LibraryAbout, VideoRow
from vtnstream.library.store import LibraryStore, state_text
from vtnstream.progress import Progress
from vtnstream.report.writers.structured import report_json
from vtnstream.search.reading import read_video
from vtnstream.search.space import SearchSpace
from vtnstream.transport.address import is_address
from vtnstream.types import FloatArray, Partial, Report, SecondsArray
from vtnstream.words.vectors import BLOCK_TOKENS, FrameStatistics, unit_blocks

ADDED, CHANGED, UNCHANGED = "added", "changed", "unchanged"


def about_space(space: SearchSpace, model: str | None) -> LibraryAbout:
    """Return the description of a library of this space.

    Args:
        space: encoder and sampling of the frames.
        model: the value of ``--model``.
    """
    size = space.encoder.num_features if space.words is None else space.words.config.size
    return LibraryAbout(
        model=model or "",
        weights_sha256=space.encoder.weights_sha256,
        size=size,
        sampling=json.dumps(space.sampling.key(), sort_keys=True),
    )


class Indexer:
    """Keeps a library in step with video files.

    Args:
        space: what frames are encoded with; the library's own.
        store: the library.
        runtime: device, dtype, cache.
    """

    def __init__(self, space: SearchSpace, store: LibraryStore, runtime: RuntimeConfig) -> None:
        self._space, self._store, self._runtime = space, store, runtime
        self._known = store.videos()

    def index(self, path: str, progress: Progress | None = None) -> tuple[str, Partial | None]:
        """Add a video to the library, or update it.

        Returns:
            ``added``, ``changed`` or ``unchanged``, and why its features are incomplete.

        Raises:
            VtnstreamError: the video cannot be read, or the library cannot be written.
        """
        name = path if is_address(path) else os.path.abspath(path)
        known = self._known.get(name)
        state = state_text(asdict(FileState.of(path)))
        if known is not None and known.state == state:
            return UNCHANGED, None
        identity = video_identity(path)
        content = f"{identity.size_bytes}:{identity.blocks_sha256}"
        if known is not None and known.identity == content:
            self._store.touch(dataclasses.replace(known, state=state))
            return UNCHANGED, None
        with read_video(path, self._space, self._runtime, progress=progress) as s:
            space = self._space
            statistics = FrameStatistics.of(unit_blocks(s.features, space.project))
            bare = report_of(
                path, s, space.about, space.encoder.computed_on, space.sampling, None, None
            )
            times = s.features.times

            def row(batch: str) -> VideoRow:
                return VideoRow(
                    path=name,
                    batch=batch,
                    state=state,
                    identity=content,
                    tokens=len(times),
                    near=math.nan if statistics.near is None else statistics.near,
                    far=math.nan if statistics.far is None else statistics.far,
                    report=report_json(_stored(bare, name)),
                )

            blocks = unit_blocks(s.features, space.project)
            timed = _with_times(blocks, times.start_seconds, times.end_seconds)
            self._store.write(row, timed, name)
            return (ADDED if known is None else CHANGED), s.partial

    def remove_deleted(self, folders: Sequence[str]) -> list[str]:
        """Remove the videos below ``folders`` whose files no longer exist.

        Returns:
            their paths.
        """
        roots = [Path(os.path.abspath(folder)) for folder in folders]
        gone = [
            row
            for path, row in self._known.items()
            if not is_address(path)
            and any(Path(path).is_relative_to(root) for root in roots)
            and not os.path.exists(path)
        ]
        self._store.remove(gone)
        return [row.path for row in gone]


def _stored(report: Report, path: str) -> Report:
    """Return the report with the absolute path of its video, so that it can be read from any
    folder."""
    return dataclasses.replace(report, input=path)


def _with_times(
    blocks: Iterable[FloatArray], starts: SecondsArray, ends: SecondsArray
) -> Iterator[tuple[FloatArray, SecondsArray, SecondsArray]]:
    first = 0
    for block in blocks:
        assert len(block) <= BLOCK_TOKENS
        stop = first + len(block)
        yield block, starts[first:stop], ends[first:stop]
        first = stop
