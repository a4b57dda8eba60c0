"""Download from and upload to the Hugging Face Hub. The only module that imports huggingface_hub.

That library reads ``HF_HOME`` and ``HF_ENDPOINT``. Offline (``HF_HUB_OFFLINE``,
``VTNSTREAM_OFFLINE`` or ``--offline``) only files in its cache are available.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from vtnstream.errors import ModelError
from vtnstream.transport.web import OFFLINE, is_on

_OFFLINE_VARIABLES = (OFFLINE, "HF_HUB_OFFLINE")
_NOT_LOGGED_IN = "not allowed: log in with `hf auth login` or HF_TOKEN and an account with access"
SCHEMES = ("hf://", "hf-hub:", "hf_hub:")
_PART = r"[A-Za-z0-9][\w.\-]*"
_REPOSITORY = re.compile(rf"({_PART}/{_PART})(?:@([\w.\-/]+))?")


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository, and a revision (branch, tag or commit) if one is given."""

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


_REACHED_WITHIN = 4.0
"""Seconds in which a hub must accept a connection; huggingface_hub itself tries for most of a
minute."""


def is_reachable(seconds: float = _REACHED_WITHIN) -> bool:
    """Return whether the hub, or the proxy before it, accepts a connection within
    :data:`_REACHED_WITHIN`."""
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    proxies = getproxies()
    if address.scheme in proxies and not proxy_bypass(address.hostname or ""):
        address = urlsplit(proxies[address.scheme])
    port = address.port or (443 if address.scheme == "https" else 80)
    reached = threading.Event()

    def connect() -> None:
        with suppress(OSError), socket.create_connection((address.hostname, port), seconds):
            reached.set()

    # Looking up a name has no time limit of its own, so another thread waits for it.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return reached.is_set()


_ASKED_AGAIN_AFTER = 30.0
"""Seconds for which a hub that was not reached counts as unreachable, because files of a model are
asked for one after the other."""
_unreached: dict[str, float] = {}


def _can_reach() -> bool:
    """Return :func:`is_reachable`; a negative answer is kept for :data:`_ASKED_AGAIN_AFTER`."""
    from huggingface_hub import constants

    address = constants.ENDPOINT
    if time.monotonic() - _unreached.get(address, -_ASKED_AGAIN_AFTER) < _ASKED_AGAIN_AFTER:
        return False
    if is_reachable():
        return True
    _unreached[address] = time.monotonic()
    return False


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Restrict huggingface_hub to its cache while open, if the hub cannot be reached.

    Raises:
        ModelError: a requested file is not in the cache; the message names the hub.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if not before and is_reachable():
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except Exception as error:  # of timm and the hub, of all kinds
        if before and not isinstance(error, OSError):  # errors of the hub are OSErrors
            raise
        why = "--offline or HF_HUB_OFFLINE is set" if before else "it cannot be reached"
        raise ModelError(f"not in the cache of {constants.ENDPOINT}, and {why}") from error
    finally:
        constants.HF_HUB_OFFLINE = before


def parse_hub_name(text: str, *, bare: bool = True) -> HubName | None:
    """Parse ``hf://org/name[@rev]`` or ``hf-hub:...``, and with ``bare`` also ``org/name[@rev]``.

    Returns:
        None if the text has another form.

    Raises:
        ModelError: it starts like a hub name but is not valid.
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
    """Return whether the environment forbids the network."""
    return any(map(is_on, _OFFLINE_VARIABLES))


@contextmanager
def client_settings() -> Iterator[None]:
    """Configure huggingface_hub while open: offline as :func:`is_offline` says, and progress
    bars only on a terminal.

    The library reads its own variables once and does not read those of vtnstream.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = constants.HF_HUB_OFFLINE, are_progress_bars_disabled()
    constants.HF_HUB_OFFLINE = before[0] or is_offline()
    if not before[1] and (is_on("HF_HUB_DISABLE_PROGRESS_BARS") or not sys.stderr.isatty()):
        disable_progress_bars()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before[0]
        if not before[1]:
            enable_progress_bars()


def download(name: HubName, file: str) -> Path:
    """Download one file of a repository, or find it in the cache, where alone it is looked for if
    the hub cannot be reached.

    Raises:
        ModelError: it does not exist, access is refused, or offline and not in the cache.
    """
    from huggingface_hub import constants, hf_hub_download

    with client_settings():
        unreachable = not constants.HF_HUB_OFFLINE and not _can_reach()
        if unreachable:
            constants.HF_HUB_OFFLINE = True  # the client would retry for half a minute
        try:
            return Path(hf_hub_download(name.repository, file, revision=name.revision))
        except Exception as error:  # the hub's own errors and every kind of network error
            if unreachable:
                raise ModelError(
                    f"hf://{name}: {file} is not in the cache, and {constants.ENDPOINT} cannot be "
                    "reached: connect to it, or copy the model here and name its folder"
                ) from error
            raise ModelError(f"hf://{name}: {file} cannot be fetched ({_reason(error)})") from error


def download_first(name: HubName, files: Sequence[str]) -> Path:
    """Download the first of ``files`` that the repository has.

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


def push(
    name: HubName, files: Mapping[str, Path | bytes], *, private: bool, optional: Sequence[str] = ()
) -> str:
    """Upload files as one commit. The repository is created if it does not exist.

    Args:
        name: the repository; a revision is a branch, created if it does not exist.
        files: name in the repository -> path or contents.
        private: make it visible only to its owner and organisation.
        optional: names that are not uploaded if the repository has them.

    Returns:
        the address of the commit.

    Raises:
        ModelError: offline or unreachable, not logged in, access is refused, or ``private`` with a
            public repository.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, constants

    api = HfApi(library_name="vtnstream")
    with client_settings():
        if not constants.HF_HUB_OFFLINE and not _can_reach():
            raise ModelError(
                f"hf://{name}: cannot be pushed, because {constants.ENDPOINT} cannot be reached: "
                "connect to it and run the command again"
            )
        try:
            api.create_repo(name.repository, private=private, exist_ok=True)
            if private and not api.model_info(name.repository).private:
                raise ModelError(f"hf://{name}: is public: make it private on the Hub first")
            if name.revision is not None:
                api.create_branch(name.repository, branch=name.revision, exist_ok=True)
            there = {
                file
                for file in optional
                if api.file_exists(name.repository, file, revision=name.revision)
            }
            additions = [
                CommitOperationAdd(path_in_repo=file, path_or_fileobj=content)
                for file, content in files.items()
                if file not in there
            ]
            commit = api.create_commit(
                name.repository,
                additions,
                commit_message="Model folder of vtnstream",
                revision=name.revision,
            )
        except ModelError:
            raise
        except Exception as error:  # the hub's own errors and every kind of network error
            raise ModelError(f"hf://{name}: cannot be pushed ({_reason(error)})") from error
    return str(commit.commit_url)


def _reason(error: Exception) -> str:
    """Return a short reason for an error; the library's messages have many lines."""
    from huggingface_hub import constants, errors

    if constants.HF_HUB_OFFLINE or isinstance(error, errors.OfflineModeIsEnabled):
        cached = isinstance(error, errors.LocalEntryNotFoundError)
        return "offline mode is on" + (" and it is not in the cache" if cached else "")
    if isinstance(error, errors.LocalTokenNotFoundError):
        return _NOT_LOGGED_IN
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
    if isinstance(error, errors.HfHubHTTPError) and error.response.status_code in (401, 403):
        return _NOT_LOGGED_IN
    text = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
