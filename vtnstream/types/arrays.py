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
    if not fits or not (array.dtype == dtype or _is_tensor_of(array, dtype)):
        raise ValueError(
            f"{name}: expected {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}"
        )


def _is_tensor_of(array: Any, dtype: Any) -> bool:
    """Return whether it is a torch tensor, as frames on a GPU are; dtypes have the same names."""
    return str(array.dtype) == f"torch.{np.dtype(dtype).name}"
