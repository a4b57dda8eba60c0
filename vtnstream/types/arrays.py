"""Array types of the dataclasses, and a check of dtype and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
SecondsArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


def check_shape(name: str, array: NDArray[Any], dtype: Any, *shape: int | None) -> None:
    """Raise :class:`ValueError` unless ``array`` has this dtype and shape (None: any length)."""
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    # Frames on a GPU are torch tensors; torch uses the same dtype names.
    kind = str(array.dtype).removeprefix("torch.")
    if not fits or kind != np.dtype(dtype).name:
        raise ValueError(
            f"{name}: expected {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}"
        )
