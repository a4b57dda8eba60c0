"""Group tokens into chunks on the sampling grid; one chunk is one backbone batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vtnstream.errors import VideoDecodeError
from vtnstream.types import DecodeStats, FrameChunk, TokenTimes
from vtnstream.video.sampling.samplers import Token, TokenRange


def _token_times(tokens: list[Token]) -> TokenTimes:
    """Return the times of T tokens."""
    return TokenTimes(
        indices=np.array([t.index for t in tokens], np.int64),
        pts=np.array([t.pts for t in tokens], np.int64),
        start_seconds=np.array([float(t.start) for t in tokens], np.float64),
        end_seconds=np.array([float(t.end) for t in tokens], np.float64),
    )


def chunked(
    tokens: Iterator[Token],
    size: int,
    token_range: TokenRange,
    *,
    take_stats: Callable[[], DecodeStats],
    on_skipped: Callable[[Token], None],
    on_first: Callable[[Token | None], None],
    path: str,
    stack: Callable[[list[Any]], Any] = np.stack,
) -> Iterator[FrameChunk]:
    """Group final tokens into chunks ``[m * size, (m + 1) * size)``.

    Chunks without tokens (in a gap) are left out.

    Args:
        tokens: tokens with increasing indices.
        size: tokens per chunk.
        token_range: tokens to return; earlier tokens are only passed to ``on_skipped``.
        take_stats: returns the decoding statistics since its last call.
        on_skipped: called with each token before the range.
        on_first: called once before the first chunk, with the last token before the range or None.
        path: path of the video, for messages.
        stack: stacks T frames.
    """
    batch: list[Token] = []
    stats = DecodeStats()
    skipped: Token | None = None
    before_first = True
    for token in tokens:
        if token.index < token_range.first:
            skipped = token
            on_skipped(token)
            continue
        if before_first:
            on_first(skipped)
            before_first = False
        # Statistics before a token belong to that token. So each chunk has the same statistics
        # whether the pass begins or ends there or not.
        met = take_stats()
        if batch and token.index // size != batch[0].index // size:
            yield _chunk(batch, size, token_range, stats, path, stack)
            batch, stats = [], DecodeStats()
        stats += met
        batch.append(token)
    if before_first:
        on_first(skipped)
    if batch:
        yield _chunk(batch, size, token_range, stats + take_stats(), path, stack)


def _chunk(
    tokens: list[Token],
    size: int,
    token_range: TokenRange,
    stats: DecodeStats,
    path: str,
    stack: Callable[[list[Any]], Any],
) -> FrameChunk:
    first = tokens[0].index // size * size
    stop = first + size if token_range.stop is None else min(first + size, token_range.stop)
    pixels = [token.pixels for token in tokens if token.pixels is not None]
    if len({frame.shape for frame in pixels}) != 1:
        raise VideoDecodeError(
            f"{path}: the frame size changes within the video, and the model's crop keeps the "
            "change: choose a preprocessing with a fixed crop"
        )
    return FrameChunk(stack(pixels), _token_times(tokens), first, stop, stats)
