"""Compile the temporal encoder with ``torch.compile``, for sequences of any length.

An engine built ahead of time takes batches of one shape, but the encoder reads sequences of any
length in blocks. So the parts of each layer that treat every token by itself (output projection and
feed-forward network, three quarters of the multiplications) are compiled with a dynamic number of
tokens; the code is the same for all layers. Attention has fused kernels of its own.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from vtnstream.errors import EngineError
from vtnstream.models.compile.backend import EAGER
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.temporal import TemporalEncoder

INDUCTOR = "inductor"
"""The compiler of the encoder, whichever one compiles the backbone."""

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""Largest relative distance of a state from that of the uncompiled encoder."""

_LENGTHS = (2, 65, 257)
"""Numbers of tokens on which both are compared."""


@dataclass(frozen=True, slots=True)
class EncoderChoice:
    """A model, and what its temporal encoder runs on, for the report.

    Attributes:
        model: with a compiled encoder, or the model itself.
        backend: ``inductor``, or ``eager`` without a compiler.
        problem: why it is not compiled although a compiler was requested, or None.
    """

    model: VTN
    backend: str
    problem: str | None = None


def missing(device: torch.device) -> str | None:
    """Return why the encoder is not compiled on ``device``; None if it can be.

    On a CPU it is left as it is: compiling took 34 s of CPU time, and the pass over an hour of
    video (7,200 tokens, 3 layers of 768 numbers) took 3.3 s as before in float32, and 1.9 s instead
    of 1.2 s in bfloat16.
    """
    if device.type != "cuda":
        return "compiling it does not pay on a CPU"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    return None


def choose_encoder(model: VTN, backend: str) -> EncoderChoice:
    """Compile the temporal encoder if the runtime names a compiler, and compare the results.

    Args:
        model: in evaluation mode, on its device.
        backend: ``--backend``; ``auto`` compiles the backbone alone, which takes nearly all of the
            time.

    Returns:
        the model to use. It is ``model`` itself if its encoder is not compiled.
    """
    if backend in (EAGER, "auto"):
        return EncoderChoice(model, EAGER)
    if not isinstance(model.temporal_encoder, TemporalEncoder) or not model.cls_token.is_cuda:
        return EncoderChoice(model, EAGER)
    if (why := missing(model.cls_token.device)) is not None:
        return EncoderChoice(model, EAGER, f"the temporal encoder is not compiled: {why}")
    try:
        return EncoderChoice(compile_encoder(model), INDUCTOR)
    except EngineError as error:
        return EncoderChoice(model, EAGER, str(error))


def compile_encoder(model: VTN, compiler: str = INDUCTOR) -> VTN:
    """Return a model that shares all weights with ``model`` and has a compiled temporal encoder.

    Args:
        model: in evaluation mode, with a Longformer as its encoder.
        compiler: a backend of ``torch.compile``.

    Raises:
        EngineError: the encoder cannot be compiled, or its results differ.
    """
    encoder: TemporalEncoder = model.temporal_encoder  # type: ignore[assignment]
    compiled = _sharing_weights(encoder)
    for part in _token_wise(compiled):
        part.compile(backend=compiler, dynamic=True)
    try:
        difference = _difference(encoder, compiled)
    except Exception as error:  # compilers raise many kinds of error
        inner = getattr(error, "inner_exception", error)
        first = (str(inner).strip() or type(inner).__name__).partition("\n")[0]
        raise EngineError(f"the temporal encoder cannot be compiled ({first[:300]})") from error
    allowed = TOLERANCE[encoder.dtype]
    if not difference <= allowed:
        raise EngineError(
            f"the compiled temporal encoder differs by {difference:.1%}, more than {allowed:.1%}"
        )
    twin = copy.copy(model)
    twin._modules = dict(model._modules)
    twin.temporal_encoder = compiled
    return twin


def _sharing_weights(encoder: TemporalEncoder) -> TemporalEncoder:
    """Return a copy of the modules with the same tensors."""
    shared = [*encoder.parameters(), *encoder.buffers()]
    return copy.deepcopy(encoder, {id(tensor): tensor for tensor in shared})


def _token_wise(encoder: TemporalEncoder) -> Iterator[nn.Module]:
    """Yield the parts of each layer that treat every token by itself."""
    for layer in encoder.layers:
        yield from (layer.attention.output, layer.intermediate, layer.output)


@torch.inference_mode()
def _difference(plain: TemporalEncoder, compiled: TemporalEncoder) -> float:
    """Return the largest relative distance of a state, over several lengths."""
    like = plain.embeddings.LayerNorm.weight
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for length in _LENGTHS:
        values = torch.randn(1, length + 1, plain.hidden_size, generator=generator)
        states = values.to(like.device, like.dtype)  # (1, 1 + T, D)
        cls = states[:, :1].to((plain.cls_encoder or plain).dtype)
        expected, found = (each(states[:, 1:], cls).float() for each in (plain, compiled))
        apart = (found - expected).norm(dim=-1) / expected.norm(dim=-1).clamp(min=1e-12)
        worst = max(worst, float(apart.max()))
    return worst
