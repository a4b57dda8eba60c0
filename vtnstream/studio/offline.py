"""Corrections without a server, for ``vtnstream train --from-studio``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vtnstream.atomic import whole_file
from vtnstream.errors import OutputError, UsageError
from vtnstream.studio.correcting.exporting import annotations_csv
from vtnstream.studio.database import FILE
from vtnstream.studio.folders import STATE_FOLDER, Workspace
from vtnstream.studio.service import Studio


def corrections_for_training(folder: Path, videos: Sequence[Path], target: Path) -> int:
    """Write the corrections of a folder as annotations that ``vtnstream train`` reads.

    Args:
        folder: the folder that the studio was started for, or its state folder.
        videos: further folders with videos.
        target: the CSV file to write.

    Returns:
        The number of corrected videos.

    Raises:
        UsageError: nothing was corrected there.
        OutputError: the file cannot be written.
    """
    home = folder.parent if folder.name == STATE_FOLDER else folder
    if not (home / STATE_FOLDER / FILE).is_file():
        raise UsageError(
            f"{folder}: no corrections in it: make some with vtnstream studio {folder}"
        )
    studio = Studio(Workspace.of([home], videos=videos))
    try:
        studio.index.scan()
        found = list(studio.annotated())
    finally:
        studio.close()
    if not found:
        raise UsageError(
            f"{folder}: no corrected video is at hand: name the folder of the videos with "
            "--studio-videos"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as file:
            file.write(annotations_csv(found).encode())
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error
    return len(found)
