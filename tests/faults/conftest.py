"""A video, a small model, and commands that can be killed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Protocol, TypeVar

import pytest

from tests.faults.tally import Cases
from tests.faults.warm import WarmCommand
from tests.faults.work import Work
from tests.small_model import model, noise_frames
from vtnstream.models.io.checkpoint import save_model
from vtnstream.models.vtn.model import VTN
from vtnstream.video.write import write_video

__all__ = ["model"]

Item = TypeVar("Item")

SECONDS = 300


@pytest.fixture
def cases(request: pytest.FixtureRequest) -> Iterator[Cases]:
    """Counts cases; what is lost fails the test at its end."""
    cases = Cases()
    yield cases
    cases.close(request)


class Some(Protocol):
    def __call__(self, items: Iterable[Item], count: int) -> list[Item]: ...


@pytest.fixture(params=["some", pytest.param("all", marks=pytest.mark.slow)])
def some(request: pytest.FixtureRequest) -> Some:
    """``some(items, count)``: so many of the items, spread evenly; all in the slow suite."""

    def some(items: Iterable[Item], count: int) -> list[Item]:
        every = list(items)
        return every if request.param == "all" else every[:: -(-len(every) // count)]

    return some


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCommand]:
    with WarmCommand(tmp_path_factory.mktemp("warm")) as command:
        yield command


@pytest.fixture(scope="session")
def work(model: VTN, warm: WarmCommand, tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Five minutes of video at a frame a second: 150 tokens in 5 chunks."""
    folder = tmp_path_factory.mktemp("work")
    video = folder / "film.mp4"
    write_video(video, noise_frames(0, SECONDS), Fraction(1))
    return Work(warm, video, save_model(model, folder / "model"))
