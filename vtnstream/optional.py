"""Import optional libraries, with an error that names the extra to install."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import json
import re
import tomllib
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from vtnstream.errors import MissingExtraError

_NAME = "vtnstream"
_ROOT = Path(__file__).resolve().parents[1]
"""The folder of the package; in a clone, that of ``pyproject.toml``."""
_OF_AN_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


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
    """The command that installs an extra, as this vtnstream was installed: by its name from the
    package index, or from the folder of a clone."""
    folder, editable = _clone()
    if folder is None:
        return f'pip install "vtnstream[{extra}]"'
    return f'pip install {"-e " if editable else ""}"{folder}[{extra}]"'


def extras() -> dict[str, tuple[str, ...]]:
    """Extra -> names of the packages that it installs, of the code that runs: in a clone, its
    ``pyproject.toml`` is newer than the metadata of an earlier installation."""
    declared = _project().get("optional-dependencies")
    if isinstance(declared, dict):
        return {extra: tuple(map(_package, lines)) for extra, lines in declared.items()}
    found: dict[str, tuple[str, ...]] = {}
    try:
        lines = importlib.metadata.requires("vtnstream") or []
    except importlib.metadata.PackageNotFoundError:
        return found
    for line in lines:
        match = _OF_AN_EXTRA.search(line)
        if match is not None:
            found[match[1]] = (*found.get(match[1], ()), _package(line))
    return found


def _package(requirement: str) -> str:
    """The name of the package in a requirement."""
    return re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]


@functools.cache
def _project() -> Mapping[str, Any]:
    """The table ``project`` of the clone that this code runs from; empty without a clone."""
    try:
        with (_ROOT / "pyproject.toml").open("rb") as file:
            project = tomllib.load(file).get("project", {})
    except (OSError, ValueError):
        return {}
    return project if isinstance(project, dict) and project.get("name") == _NAME else {}


def _clone() -> tuple[str | None, bool]:
    """The folder that vtnstream was installed from, and whether it runs from there."""
    if _project():
        return str(_ROOT), True
    try:
        text = importlib.metadata.distribution(_NAME).read_text("direct_url.json")
        document = json.loads(text or "{}")
        url = urllib.parse.urlsplit(document.get("url", ""))
        if url.scheme == "file" and "dir_info" in document:
            folder = urllib.request.url2pathname(url.path)
            return folder, bool(document["dir_info"].get("editable"))
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError, AttributeError):
        pass
    return None, False
