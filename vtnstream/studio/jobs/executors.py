"""What worker processes of the studio do: analyse videos, and make copies that browsers play."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from vtnstream.batch.workers.executor import Executor, ExecutorInfo, Result
from vtnstream.batch.workers.executors import AnalysisExecutor
from vtnstream.batch.workers.outcome import Task
from vtnstream.config import RuntimeConfig, TimelineConfig
from vtnstream.progress import Progress
from vtnstream.studio.results.playing import REMUX, way_to_play

TIMELINE, CLASSIFY = "timeline", "classify"


def make_analysis(model: str | None, task: str, output: str) -> Executor:
    """Build the executor of an analysis in a worker.

    Args:
        model: a model folder or a name on the Hub; None is the bundled model.
        task: ``timeline`` or ``classify``.
        output: folder of the results.
    """
    return AnalysisExecutor(
        model,
        {},
        TimelineConfig() if task == TIMELINE else None,
        formats=("json",),
        every=True,
        top_k=None,
        runtime=RuntimeConfig(),
        output=Path(output),
    )


class PreviewExecutor:
    """Writes an MP4 that browsers play: packets are copied where only the container is in the way,
    and encoded as H.264 otherwise."""

    def __init__(self, output: Path, stream: int) -> None:
        self.facts = ExecutorInfo("preview", "previews")
        self._output, self._stream = output, stream

    def run(self, task: Task, progress: Progress) -> Result:
        from vtnstream.types import TimeRange
        from vtnstream.video.cut import CuttingSession
        from vtnstream.video.probe import probe
        from vtnstream.video.remux import copy_with_chapters

        self._output.mkdir(parents=True, exist_ok=True)
        target = self._output / task.name
        info = probe(task.path, stream=self._stream)
        if way_to_play(info, Path(task.path)) == REMUX:
            notes = copy_with_chapters(task.path, target, [], overwrite=True)
            return Result([target], None, notes)
        whole = TimeRange(Fraction(0), Fraction(10**8))
        with CuttingSession.of(task.path, self._stream) as session:
            written = session.write(target, [whole], mode="encode", overwrite=True)
        return Result([target], None, written.notes)


def make_previews(output: str, stream: int) -> Executor:
    """Build the executor of previews of one video stream in a worker."""
    return PreviewExecutor(Path(output), stream)
