"""Export a model for other runtimes, as torch.export (``.pt2``) or ONNX.

The backbone and everything after it are one program each, for any batch size and any length. Each
program is compared with the model before its file gets its final name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vtnstream.errors import ModelError, OutputError
from vtnstream.models.architectures import VideoModel
from vtnstream.models.io import weights
from vtnstream.models.io.checkpoint import write_config
from vtnstream.models.io.parts import Part, parts_of
from vtnstream.optional import require
from vtnstream.progress import NullProgress, Progress

EXTRA = "export"
TOLERANCE = 1e-4
"""Largest difference to the model, relative to its largest output if that exceeds 1."""

Run = Callable[[Sequence[Tensor]], Sequence[Tensor]]
"""Function that runs a program loaded from its file."""


@dataclass(frozen=True, slots=True)
class Program:
    """An exported program.

    Attributes:
        path: the file.
        inputs: names in order.
        outputs: names in order.
        difference: largest difference to the model over all sizes that were tried.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    difference: float


def export_model(
    model: VideoModel,
    folder: str | Path,
    *,
    format: str = "pt2",
    progress: Progress | None = None,
) -> tuple[Program, ...]:
    """Write the programs ``backbone`` and ``temporal`` and ``config.json`` into a folder.

    ``backbone`` takes preprocessed frames (N, 3, H, W), or samples (N, F, 3, H, W) of a ViViT, and
    returns features (N, D). ``temporal`` takes features (B, T, D) and their grid positions (B, T)
    int64 and returns logits (B, K) and dense_logits (B, T, Kd), if the model has these heads. It
    includes ``feature_norm``, and all rows of a batch have T tokens.

    Args:
        model: in evaluation mode, on the CPU, in float32.
        folder: created with its parents; files of these names are replaced.
        format: ``pt2`` or ``onnx``.
        progress: shows the parts.

    Returns:
        both programs.

    Raises:
        MissingExtraError: ``onnx`` without the extra ``export``.
        ModelError: the model cannot be traced, or a program differs from it.
        OutputError: the folder cannot be written.
    """
    folder, progress = Path(folder).absolute(), progress or NullProgress()
    if format == "onnx":
        for module in ("onnx", "onnxscript", "onnxruntime"):
            require(module, EXTRA)
    parts = parts_of(model)
    nearest = next(place for place in (folder, *folder.parents) if place.is_dir())
    try:
        with tempfile.TemporaryDirectory(dir=nearest, prefix=".vtnstream-export-") as made:
            programs = []
            progress.start(f"export to {format}", total=len(parts), unit="parts")
            for number, part in enumerate(parts, 1):
                programs.append(_export(part, Path(made), format))
                progress.advance(number, note=part.name)
            write_config(model.config, Path(made))
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(Path(made).iterdir()):
                file.replace(folder / file.name)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror or error})") from error
    finally:
        progress.finish()
    return tuple(replace(program, path=folder / program.path.name) for program in programs)


def _export(part: Part, folder: Path, format: str) -> Program:
    """Trace, write, load and compare one part.

    Raises:
        ModelError: it cannot be traced, or the written program differs from the model.
    """
    path = folder / f"{part.name}.{format}"
    try:
        traced = _trace(part)
        run = _WRITERS[format](part, traced, path)
    except OSError:
        raise
    except Exception as error:  # tracers and converters raise many kinds of error
        raise ModelError(
            f"{part.name} of this model cannot be exported to {format} ({weights.one_line(error)})"
        ) from error
    return Program(path, part.inputs, part.outputs, _compare(part, run))


def _trace(part: Part) -> torch.export.ExportedProgram:
    axes = dict.fromkeys(range(part.num_free), torch.export.Dim.DYNAMIC)
    with torch.no_grad():
        return torch.export.export(
            part.program.eval(),
            part.example(*part.sizes[0]),
            dynamic_shapes=tuple(dict(axes) for _ in part.inputs),
            strict=False,
        )


def _compare(part: Part, run: Run) -> float:
    """Return the largest difference to the model over all sizes.

    Raises:
        ModelError: it is too large, or the program fails at a size.
    """
    worst = 0.0
    for sizes in part.sizes:
        inputs = part.example(*sizes)
        with torch.no_grad():
            wanted = part.model(*inputs)
        try:
            found = run(inputs)
        except Exception as error:  # runtimes raise many kinds of error
            reason = weights.one_line(error)
            raise ModelError(f"exported {part.name} fails at sizes {sizes} ({reason})") from error
        for name, ours, theirs in zip(part.outputs, wanted, found, strict=True):
            scale = max(1.0, float(ours.abs().max()))
            apart = float((ours - theirs).abs().max()) / scale
            if ours.shape != theirs.shape or not apart <= TOLERANCE:
                raise ModelError(
                    f"exported {part.name} differs from the model: {name} by {apart:.2g} at sizes "
                    f"{sizes}; nothing was kept"
                )
            worst = max(worst, apart)
    return worst


def _write_pt2(part: Part, traced: torch.export.ExportedProgram, path: Path) -> Run:
    torch.export.save(traced, path)
    module = torch.export.load(path).module()

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        with torch.no_grad():
            found: Sequence[Tensor] = module(*inputs)
        return found

    return run


def _write_onnx(part: Part, traced: torch.export.ExportedProgram, path: Path) -> Run:
    runtime = require("onnxruntime", EXTRA)
    program = torch.onnx.export(
        traced,
        dynamo=True,
        input_names=list(part.inputs),
        output_names=list(part.outputs),
        verbose=False,
    )
    assert program is not None
    program.save(str(path))
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        named = {name: tensor.numpy() for name, tensor in zip(part.inputs, inputs, strict=True)}
        return [torch.from_numpy(found) for found in session.run(list(part.outputs), named)]

    return run


_WRITERS: dict[str, Callable[[Part, torch.export.ExportedProgram, Path], Run]] = {
    "pt2": _write_pt2,
    "onnx": _write_onnx,
}
