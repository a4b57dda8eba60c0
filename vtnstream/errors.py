"""One tree of errors. Each message is one line that names the file and says what to do.

Children also inherit the fitting builtin, so ``except ValueError`` keeps working for
library users. Only :class:`VtnstreamError` is caught by the command line; anything else
is a bug and keeps its traceback.
"""

from __future__ import annotations


class VtnstreamError(Exception):
    """Base of every error vtnstream raises on purpose."""


class UsageError(VtnstreamError, ValueError):
    """The request itself is wrong (exit code 2)."""


class ConfigError(UsageError):
    """A config file, environment variable or ``key=value`` is not usable (exit code 2)."""


class MissingExtraError(VtnstreamError, ImportError):
    """An optional library is needed: names the extra that installs it (exit code 2)."""


class VideoError(VtnstreamError):
    """A video cannot be used."""


class VideoOpenError(VideoError, OSError):
    """The file cannot be opened: absent, empty, not regular, refused or not a media file."""


class NoVideoStreamError(VideoError, ValueError):
    """The file holds no video stream (audio only, or cover art only)."""


class VideoDecodeError(VideoError, RuntimeError):
    """Nothing useful could be decoded."""


class ModelError(VtnstreamError, ValueError):
    """A model folder, checkpoint or name is not usable."""


class CheckpointError(ModelError):
    """Weights do not fit: missing, unexpected, misshapen or non-finite tensors."""


class FeatureError(VtnstreamError, ValueError):
    """Stored features do not fit the request (another model, range or preprocessing)."""


class StoreError(VtnstreamError, OSError):
    """The feature store cannot be read or written (no space, no permission, I/O error)."""


class AnnotationError(VtnstreamError, ValueError):
    """An annotation file is wrong; the message names file and line."""


class ReportError(VtnstreamError, ValueError):
    """A stored report cannot be used: unreadable, of another version, or edited wrongly."""


class TrainingError(VtnstreamError, RuntimeError):
    """Training cannot go on; the last good model stands where one was saved."""


class OutputError(VtnstreamError, OSError):
    """A result cannot be written."""


class BatchError(VtnstreamError, RuntimeError):
    """A batch cannot go on: its workers do not start. What was done stands."""


def one_line(error: BaseException) -> str:
    """What went wrong, for people; bugs are called so."""
    if isinstance(error, VtnstreamError):
        return str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's
        return "out of memory: a smaller --batch-size needs less"
    if isinstance(error, OSError) and error.strerror:
        name = f"{error.filename}: " if error.filename is not None else ""
        return f"{name}{error.strerror}"
    first = str(error).strip().split("\n", 1)[0]
    return f"internal error: {type(error).__name__}: {first} (--debug shows where; please report)"


def naming(path: str, message: str) -> str:
    """``message`` with the input ``path`` in front, unless it names it already."""
    return message if path in message else f"{path}: {message}"


def concerns_all(error: BaseException, path: str) -> bool:
    """Whether ``error``, met at the input ``path``, says that the request itself is wrong: it
    would end every other input too."""
    wrong = isinstance(error, (UsageError, MissingExtraError, ModelError))
    return wrong and path not in str(error)
