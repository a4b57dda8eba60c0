"""ActionFormer (Zhang, Wu and Li, ECCV 2022) over stored features, small: a pyramid of local
attention, whose points each say a class and the distances to both ends of its segment. Plain
torch, nothing of vtnstream.

Frames get the class of the best segment over them, and where none lies, the best class of the
finest level's point.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.peers.sequence_models import IGNORED, Sequences

LEVELS = 4
REACH = 8
"""Tokens of a level to each side that a token attends to."""
CENTRE = 1.5
"""Points within so many strides of the middle of a segment learn it."""
RANGES = ((0.0, 4.0), (4.0, 8.0), (8.0, 16.0), (16.0, math.inf))
"""Longer distance to an end, in tokens, of the segments of each level."""
SIZE = 64


class _Block(nn.Module):
    """Norm, local attention, norm, two layers; halves the length if asked to."""

    def __init__(self, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.first, self.second = nn.LayerNorm(SIZE), nn.LayerNorm(SIZE)
        self.attention = nn.MultiheadAttention(SIZE, 4, dropout=0.1, batch_first=True)
        self.layers = nn.Sequential(nn.Linear(SIZE, 2 * SIZE), nn.GELU(), nn.Linear(2 * SIZE, SIZE))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(1, T, C) -> (1, T or half of it, C)."""
        if self.halves:
            x = functional.max_pool1d(x.transpose(1, 2), 3, 2, 1).transpose(1, 2)
        place = torch.arange(x.shape[1])
        far = (place[:, None] - place).abs() > REACH
        normal = self.first(x)
        x = x + self.dropout(self.attention(normal, normal, normal, attn_mask=far)[0])
        made: Tensor = x + self.dropout(self.layers(self.second(x)))
        return made


class ActionFormer(nn.Module):
    """Points of all levels: logits of the classes, and distances in strides."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv1d(inputs, SIZE, 3, padding=1), nn.ReLU())
        self.levels = nn.ModuleList(_Block(level > 0) for level in range(LEVELS))
        self.classify = self._head(classes)
        self.regress = self._head(2)
        last = self.classify[-1]
        assert isinstance(last, nn.Conv1d) and last.bias is not None
        nn.init.constant_(last.bias, -2.0)

    def _head(self, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv1d(SIZE, SIZE, 3, padding=1), nn.ReLU(), nn.Conv1d(SIZE, outputs, 3, padding=1)
        )

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(1, D, T) -> for each level (T', K) and (T', 2)."""
        states = self.enter(x).transpose(1, 2)
        made = []
        for level in self.levels:
            states = level(states)
            seen = states.transpose(1, 2)
            distances = functional.softplus(self.regress(seen))
            made.append((self.classify(seen)[0].T, distances[0].T))
        return made


def segments_of(targets: np.ndarray) -> list[tuple[int, int, int]]:
    """First token, stop and class of each stretch of equal labels."""
    edges = [0, *(np.flatnonzero(np.diff(targets)) + 1).tolist(), len(targets)]
    spans = itertools.pairwise(edges)
    return [(a, b, int(targets[a])) for a, b in spans if targets[a] != IGNORED]


def _wanted(targets: np.ndarray, level: int, count: int, classes: int) -> tuple[Tensor, Tensor]:
    """One-hot classes (T', K) and distances in strides (T', 2) of the points of a level."""
    stride = 2**level
    hot, ends = np.zeros((count, classes), np.float32), np.zeros((count, 2), np.float32)
    place = np.arange(count) * stride + 0.5
    low, high = RANGES[level]
    for start, stop, name in segments_of(targets):
        before, after = place - start, stop - place
        longest = np.maximum(before, after)
        near = np.abs(place - (start + stop) / 2) <= CENTRE * stride
        chosen = (before > 0) & (after > 0) & near & (longest >= low) & (longest < high)
        hot[chosen] = 0
        hot[chosen, name] = 1
        ends[chosen] = np.stack((before[chosen], after[chosen]), 1) / stride
    return torch.from_numpy(hot), torch.from_numpy(ends)


def _loss(points: list[tuple[Tensor, Tensor]], targets: np.ndarray) -> Tensor:
    """Focal loss of the classes, and 1 - IoU of the segments of points that have one."""
    classified, overlaps, positive = torch.zeros(()), torch.zeros(()), 0
    for level, (logits, distances) in enumerate(points):
        hot, ends = _wanted(targets, level, len(logits), logits.shape[1])
        labelled = np.clip(np.arange(len(logits)) * 2**level, 0, len(targets) - 1)
        known = torch.from_numpy(targets[labelled] != IGNORED)
        odds = logits.sigmoid()
        right = torch.where(hot > 0, odds, 1 - odds).clamp(1e-6)
        weight = torch.where(hot > 0, 0.25, 0.75)
        focal = -weight * (1 - right).square() * right.log()
        classified = classified + (focal.sum(1) * known).sum()
        own = hot.sum(1) > 0
        if own.any():
            shared = torch.minimum(distances[own], ends[own]).sum(1)
            whole = torch.maximum(distances[own], ends[own]).sum(1)
            overlaps = overlaps + (1 - shared / whole.clamp(min=1e-6)).sum()
            positive += int(own.sum())
    return (classified + overlaps) / max(positive, 1)


def learn_action_former(
    train: Sequences, classes: int, seed: int, epochs: int = 40
) -> Callable[[np.ndarray], np.ndarray]:
    """Train, one video a step; returns features (T, D) -> class numbers (T,)."""
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    net = ActionFormer(train[0][0].shape[1], classes)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.05)
    for _ in range(epochs):
        for number in order.permutation(len(train)):
            x, y = train[number]
            if not (y >= 0).any():
                continue
            loss = _loss(net(torch.from_numpy(x.T.copy())[None]), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
    net.eval()

    @torch.inference_mode()
    def answer(x: np.ndarray) -> np.ndarray:
        points = net(torch.from_numpy(x.T.copy())[None])
        best = np.zeros(len(x))
        found: np.ndarray = points[0][0].argmax(1).numpy()
        for level, (logits, distances) in enumerate(points):
            scores, names = logits.sigmoid().max(1)
            for n in range(len(logits)):
                middle = n * 2**level + 0.5
                start = max(int(middle - float(distances[n, 0]) * 2**level + 0.5), 0)
                stop = min(int(middle + float(distances[n, 1]) * 2**level + 0.5), len(x))
                better = best[start:stop] < float(scores[n])
                best[start:stop][better] = float(scores[n])
                found[start:stop][better] = int(names[n])
        return found

    return answer
