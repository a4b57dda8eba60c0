"""The folders that the studio may read, and the folder in which it keeps its own files."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtnstream.errors import OutputError, UsageError

STATE_FOLDER = ".vtnstream-studio"


@dataclass(frozen=True, slots=True)
class Workspace:
    """What the studio was started for.

    Attributes:
        results: folders that are searched for results, resolved.
        files: result files that were named one by one, resolved; only these are shown if any.
        videos: further folders that videos may lie in, resolved.
        state: folder of the database, models and previews.
    """

    results: tuple[Path, ...]
    files: tuple[Path, ...]
    videos: tuple[Path, ...]
    state: Path

    @classmethod
    def of(
        cls,
        places: Sequence[str | Path],
        *,
        videos: Sequence[str | Path] = (),
        state: str | Path | None = None,
    ) -> Workspace:
        """Sort folders and files, and choose the folder of the state.

        Args:
            places: folders with results, or result files.
            videos: further folders with videos.
            state: folder of the studio's own files; None is a hidden folder beside the results.

        Raises:
            UsageError: a place does not exist, or is neither a folder nor a result.
            OutputError: the state folder cannot be made.
        """
        named = [_resolved(place) for place in places or (".",)]
        folders = tuple(dict.fromkeys(place for place in named if place.is_dir()))
        files = tuple(dict.fromkeys(place for place in named if not place.is_dir()))
        for file in files:
            _check_result(file)
        media = tuple(dict.fromkeys(_resolved(place) for place in videos))
        for folder in media:
            if not folder.is_dir():
                raise UsageError(f"{folder}: is not a folder: name a folder of videos")
        home = folders[0] if folders else files[0].parent
        own = Path(os.path.abspath(state)) if state is not None else home / STATE_FOLDER
        try:
            own.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{own}: cannot be made ({error.strerror or error}): "
                "name a writable folder with --state"
            ) from error
        return cls(folders, files, media, own.resolve())

    @property
    def roots(self) -> tuple[Path, ...]:
        """All folders from which files may be read."""
        beside = tuple(file.parent for file in self.files)
        return tuple(dict.fromkeys((*self.results, *beside, *self.videos, self.state)))

    @property
    def home(self) -> Path:
        """The folder that stored paths are relative to, so that it can be moved as a whole."""
        return self.results[0] if self.results else self.files[0].parent

    def allowed(self, path: str | Path) -> Path | None:
        """The real path of a file in one of the folders; None for any other.

        Symbolic links are resolved first, so that none leads out of the folders.
        """
        try:
            real = Path(path).resolve()
            inside = any(real.is_relative_to(root) for root in self.roots)
            return real if inside and real.is_file() else None
        except (OSError, ValueError, RuntimeError):
            return None

    def video_of(self, source: str, beside: Path) -> Path | None:
        """The video of a result, if it lies in one of the folders.

        Args:
            source: the video as the result names it.
            beside: folder of the result.
        """
        if "://" in source or source == "-" or not source:
            return None
        name = os.path.basename(source)
        places: list[str | Path] = [source, beside / source, beside / name]
        places += [root / name for root in (*self.results, *self.videos)] if name else []
        return next((found for place in places if (found := self.allowed(place))), None)

    def relative(self, path: Path) -> str:
        """A path for the database: relative to :attr:`home`."""
        return Path(os.path.relpath(path, self.home)).as_posix()


def _check_result(file: Path) -> None:
    """
    Raises:
        UsageError: a file is not JSON, as results are.
    """
    try:
        json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{file}: is neither a folder nor a result: name a folder of videos or results, or a "
            "result that `vtnstream timeline VIDEO -o DIR` wrote"
        ) from error


def _resolved(place: str | Path) -> Path:
    path = Path(place)
    try:
        return path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"{place}: no such file or folder") from error
