"""Functions of arrays that numpy lacks: linear layer, LayerNorm, GELU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vtnstream.types import FloatArray

Weights = Mapping[str, FloatArray]
"""Weights of a model by name, float32."""

_SCALE = np.float32(0.3275911 / np.sqrt(2))
_TERMS = tuple(
    np.float32(term) for term in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
)
"""Coefficients of a formula for erf with an error below 1.5e-7 (Abramowitz and Stegun, Handbook of
Mathematical Functions, 7.1.26)."""
_HALF = np.float32(0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A linear layer: (..., E) to (..., D). ``weight`` is (E, D) and contiguous."""

    weight: FloatArray
    bias: FloatArray

    @classmethod
    def of(cls, weights: Weights, name: str) -> Linear:
        return cls(np.ascontiguousarray(weights[f"{name}.weight"].T), weights[f"{name}.bias"])

    def __call__(self, values: FloatArray) -> FloatArray:
        made: FloatArray = values @ self.weight
        made += self.bias
        return made


@dataclass(frozen=True, slots=True, eq=False)
class LayerNorm:
    """Normalisation of the last axis, in place."""

    weight: FloatArray
    bias: FloatArray
    epsilon: float

    @classmethod
    def of(cls, weights: Weights, name: str, epsilon: float) -> LayerNorm:
        return cls(weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)

    def __call__(self, values: FloatArray) -> FloatArray:
        """Overwrite (..., D) with its normalised values."""
        size = np.float32(values.shape[-1])
        values -= values.sum(-1, keepdims=True) / size
        spread = np.einsum("...d,...d->...", values, values)[..., None] / size
        values /= np.sqrt(spread + np.float32(self.epsilon))
        values *= self.weight
        values += self.bias
        return values


def gelu(values: FloatArray) -> FloatArray:
    """Overwrite ``values`` with the exact GELU, x (1 + erf(x / sqrt(2))) / 2.

    With y = 1 - erf(|x| / sqrt(2)) it is max(x, 0) - |x| y / 2.
    """
    size = np.abs(values)
    ratio = size * _SCALE
    ratio += 1
    np.reciprocal(ratio, out=ratio)
    rest = ratio * _TERMS[0]
    for term in _TERMS[1:]:
        rest += term
        rest *= ratio
    np.multiply(size, size, out=ratio)
    ratio *= -_HALF
    np.exp(ratio, out=ratio)
    rest *= ratio
    rest *= size
    rest *= _HALF
    np.maximum(values, 0, out=values)
    values -= rest
    return values
