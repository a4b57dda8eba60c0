"""Tensors from untrusted files, checked before a model takes any of them."""

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

State = Mapping[str, Tensor]

AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema")
"""Keys of averaged weights (EMA): taken before the others, as timm takes them."""

NESTINGS = ("state_dict", "model_state", "model_state_dict", "model", "network", "net")
"""Keys under which training scripts put the tensors."""

WRAPPERS = ("module", "_orig_mod", *AVERAGES, *NESTINGS)
"""First parts of names that wrappers add: DataParallel, torch.compile, averaging, Lightning's
attributes. They may stand before each other in any order."""

_COMPILED = "_orig_mod."
_MOST_WRAPPERS = 8

UNCOUNTED = "num_batches_tracked"
"""BatchNorm's step counter: it decides nothing at inference and converters drop it."""


def one_line(error: BaseException | str) -> str:
    """An error's message without line breaks, short enough for a terminal line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def some(names: Iterable[str], limit: int = 4) -> str:
    """The first few of ``names`` and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - limit} more" if len(ordered) > limit else ""
    return ", ".join(ordered[:limit]) + more


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors or PyTorch file, on the CPU, as stored.

    Raises:
        CheckpointError: the file is not readable, is truncated, or holds anything but
            tensors (pickles are read with ``weights_only``).
    """
    return _nested(read_checkpoint(path), path)[0]


def read_checkpoint(path: Path) -> Any:
    """All that a safetensors or PyTorch file holds, if it is tensors and plain data.

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
    """PyTorch stores its archives uncompressed; a packed one may fill all memory.

    Raises:
        CheckpointError: what is inside is larger than the file.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = sum(entry.file_size for entry in archive.infolist())
        if inside > path.stat().st_size:
            raise CheckpointError(f"{path}: a compressed archive, which PyTorch never writes")


@dataclass(frozen=True, slots=True, eq=False)
class Unwrapped:
    """Tensors of a checkpoint without what training scripts put around them.

    Attributes:
        state: name -> tensor.
        taken: which dictionary and which prefixes were taken off, in words; empty for none.
    """

    state: dict[str, Tensor]
    taken: str = ""


def unwrap(loaded: Any, path: Path, *, part: str = "") -> Unwrapped:
    """Find the tensors in a checkpoint, and name them as the network itself does.

    Averaged weights (EMA) are taken where there are any. Prefixes of wrappers (``module.``,
    ``_orig_mod.``, ``model.`` and the like) go, in any order.

    Args:
        loaded: what the file holds.
        path: to name in errors.
        part: only the tensors below this prefix, where it occurs.

    Raises:
        CheckpointError: there is no dictionary of tensors, or more than tensors is in it.
    """
    state, keys = _nested(loaded, path)
    said = ["its " + " of ".join(repr(key) for key in reversed(keys))] if keys else []
    others = [name for name in NESTINGS if isinstance(loaded, Mapping) and name in loaded]
    if keys and keys[0] in AVERAGES and others:
        said[0] += f" (averaged weights, instead of {others[0]!r})"
    state, dropped = without_prefixes(state)
    if dropped:
        said.append(f"without the prefix {dropped}")
    inside = {n.removeprefix(part): t for n, t in state.items() if part and n.startswith(part)}
    return Unwrapped(inside or state, ", ".join(said))


def _nested(loaded: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The dictionary of tensors, and the keys under which it was found."""
    keys: list[str] = []
    while isinstance(loaded, Mapping) and len(keys) < _MOST_WRAPPERS:
        found = [k for k in (*AVERAGES, *NESTINGS) if isinstance(loaded.get(k), Mapping)]
        if not found:
            break
        keys.append(found[0])
        loaded = loaded[found[0]]
    return tensors_in(loaded, path), keys


def without_prefixes(state: State) -> tuple[dict[str, Tensor], str]:
    """Names without the prefixes of wrappers, and the prefix that went.

    Where a model and its average stand side by side (``model.`` and ``model_ema.``), the average
    is taken.
    """
    result, dropped = dict(state), ""
    for _ in range(_MOST_WRAPPERS):
        heads = {name.partition(".")[0] for name in result}
        wrapped = bool(heads) and heads <= set(WRAPPERS)
        average = next((head for head in AVERAGES if head in heads), None)
        head = average if wrapped and average else next(iter(heads)) if len(heads) == 1 else None
        if not wrapped or head is None:
            break
        prefix = f"{head}."
        result = {n.removeprefix(prefix): t for n, t in result.items() if n.startswith(prefix)}
        dropped += prefix
    plain = {name.replace(_COMPILED, ""): tensor for name, tensor in result.items()}
    return (plain if len(plain) == len(result) else result), dropped


def tensors_in(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The dictionary of tensors that a file holds.

    Raises:
        CheckpointError: there is none, or more than tensors is in it.
    """
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"{path}: no dictionary of tensors in it")
    strange = [str(key) for key, value in loaded.items() if not _is_plain(value)]
    if strange:
        raise CheckpointError(f"{path}: not only plain tensors in it ({some(strange)})")
    return {str(name): tensor for name, tensor in loaded.items()}


def _is_plain(value: Any) -> bool:
    """A tensor with numbers of its own: no sparse or quantised one, none without storage."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_meta
        and not value.is_quantized
    )


def load_strictly(module: nn.Module, state: State, source: Path, *, assign: bool = False) -> None:
    """Load ``state`` if it fits to the last name and shape; otherwise change nothing.

    Floating-point tensors take the module's dtype (half precision is upcast).

    Args:
        module: what to fill.
        state: names and tensors.
        source: file to name in errors.
        assign: take the tensors themselves, for a module on the meta device.

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
        # a copy of its own: tensors of a file on disk change or vanish with the file, and lie
        # at odd addresses, which changes the last bits of what is computed from them
        fitted[name] = tensor.to(own.dtype, copy=assign)
        if own.is_floating_point() and not _is_finite(fitted[name]):
            raise CheckpointError(f"{source}: {name} holds numbers that are not finite")
    module.load_state_dict(fitted, strict=True, assign=assign)


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are; their sum tells it in one pass unless it overflows by itself."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def check_names(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], source: Path
) -> None:
    """Compare names and shapes.

    Raises:
        CheckpointError: they differ.
    """
    missing = {n for n in set(wanted) - set(found) if not n.endswith(UNCOUNTED)}
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
    """Hash of a module's weights: names, shapes, dtypes and bytes, whatever file they came
    from. Two modules of one kind with equal hashes compute the same."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if name.endswith(UNCOUNTED):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy())
    return digest.hexdigest()
