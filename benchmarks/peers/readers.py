"""Frames of a video at a given rate, as users and experts of each library read them.

A reader yields batches of frames: lists of PIL images for users, uint8 tensors (T, 3, h, w)
otherwise. Sample ``k`` is frame ``floor(k x video rate / rate)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import count, takewhile
from typing import Any

BATCH = 32

Pictures = Any
"""A list of PIL images, or a uint8 tensor (T, 3, h, w)."""


def opencv_user(path: str, rate: Fraction) -> Iterator[Pictures]:
    """Call ``read`` for every frame, and keep each n-th as a PIL image."""
    import cv2
    from PIL import Image

    def frames() -> Iterator[Any]:
        fine, frame = capture.read()
        while fine:
            yield frame
            fine, frame = capture.read()

    capture = cv2.VideoCapture(path)
    kept = _kept(frames(), _opencv_rate(capture), rate)
    yield from _lists(Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)) for frame in kept)
    capture.release()


def opencv_expert(path: str, rate: Fraction) -> Iterator[Pictures]:
    """Call ``grab`` for every frame, and ``retrieve`` (convert and copy) only for those that are
    kept."""
    import cv2

    def frames() -> Iterator[Any]:
        while capture.grab():
            yield capture

    capture = cv2.VideoCapture(path)
    kept = _kept(frames(), _opencv_rate(capture), rate)
    yield from _tensors(cv2.cvtColor(at.retrieve()[1], cv2.COLOR_BGR2RGB) for at in kept)
    capture.release()


def _opencv_rate(capture: Any) -> Fraction:
    import cv2

    return Fraction(capture.get(cv2.CAP_PROP_FPS)).limit_denominator(1001)


def pyav_user(path: str, rate: Fraction) -> Iterator[Pictures]:
    """Decode every frame, keep each n-th as a PIL image."""
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        kept = _kept(container.decode(stream), stream.average_rate, rate)
        yield from _lists(frame.to_image() for frame in kept)


def pyav_expert(path: str, rate: Fraction) -> Iterator[Pictures]:
    """Decode with all of libav's threads, and use arrays instead of images."""
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        kept = _kept(container.decode(stream), stream.average_rate, rate)
        yield from _tensors(frame.to_ndarray(format="rgb24") for frame in kept)


def torchcodec_user(path: str, rate: Fraction) -> Iterator[Pictures]:
    """Decode as in its documentation: frames by their numbers, a batch at a time."""
    from torchcodec.decoders import VideoDecoder

    yield from _torchcodec(VideoDecoder(path), rate)


def torchcodec_expert(path: str, rate: Fraction) -> Iterator[Pictures]:
    """Decode with all of libav's threads, without scanning the file first."""
    from torchcodec.decoders import VideoDecoder

    yield from _torchcodec(VideoDecoder(path, seek_mode="approximate", num_ffmpeg_threads=0), rate)


def torchcodec_nvdec(path: str, rate: Fraction) -> Iterator[Pictures]:
    """Decode on the GPU; the frames stay there."""
    from torchcodec.decoders import VideoDecoder

    yield from _torchcodec(VideoDecoder(path, seek_mode="approximate", device="cuda"), rate)


def _torchcodec(decoder: Any, rate: Fraction) -> Iterator[Pictures]:
    video_rate = Fraction(decoder.metadata.average_fps).limit_denominator(1001)
    wanted = takewhile(lambda number: number < len(decoder), _wanted(video_rate, rate))
    for numbers in _lists(wanted):
        yield decoder.get_frames_at(numbers).data


def _wanted(video_rate: Fraction, rate: Fraction) -> Iterator[int]:
    """Yield the numbers of the frames to keep, without end."""
    return (math.floor(k * video_rate / rate) for k in count())


def _kept(frames: Iterable[Any], video_rate: Fraction, rate: Fraction) -> Iterator[Any]:
    numbers = _wanted(video_rate, rate)
    wanted = next(numbers)
    for number, frame in enumerate(frames):
        while number == wanted:
            yield frame
            wanted = next(numbers)


def _lists(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    batch: list[Any] = []
    for item in iterator:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _tensors(arrays: Iterable[Any]) -> Iterator[Any]:
    """Convert arrays (h, w, 3) to batches (T, 3, h, w)."""
    import torch

    for batch in _lists(arrays):
        yield torch.stack([torch.from_numpy(array) for array in batch]).permute(0, 3, 1, 2)


READERS = {
    ("opencv", "user"): opencv_user,
    ("opencv", "expert"): opencv_expert,
    ("torchcodec", "user"): torchcodec_user,
    ("torchcodec", "expert"): torchcodec_expert,
    ("torchcodec", "nvdec"): torchcodec_nvdec,
    ("pyav", "user"): pyav_user,
    ("pyav", "expert"): pyav_expert,
}
"""Readers by library and manner."""
