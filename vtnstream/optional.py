"""The one way to ask for a library that only an extra installs."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from vtnstream.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import ``module`` or say which extra installs it.

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
    """Whether ``module`` could be imported, without importing it."""
    return importlib.util.find_spec(module) is not None
