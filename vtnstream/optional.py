"""Import optional libraries, with an error that names the extra to install."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import urllib.parse
import urllib.request
from types import ModuleType

from vtnstream.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``; if it is missing, name the extra that installs it.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is not installed: install vtnstream with the extra '{extra}', "
            f"as in {install_command(extra)} ({error})"
        ) from error


def installed(module: str) -> bool:
    """Return whether ``module`` is installed; it is not imported."""
    return importlib.util.find_spec(module) is not None


def install_command(extra: str) -> str:
    """Return the command that installs an extra in the way this vtnstream was installed: by its
    name from the package index, or from the folder of a clone."""
    folder, editable = _clone()
    if folder is None:
        return f'pip install "vtnstream[{extra}]"'
    return f'pip install {"-e " if editable else ""}"{folder}[{extra}]"'


def _clone() -> tuple[str | None, bool]:
    """Return the folder that vtnstream was installed from, and whether it runs from there."""
    try:
        text = importlib.metadata.distribution("vtnstream").read_text("direct_url.json")
        document = json.loads(text or "{}")
        url = urllib.parse.urlsplit(document.get("url", ""))
        if url.scheme == "file" and "dir_info" in document:
            folder = urllib.request.url2pathname(url.path)
            return folder, bool(document["dir_info"].get("editable"))
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError, AttributeError):
        pass
    return None, False
