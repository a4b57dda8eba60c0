"""Read the tensors of a model, which are untrusted and checked before a model uses any."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vtnstream.errors import CheckpointError
from vtnstream.models.io.json_file import one_line as one_line

State = Mapping[str, Tensor]

_AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")
"""Keys of averaged weights (EMA), which are preferred to the others, as in timm."""

_NESTINGS = ("state_dict", "model_state", "model_state_dict", "model", "network", "net")
"""Keys under which training scripts put the tensors."""

_WRAPPERS = ("module", "_orig_mod", *_AVERAGES, *_NESTINGS)
"""First parts of names that wrappers add: DataParallel, torch.compile, averaging, Lightning's
attributes. Several may follow each other in any order."""

_COMPILED = "_orig_mod."
_MOST_WRAPPERS = 8

_UNCOUNTED = "num_batches_tracked"
"""BatchNorm's step counter, which has no effect on inference and which converters drop."""


def some(names: Iterable[str], limit: int = 4) -> str:
    """List the first few of ``names`` and the number of the others."""
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the named tensors of a safetensors or PyTorch file, on the CPU, with their dtypes.

    Raises:
        CheckpointError: the file is not readable, is truncated, or holds anything but tensors
            (pickles are read with ``weights_only``).
    """
    return _nested(read_checkpoint(path), path)[0]


def read_checkpoint(path: Path) -> Any:
    """Read the content of a safetensors or PyTorch file: tensors and plain data.

    Raises:
        CheckpointError: the file is not readable, is truncated, or holds code.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        _refuse_inflation(path)
        with warnings.catch_warnings():  # torch warns about odd files; errors say it here
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: damaged, or holds more than tensors, which is never unpickled"
        ) from error
    except Exception as error:  # damaged and hostile files raise all kinds
        raise CheckpointError(f"{path}: not a readable weights file ({one_line(error)})") from error


def _refuse_inflation(path: Path) -> None:
    """Refuse a compressed archive, which may fill all memory; PyTorch stores its own uncompressed.

    Raises:
        CheckpointError: the content is larger than the file.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = sum(entry.file_size for entry in archive.infolist())
        if inside > path.stat().st_size:
            raise CheckpointError(f"{path}: a compressed archive, which PyTorch never writes")


@dataclass(frozen=True, slots=True, eq=False)
class Unwrapped:
    """Tensors of a checkpoint under the names of the network itself.

    Attributes:
        state: name -> tensor.
        taken: the dictionary that was read and the prefixes that were removed, in words; empty for
            none.
    """

    state: dict[str, Tensor]
    taken: str = ""


def unwrap(loaded: Any, path: Path, *, part: str = "") -> Unwrapped:
    """Find the tensors in a checkpoint, and name them as the network itself does.

    Averaged weights (EMA) are used if there are any. Prefixes of wrappers (``module.``,
    ``_orig_mod.``, ``model.`` and the like) are removed, in any order.

    Args:
        loaded: content of the file.
        path: file to name in errors.
        part: use only the tensors below this prefix, where it occurs.

    Raises:
        CheckpointError: there is no dictionary of tensors, or it holds anything else.
    """
    state, keys = _nested(loaded, path)
    said = ["its " + " of ".join(repr(key) for key in reversed(keys))] if keys else []
    others = [name for name in _NESTINGS if isinstance(loaded, Mapping) and name in loaded]
    if keys and keys[0] in _AVERAGES and others:
        said[0] += f" (averaged weights, instead of {others[0]!r})"
    state, dropped = _without_prefixes(state)
    if dropped:
        said.append(f"without the prefix {dropped}")
    inside = {n.removeprefix(part): t for n, t in state.items() if part and n.startswith(part)}
    return Unwrapped(inside or state, ", ".join(said))


def _nested(loaded: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the dictionary of tensors, and the keys under which it was found."""
    keys: list[str] = []
    while isinstance(loaded, Mapping) and len(keys) < _MOST_WRAPPERS:
        found = [k for k in (*_AVERAGES, *_NESTINGS) if isinstance(loaded.get(k), Mapping)]
        if not found:
            break
        keys.append(found[0])
        loaded = loaded[found[0]]
    return _tensors_in(loaded, path), keys


def _without_prefixes(state: State) -> tuple[dict[str, Tensor], str]:
    """Remove the prefixes of wrappers from the names; return the tensors and the removed prefix.

    If a checkpoint has both a model and its average (``model.`` and ``model_ema.``), the average
    is used.
    """
    result, dropped = dict(state), ""
    for _ in range(_MOST_WRAPPERS):
        heads = {name.partition(".")[0] for name in result}
        wrapped = bool(heads) and heads <= set(_WRAPPERS)
        average = next((head for head in _AVERAGES if head in heads), None)
        head = average if wrapped and average else next(iter(heads)) if len(heads) == 1 else None
        if not wrapped or head is None:
            break
        prefix = f"{head}."
        result = {n.removeprefix(prefix): t for n, t in result.items() if n.startswith(prefix)}
        dropped += prefix
    plain = {name.replace(_COMPILED, ""): tensor for name, tensor in result.items()}
    return (plain if len(plain) == len(result) else result), dropped


def _tensors_in(loaded: Any, path: Path) -> dict[str, Tensor]:
    """Return the dictionary of tensors that a file holds.

    Raises:
        CheckpointError: there is none, or it holds anything else.
    """
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"{path}: no dictionary of tensors in it")
    strange = [str(key) for key, value in loaded.items() if not _is_plain(value)]
    if strange:
        raise CheckpointError(f"{path}: not only plain tensors in it ({some(strange)})")
    return {str(name): tensor for name, tensor in loaded.items()}


def _is_plain(value: Any) -> bool:
    """Return whether a value is a tensor with its own numbers: dense, not quantised, with
    storage."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_meta
        and not value.is_quantized
    )


def load_strictly(module: nn.Module, state: State, source: Path, *, assign: bool = False) -> None:
    """Load ``state`` if all names and shapes fit; otherwise change nothing.

    Floating-point tensors take the module's dtype (half precision is upcast).

    Args:
        module: receives the weights.
        state: names and tensors.
        source: file to name in errors.
        assign: use the tensors themselves, for a module on the meta device.

    Raises:
        CheckpointError: one line with the names that are missing, unexpected, misshapen or
            not finite.
    """
    wanted = module.state_dict()
    check_names(
        {name: tuple(tensor.shape) for name, tensor in wanted.items()},
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        source,
    )
    fitted: dict[str, Tensor] = {}
    for name, own in wanted.items():
        tensor = state.get(name)
        if tensor is None:  # only a counter may be missing
            tensor = torch.zeros(own.shape, dtype=own.dtype)
        if own.is_floating_point() and not tensor.is_floating_point():
            raise CheckpointError(f"{source}: {name} is {tensor.dtype}, not a float")
        # A copy, because tensors mapped from a file change or vanish with the file, and their
        # unaligned addresses change the last bits of results.
        fitted[name] = tensor.to(own.dtype, copy=assign)
        if own.is_floating_point() and not _is_finite(fitted[name]):
            raise CheckpointError(f"{source}: {name} holds numbers that are not finite")
    module.load_state_dict(fitted, strict=True, assign=assign)


def _is_finite(tensor: Tensor) -> bool:
    """Return whether all numbers are finite. A finite sum shows this in one pass; the sum may
    overflow although they are."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def check_names(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], source: Path
) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointError: they differ.
    """
    missing = {n for n in set(wanted) - set(found) if not n.endswith(_UNCOUNTED)}
    extra = set(found) - set(wanted)
    shapes = {
        f"{name} {found[name]} instead of {wanted[name]}"
        for name in set(wanted) & set(found)
        if wanted[name] != found[name]
    }
    problems = [
        f"{len(names)} {what} ({some(names)})"
        for names, what in ((missing, "missing"), (extra, "unexpected"), (shapes, "misshapen"))
        if names
    ]
    if problems:
        raise CheckpointError(f"{source}: weights do not fit the model: {'; '.join(problems)}")


def weights_sha256(module: nn.Module) -> str:
    """Return the hash of a module's weights: names, shapes, dtypes and bytes, independent of the
    file.

    Two modules of one kind with equal hashes compute the same.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if name.endswith(_UNCOUNTED):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy())
    return digest.hexdigest()
