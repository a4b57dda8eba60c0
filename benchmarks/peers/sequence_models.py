"""Small networks over stored features, as their papers describe them.

MS-TCN (Farha and Gall, CVPR 2019), ASFormer (Yi et al., BMVC 2021), and a linear probe with
context, in plain torch without vtnstream.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORED = -100
Sequences = Sequence[tuple[np.ndarray, np.ndarray]]
"""Features (T, D) and classes (T,)."""


class DilatedResidual(nn.Module):
    """A residual layer: dilated convolution of three taps, ReLU, pointwise convolution, dropout."""

    def __init__(self, size: int, dilation: int) -> None:
        super().__init__()
        self.spread = nn.Conv1d(size, size, 3, padding=dilation, dilation=dilation)
        self.point = nn.Conv1d(size, size, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = x + self.dropout(self.point(functional.relu(self.spread(x))))
        return made


class MsTcn(nn.Module):
    """Three stages of seven layers with 64 channels."""

    def __init__(
        self, inputs: int, classes: int, stages: int = 3, layers: int = 7, size: int = 64
    ) -> None:
        super().__init__()

        def stage(width: int) -> nn.Sequential:
            body = [DilatedResidual(size, 2**n) for n in range(layers)]
            return nn.Sequential(nn.Conv1d(width, size, 1), *body, nn.Conv1d(size, classes, 1))

        self.stages = nn.ModuleList(stage(inputs if not n else classes) for n in range(stages))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (1, D, T) to the logits (1, K, T) of each stage."""
        made: list[Tensor] = []
        for stage in self.stages:
            x = stage(x if not made else made[-1].softmax(1))
            made.append(x)
        return made


class _LocalAttention(nn.Module):
    """One attention head whose tokens attend to ``reach`` tokens on each side."""

    def __init__(self, size: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.query, self.key, self.value = (nn.Conv1d(size, size // 2, 1) for _ in range(3))
        self.output = nn.Conv1d(size // 2, size, 1)

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        place = torch.arange(x.shape[-1])
        near = (place[:, None] - place).abs() <= self.reach
        key, query = self.key(x), self.query(x)
        scores = (query.transpose(1, 2) @ key) / math.sqrt(key.shape[1])
        weights = scores.masked_fill(~near, -math.inf).softmax(-1)
        made: Tensor = self.output(functional.relu(self.value(values) @ weights.transpose(1, 2)))
        return made


class _AsBlock(nn.Module):
    """A dilated convolution, then attention over a window that grows with depth."""

    def __init__(self, size: int, number: int) -> None:
        super().__init__()
        self.spread = nn.Conv1d(size, size, 3, padding=2**number, dilation=2**number)
        self.norm = nn.InstanceNorm1d(size)
        self.attention = _LocalAttention(size, 2**number)
        self.point = nn.Conv1d(size, size, 1)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor, guide: Tensor | None) -> Tensor:
        wide = functional.relu(self.spread(x))
        normal = self.norm(wide)
        wide = wide + self.attention(normal, normal if guide is None else guide)
        made: Tensor = x + self.dropout(self.point(wide))
        return made


class AsFormer(nn.Module):
    """An encoder of seven blocks and one decoder that refines its prediction."""

    def __init__(self, inputs: int, classes: int, layers: int = 7, size: int = 64) -> None:
        super().__init__()
        self.enter = nn.ModuleList(nn.Conv1d(n, size, 1) for n in (inputs, classes))
        self.encoder = nn.ModuleList(_AsBlock(size, n) for n in range(layers))
        self.decoder = nn.ModuleList(_AsBlock(size, n) for n in range(layers))
        self.leave = nn.ModuleList(nn.Conv1d(size, classes, 1) for _ in range(2))
        self.dropout = nn.Dropout1d(0.3)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (1, D, T) to the logits (1, K, T) of encoder and decoder."""
        states = self.enter[0](self.dropout(x))
        for block in self.encoder:
            states = block(states, None)
        first = self.leave[0](states)
        refined = self.enter[1](first.softmax(1))
        for block in self.decoder:
            refined = block(refined, states)
        return [first, self.leave[1](refined)]


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {"MS-TCN": MsTcn, "ASFormer": AsFormer}


def learn_network(
    name: str, train: Sequences, classes: int, seed: int, epochs: int = 40
) -> Callable[[np.ndarray], np.ndarray]:
    """Train a network, one video per step; return a function from features (T, D) to class
    numbers (T,)."""
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    counts = np.bincount(np.concatenate([y[y >= 0] for _, y in train]), minlength=classes)
    weights = torch.tensor(
        [math.sqrt(counts.sum() / n) if n else 0.0 for n in counts], dtype=torch.float32
    )
    weights = weights / float((weights * torch.from_numpy(counts)).sum() / counts.sum())
    net = NETWORKS[name](train[0][0].shape[1], classes)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        for number in order.permutation(len(train)):
            x, y = train[number]
            if not (y >= 0).any():
                continue
            loss = torch.zeros(())
            for logits in net(torch.from_numpy(x.T.copy())[None]):
                loss = loss + functional.cross_entropy(
                    logits[0].T, torch.from_numpy(y), weights, ignore_index=IGNORED
                )
                log = logits.log_softmax(1)
                if log.shape[-1] > 1:
                    steps = (log[..., 1:] - log[..., :-1].detach()).clamp(-4, 4)
                    loss = loss + 0.15 * steps.square().mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    net.eval()

    @torch.inference_mode()
    def answer(x: np.ndarray) -> np.ndarray:
        found: np.ndarray = net(torch.from_numpy(x.T.copy())[None])[-1][0].argmax(0).numpy()
        return found

    return answer


def learn_probe(
    train: Sequences, classes: int, context: int, penalty: float = 30.0
) -> Callable[[np.ndarray], np.ndarray]:
    """Fit logistic regression on each token with the means of ``context`` tokens before and
    after it."""

    def seen(x: np.ndarray) -> Tensor:
        sums = np.concatenate((np.zeros((1, x.shape[1])), x.cumsum(0, dtype=np.float64)))
        place = np.arange(len(x))

        def mean(first: np.ndarray, stop: np.ndarray) -> np.ndarray:
            first, stop = np.clip(first, 0, len(x)), np.clip(stop, 0, len(x))
            count = (stop - first)[:, None]
            return np.where(count > 0, (sums[stop] - sums[first]) / np.maximum(count, 1), x)

        parts = [x, mean(place - context, place), mean(place + 1, place + 1 + context)]
        return torch.from_numpy(np.concatenate(parts, 1).astype(np.float32))

    values = torch.cat([seen(x)[torch.from_numpy(y >= 0)] for x, y in train])
    targets = torch.from_numpy(np.concatenate([y[y >= 0] for _, y in train]))
    weight = torch.zeros(classes, values.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = functional.cross_entropy(values @ weight.T + bias, targets, reduction="sum")
        loss = loss + penalty / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    fitted, offset = weight.detach(), bias.detach()

    def answer(x: np.ndarray) -> np.ndarray:
        found: np.ndarray = (seen(x) @ fitted.T + offset).argmax(1).numpy()
        return found

    return answer
