"""Download a published checkpoint and import it as a model folder in the cache."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from vtnstream.errors import ModelError
from vtnstream.models.io import hub
from vtnstream.models.io.published import published_model
from vtnstream.models.io.pyslowfast import Choices, import_checkpoint, save_imported
from vtnstream.models.io.resumable_download import Expected, fetch
from vtnstream.progress import NullProgress, Progress


def download_model(name: str, *, progress: Progress | None = None) -> Path:
    """Download and import a published model, unless it is in the cache.

    An interrupted download is resumed. The checkpoint is deleted after the import.

    Args:
        name: of a published model.
        progress: shows the download.

    Returns:
        the model folder.

    Raises:
        UsageError: no published model has this name.
        ModelError: offline and not in the cache, or the server cannot be reached.
        CheckpointError: the file has the wrong size, hash or tensors.
        OutputError: the cache cannot be written.
    """
    model = published_model(name)
    folder = model.folder
    if model.is_here:
        return folder
    url = model.source.url
    if hub.is_offline():
        raise ModelError(f"{name}: offline mode is on and it is not in the cache ({folder})")
    checkpoint = folder.with_name(PurePosixPath(urlsplit(url).path).name)
    expected = Expected(model.source.size_bytes, model.source.sha256)
    if not checkpoint.is_file():
        fetch(url, checkpoint, expected, progress or NullProgress())
    choices = Choices(name=name, labels=model.config.head.labels)
    save_imported(import_checkpoint(checkpoint, choices, base=model.config), folder)
    checkpoint.unlink()
    return folder
