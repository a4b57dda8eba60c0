"""The exceptions of vtnstream. Each message is one line that names the file and the remedy.

Subclasses also inherit the matching builtin exception, so that ``except ValueError`` works for
library users. Commands report a :class:`VtnstreamError` as an ordinary error and any other
exception as an internal error.
"""

from __future__ import annotations


class VtnstreamError(Exception):
    """Base class of every error that vtnstream raises on purpose."""


class UsageError(VtnstreamError, ValueError):
    """The request is wrong (exit code 2)."""


class ConfigError(UsageError):
    """A config file, environment variable or ``key=value`` is invalid (exit code 2)."""


class MissingExtraError(VtnstreamError, ImportError):
    """An optional library is missing; the message names its extra (exit code 2)."""


class VideoError(VtnstreamError):
    """A video cannot be read."""


class VideoOpenError(VideoError, OSError):
    """The file cannot be opened: missing, empty, not regular, not readable or not a media file."""


class NoVideoStreamError(VideoError, ValueError):
    """The file has no video stream (only audio or cover art)."""


class VideoDecodeError(VideoError, RuntimeError):
    """No usable frame could be decoded."""


class ModelError(VtnstreamError, ValueError):
    """A model folder, checkpoint or model name is invalid."""


class CheckpointError(ModelError):
    """Weights do not match the model: missing, unexpected, misshapen or non-finite tensors."""


class FeatureError(VtnstreamError, ValueError):
    """Stored features do not match the request (another model, range or preprocessing)."""


class StoreError(VtnstreamError, OSError):
    """The feature store cannot be read or written (no space, no permission, I/O error)."""


class AnnotationError(VtnstreamError, ValueError):
    """An annotation file is invalid; the message names the file and line."""


class ReportError(VtnstreamError, ValueError):
    """A stored report cannot be used: unreadable, invalid, or written by another version."""


class TrainingError(VtnstreamError, RuntimeError):
    """Training cannot continue; the last saved model is kept."""


class OutputError(VtnstreamError, OSError):
    """A result cannot be written."""


class BatchError(VtnstreamError, RuntimeError):
    """A batch cannot continue because its workers do not start; finished results are kept."""


class EngineError(VtnstreamError):
    """A compiled backbone cannot be built, loaded or trusted; the uncompiled one stays in use."""


def one_line(error: BaseException) -> str:
    """Return the message of ``error`` on one line; an unexpected exception is called an internal
    error."""
    if isinstance(error, VtnstreamError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return "out of memory: choose a smaller --batch-size"
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename is not None else ""
        return f"{name}{error.strerror}"
    first = str(error).strip().split("\n", 1)[0]
    return f"internal error: {type(error).__name__}: {first} (please report it with --debug)"


def naming(path: str, message: str) -> str:
    """Prefix ``message`` with the input ``path``, unless it contains the path already."""
    return message if path in message else f"{path}: {message}"


def concerns_all(error: BaseException, path: str) -> bool:
    """Return whether ``error``, raised for the input ``path``, would be raised for every input
    because the request is wrong."""
    wrong = isinstance(error, (UsageError, MissingExtraError, ModelError))
    return wrong and path not in str(error)
