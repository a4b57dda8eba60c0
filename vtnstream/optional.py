"""Import optional libraries, with an error that names the extra to install."""

from __future__ import annotations

import importlib
import importlib.util
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
            f'as in pip install "vtnstream[{extra}]" ({error})'
        ) from error


def installed(module: str) -> bool:
    """Whether ``module`` is installed; it is not imported."""
    return importlib.util.find_spec(module) is not None
