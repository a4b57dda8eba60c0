"""Read an image file as a frame with the model's scaling and crop, like a frame of a video."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from vtnstream.errors import VideoOpenError
from vtnstream.transport.media import open_media
from vtnstream.types import FrameFit
from vtnstream.video.container import DEFAULT_MAX_PIXELS
from vtnstream.video.resize import FrameResizer

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def read_image(
    path: str | Path, fit: FrameFit, *, interpolation: str = "bicubic"
) -> NDArray[np.uint8]:
    """Read an image, upright by its EXIF tag, scaled and cropped as a frame would be.

    Args:
        path: a file or an address.
        fit: scaling and crop of the model (:func:`vtnstream.preprocess.spatial.frame_fit`).
        interpolation: ``bicubic``, ``bilinear``, ``area`` or ``lanczos``.

    Returns:
        (1, h, w, 3) uint8 RGB.

    Raises:
        VideoOpenError: the file is absent, damaged, too large, or no supported image.
    """
    opened = open_media(path)
    with opened.file:
        try:
            with Image.open(opened.file, formats=_FORMATS) as image:
                if image.width * image.height > DEFAULT_MAX_PIXELS:
                    raise VideoOpenError(
                        f"{path}: {image.width} x {image.height} pixels are too many for one "
                        "image: scale it down"
                    )
                pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except VideoOpenError:
            raise
        except UnidentifiedImageError as error:
            raise VideoOpenError(
                f"{path}: is not one of the image formats vtnstream reads: convert it to PNG or "
                "JPEG"
            ) from error
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise VideoOpenError(f"{path}: the image is damaged ({reason})") from error
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    resizer = FrameResizer(
        str(path), fit, interpolation=interpolation, max_pixels=DEFAULT_MAX_PIXELS
    )
    return resizer(frame, None)[None]
