"""Draw the attention of [CLS] over a video as an image, as in Fig. 3 of the VTN paper.

The image shows a row of frames, below each frame a bar whose height and colour give its
attention, and below them the curve of the whole video.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vtnstream.report.terminal.heat import heat_color, resampled
from vtnstream.timecode import format_time
from vtnstream.types import Curve

_GAP, _BAR_HEIGHT, _CURVE_HEIGHT, _TEXT_HEIGHT, _MARGIN = 6, 64, 48, 16, 12
_BACKGROUND, _INK, _FAINT = "#ffffff", "#333333", "#dddddd"


def attention_picture(
    stills: Sequence[NDArray[np.uint8] | None],
    times: Sequence[float],
    values: Sequence[float],
    curve: Curve,
) -> bytes:
    """Return the image as PNG bytes.

    Args:
        stills: K images (h, w, 3) uint8 of one height; None where none could be decoded.
        times: (K,) times in seconds.
        values: (K,) attention at these times, as a multiple of uniform attention.
        curve: attention over the whole video.
    """
    from PIL import Image, ImageDraw

    height = next((still.shape[0] for still in stills if still is not None), 90)
    usual = next((still.shape[1] for still in stills if still is not None), 160)
    widths = [usual if still is None else still.shape[1] for still in stills]
    width = sum(widths) + _GAP * (len(widths) - 1) + 2 * _MARGIN
    bars_top = _MARGIN + height + _TEXT_HEIGHT
    curve_top = bars_top + _BAR_HEIGHT + _TEXT_HEIGHT + _GAP
    total = curve_top + _CURVE_HEIGHT + _TEXT_HEIGHT + _MARGIN
    image = Image.new("RGB", (width, total), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    peak = max((v for v in (*values, *curve.values) if v is not None), default=0.0) or 1.0
    left = _MARGIN
    for still, wide, time, value in zip(stills, widths, times, values, strict=True):
        if still is None:
            draw.rectangle((left, _MARGIN, left + wide - 1, _MARGIN + height - 1), fill=_FAINT)
        else:
            image.paste(Image.fromarray(still), (left, _MARGIN))
        draw.text((left, _MARGIN + height + 2), format_time(time, digits=1), fill=_INK)
        share = (max(value, 0.0) / peak) ** 0.5
        bottom = bars_top + _BAR_HEIGHT
        top = bottom - max(round(share * (_BAR_HEIGHT - 1)), 1)
        draw.rectangle((left, top, left + wide - 1, bottom), fill=heat_color(share))
        draw.text((left, bottom + 2), f"{value:.1f}x", fill=_INK)
        left += wide + _GAP
    _draw_curve(draw, curve, peak, (_MARGIN, curve_top, width - _MARGIN))
    for time, place in ((curve.start, _MARGIN), (curve.end, width - _MARGIN)):
        anchor = "la" if place == _MARGIN else "ra"
        label = format_time(time, digits=0)
        draw.text((place, curve_top + _CURVE_HEIGHT + 2), label, fill=_INK, anchor=anchor)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def _draw_curve(draw: object, curve: Curve, peak: float, box: tuple[int, int, int]) -> None:
    """Draw one column per pixel; height and colour follow the square root, as in the terminal."""
    left, top, right = box
    bottom = top + _CURVE_HEIGHT
    for x, value in enumerate(resampled(curve, right - left), left):
        if value is None:
            draw.line((x, bottom - 2, x, bottom), fill=_FAINT)  # type: ignore[attr-defined]
            continue
        share = (max(value, 0.0) / peak) ** 0.5
        high = bottom - max(round(share * _CURVE_HEIGHT), 1)
        draw.line((x, high, x, bottom), fill=heat_color(share))  # type: ignore[attr-defined]
