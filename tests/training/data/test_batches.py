"""Crops, grouping by length, and padding."""

from __future__ import annotations

import numpy as np
import torch

from tests.training.cases import WIDTH, class_sample, collate, dense_sample, model
from vtnstream.models.vtn.token_inputs import TokenInputs
from vtnstream.training.data.batches import Crop, epoch_crops, plan_batches, random_crop
from vtnstream.training.data.targets import IGNORE


def whole(sample) -> Crop:
    return Crop(sample, 0, len(sample))


def test_crops_are_whole_samples_or_random_windows() -> None:
    generator = np.random.default_rng(0)
    sample = dense_sample(10, 0)
    assert random_crop(sample, 10, generator) == Crop(sample, 0, 10)
    starts = {random_crop(sample, 4, generator).start for _ in range(200)}
    assert starts == set(range(7))


def test_each_sample_occurs_once_and_batches_stay_within_limits() -> None:
    lengths = np.random.default_rng(1).integers(1, 100, 77)
    crops = [whole(class_sample(0, int(n), i)) for i, n in enumerate(lengths)]
    for generator in (None, np.random.default_rng(0)):
        batches = plan_batches(crops, 8, 256, generator)
        assert sorted(id(c.sample) for b in batches for c in b) == sorted(
            id(c.sample) for c in crops
        )
        for batch in batches:
            assert len(batch) <= 8
            assert len(batch) * max(map(len, batch)) <= 256
    shuffled = plan_batches(crops, 8, 256, np.random.default_rng(0))
    again = plan_batches(crops, 8, 256, np.random.default_rng(0))
    other = plan_batches(crops, 8, 256, np.random.default_rng(1))
    assert [[id(c) for c in b] for b in shuffled] == [[id(c) for c in b] for b in again]
    assert [[id(c) for c in b] for b in shuffled] != [[id(c) for c in b] for b in other]


def test_a_sequence_longer_than_the_limit_is_a_batch_of_its_own() -> None:
    crops = [whole(class_sample(0, n, n)) for n in (5, 600, 7)]
    assert [[len(c) for c in b] for b in plan_batches(crops, 8, 256)] == [[5, 7], [600]]


def test_batches_have_padding_masks_and_positions() -> None:
    short, long = dense_sample(3, 1), dense_sample(9, 2)
    batch = collate([Crop(short, 0, 3), Crop(long, 4, 9)])
    assert batch.inputs.shape == (2, 5, WIDTH)
    assert batch.padding_mask is not None and batch.targets is not None
    assert batch.padding_mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert batch.indices[1].tolist() == [4, 5, 6, 7, 8]
    assert batch.targets[0, 3:].tolist() == [IGNORE, IGNORE]
    assert batch.targets[1].tolist() == long.targets[4:].tolist()
    assert batch.labels is None
    np.testing.assert_array_equal(batch.inputs[1].numpy(), long.features.values[4:9])
    clipped = collate([Crop(long, 4, 9)], clip_positions=True)
    assert clipped.indices[0].tolist() == [0, 1, 2, 3, 4]
    assert clipped.padding_mask is None


def test_padding_does_not_change_the_output() -> None:
    vtn = model(dense=True).eval()
    short, long = dense_sample(5, 1), dense_sample(14, 2)
    together, alone = collate([whole(short), whole(long)]), collate([whole(short)])
    with torch.no_grad():
        padded = vtn.forward_features(
            together.inputs, padding_mask=together.padding_mask, indices=together.indices
        )
        single = vtn.forward_features(alone.inputs, indices=alone.indices)
    torch.testing.assert_close(
        padded.dense_logits[0, :5], single.dense_logits[0], atol=1e-5, rtol=1e-5
    )


def test_an_epoch_has_each_sample_once_with_new_crops() -> None:
    samples = [dense_sample(20, seed) for seed in range(5)]
    generator = np.random.default_rng(0)

    def epoch() -> list[list[int]]:
        batches = epoch_crops(
            samples,
            max_tokens=6,
            batch_size=2,
            batch_tokens=100,
            generator=generator,
        )
        return [row.tolist() for part in batches for row in collate(part).indices]

    first, second = epoch(), epoch()
    assert len(first) == len(second) == 5
    assert all(len(row) == 6 for row in first)
    assert sorted(first) != sorted(second)


def test_crops_are_compared_with_the_tokens_around_them() -> None:
    """The inputs of a crop equal those of its tokens in the whole sequence."""
    sample = dense_sample(60, 0)
    inputs = TokenInputs("feature+difference+similarity", WIDTH, 5)
    values = torch.tensor(sample.features.values)[None]
    whole = inputs(values, torch.tensor(sample.features.times.indices)[None])[0]
    for start, stop in ((0, 60), (0, 7), (20, 31), (58, 60)):
        batch = collate([Crop(sample, start, stop)], inputs)
        torch.testing.assert_close(batch.inputs[0], whole[start:stop])
