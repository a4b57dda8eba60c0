"""Files of the Hugging Face Hub: the only file that imports huggingface_hub.

``HF_HOME`` and ``HF_ENDPOINT`` are respected by that library. Offline (``HF_HUB_OFFLINE``, or
``VTNSTREAM_OFFLINE`` and ``--offline`` of ours) what was fetched before is found in its cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vtnstream.errors import ModelError

OFFLINE_VARIABLES = ("VTNSTREAM_OFFLINE", "HF_HUB_OFFLINE")
SCHEMES = ("hf://", "hf-hub:", "hf_hub:")
_PART = r"[A-Za-z0-9][\w.\-]*"
_REPOSITORY = re.compile(rf"({_PART}/{_PART})(?:@([\w.\-/]+))?")


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository and the revision (branch, tag or commit) that was asked for."""

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


def parse_hub_name(text: str, *, bare: bool = True) -> HubName | None:
    """``hf://org/name[@rev]`` or ``hf-hub:...``, and with ``bare`` plain ``org/name[@rev]``.

    Returns:
        None where the text has no such form.

    Raises:
        ModelError: it starts like a hub name but is none.
    """
    scheme = next((s for s in SCHEMES if text.startswith(s)), None)
    if scheme is None and not bare:
        return None
    match = _REPOSITORY.fullmatch(text.removeprefix(scheme or ""))
    if match is None:
        if scheme is None:
            return None
        raise ModelError(f"{text}: write {scheme}org/name or {scheme}org/name@revision")
    return HubName(match[1], match[2])


def is_offline() -> bool:
    """Whether the environment forbids the network."""
    values = (os.environ.get(name, "") for name in OFFLINE_VARIABLES)
    return any(value.upper() in ("1", "ON", "YES", "TRUE") for value in values)


@contextmanager
def offline_respected() -> Iterator[None]:
    """While it lasts, huggingface_hub stays offline if :func:`is_offline` says so: it reads
    its own variable only once, and ours never."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or is_offline()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def download(name: HubName, file: str) -> Path:
    """One file of a repository, from the cache where it is there.

    Raises:
        ModelError: absent, refused, or offline and not in the cache; one line.
    """
    from huggingface_hub import hf_hub_download

    with offline_respected():
        try:
            return Path(hf_hub_download(name.repository, file, revision=name.revision))
        except Exception as error:  # the hub's own errors and every kind of network error
            raise ModelError(f"hf://{name}: {file} cannot be fetched ({_reason(error)})") from error


def download_first(name: HubName, files: Sequence[str]) -> Path:
    """The first of ``files`` that the repository has.

    Raises:
        ModelError: it has none of them.
    """
    problem: ModelError | None = None
    for file in files:
        try:
            return download(name, file)
        except ModelError as error:
            problem = problem or error
    raise problem or ModelError(f"hf://{name}: nothing to fetch")


def _reason(error: Exception) -> str:
    """What went wrong, in a few words: the hub's messages run over many lines."""
    from huggingface_hub import constants, errors

    if constants.HF_HUB_OFFLINE or isinstance(error, errors.OfflineModeIsEnabled):
        return "offline mode is on and it is not in the cache"
    if isinstance(error, errors.GatedRepoError):
        return "access is gated: accept its terms on the Hub and log in"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "no such repository, or it is private"
    if isinstance(error, errors.RevisionNotFoundError):
        return "no such revision"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return "no such file in it"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "the Hub cannot be reached and it is not in the cache"
    return " ".join(str(error).split())[:200] or type(error).__name__
