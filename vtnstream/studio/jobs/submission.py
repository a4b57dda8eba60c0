"""Jobs as clients submit them: checked against the workspace, and joined with the results."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vtnstream.report.naming import hashed_name, output_names
from vtnstream.report.writer import is_result_of
from vtnstream.studio.jobs import runner, teaching
from vtnstream.studio.jobs.queue import ANALYSE, PREVIEW, TRAIN, Job
from vtnstream.studio.jobs.runner import Handler, Work
from vtnstream.studio.jobs.teaching import COMPARISON_FILE, METRICS_FILE, TrainRequest
from vtnstream.studio.problems import InvalidProblem, NotFoundProblem
from vtnstream.studio.results.listing import walk
from vtnstream.suffixes import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from vtnstream.studio.service import Studio

_MAX_PATHS = 10_000


@dataclass(frozen=True, slots=True)
class AnalyseRequest:
    """What to analyse.

    Attributes:
        paths: videos or folders inside the folders of the studio; absolute, or relative to
            one of these folders.
        ids: results whose videos are analysed again, or videos without a result.
        model: a model of this studio by its name, a model folder inside its folders, or empty for
            the bundled model.
        task: ``timeline`` or ``classify``.
    """

    paths: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    model: str = ""
    task: Literal["timeline", "classify"] = "timeline"


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model that was trained here.

    Attributes:
        name: of the model.
        ready: whether training has ended.
        metrics: one record for each epoch so far.
        comparison: held-out videos before and after, see
            :class:`vtnstream.studio.jobs.teaching.HeldOut`.
    """

    name: str
    ready: bool
    metrics: list[dict[str, Any]] = field(default_factory=list)
    comparison: list[dict[str, Any]] = field(default_factory=list)


class Jobs:
    """Checks and submits jobs, and says what they made.

    Args:
        studio: the workspace with its results.
    """

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    @property
    def _models(self) -> Path:
        return self._studio.workspace.state / "models"

    # ------------------------------------------------------------------------ submitting

    def analyse(self, request: AnalyseRequest) -> Job:
        """Queue an analysis.

        Raises:
            InvalidProblem: a path lies outside the folders, or there is no video.
            NotFoundProblem: there is no such result or model.
        """
        paths = dict.fromkeys(path for text in request.paths for path in self._videos(text))
        paths.update(dict.fromkeys(map(self._video_of, request.ids)))
        if not paths:
            raise InvalidProblem("there is no video to analyse in what was named")
        if len(paths) > _MAX_PATHS:
            raise InvalidProblem(f"one job analyses at most {_MAX_PATHS:,} videos")
        model = str(self.model_folder(request.model)) if request.model else None
        body = {"paths": list(map(str, paths)), "model": model, "task": request.task}
        return self._studio.queue.submit(ANALYSE, body)

    def preview(self, name: str) -> Job:
        """Queue a copy of a video that browsers play; one that waits already is not doubled."""
        loaded = self._studio.documents.load(name)
        if loaded.video is None:
            raise NotFoundProblem(loaded.no_video)
        target = self._studio.preview_path(name)
        stream = loaded.report.video.stream_index
        body = {"video": str(loaded.video), "name": target.name, "stream": stream}
        queue = self._studio.queue
        return queue.pending(PREVIEW, body) or queue.submit(PREVIEW, body)

    def train(self, request: TrainRequest) -> Job:
        """Queue a training on all corrections.

        Raises:
            InvalidProblem: a value cannot be used, or nothing was corrected.
        """
        request.check()
        if not any(True for _ in self._studio.annotated()):
            raise InvalidProblem("nothing to learn from: correct or check some videos first")
        if self._studio.queue.pending(TRAIN, asdict(request)):
            raise InvalidProblem(f"model {request.name} is being trained already")
        return self._studio.queue.submit(TRAIN, asdict(request))

    def _videos(self, text: str) -> list[Path]:
        """Return the videos of a file or folder, given relative to any folder of the studio."""
        workspace = self._studio.workspace
        for root in dict.fromkeys((workspace.home, *workspace.results, *workspace.videos)):
            try:
                path = (root / text).resolve()
            except (OSError, ValueError, RuntimeError):
                continue
            if path.is_dir() and any(path.is_relative_to(inside) for inside in workspace.roots):
                files = walk(path, workspace.state)
                return [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
            found = workspace.allowed(path)
            if found is not None:
                return [found]
        raise InvalidProblem(f"{text[:200]}: is not a file or folder of this studio")

    def _video_of(self, name: str) -> Path:
        row = self._studio.index.find(name)
        workspace = self._studio.workspace
        beside = (workspace.home / row["path"]).parent
        found = workspace.video_of(row["input"], beside)
        if found is None:
            raise NotFoundProblem(f"{row['name']}: the video does not lie in the folders")
        return found

    def model_folder(self, text: str) -> Path:
        """The folder of a model that was trained here, or of one in the folders of the studio.

        Raises:
            NotFoundProblem: there is none.
        """
        own = self._models / text / "model"
        for place in (own, self._studio.workspace.home / text):
            config = self._studio.workspace.allowed(place / "config.json")
            if config is not None:
                return config.parent
        raise NotFoundProblem(f"there is no model {text[:100]!r} in the folders of this studio")

    # -------------------------------------------------------------------------- running

    def handlers(self) -> dict[str, Handler]:
        """Kind of job -> what does it."""
        return {ANALYSE: self._analyse, PREVIEW: self._preview, TRAIN: self._train}

    def _analyse(self, work: Work) -> dict[str, Any]:
        output = self._studio.workspace.home
        names = output_names(work.job.request["paths"])

        def name_of(path: str) -> str:
            target = output / f"{names[path]}.json"
            taken = target.exists() and not is_result_of(target, path)
            return hashed_name(path) if taken else names[path]

        try:
            return runner.analyse(work, output=output, name_of=name_of)
        finally:
            self._studio.index.refresh()

    def _preview(self, work: Work) -> dict[str, Any]:
        return runner.preview(work, output=self._studio.workspace.state / "previews")

    def _train(self, work: Work) -> dict[str, Any]:
        videos = list(self._studio.annotated())
        documents = self._studio.documents
        old = {video.id: documents.load(video.id).base.segments for video in videos}
        folder = self._models / work.job.request["name"]
        return teaching.teach(work, videos, old, folder)

    # --------------------------------------------------------------------------- models

    def models(self) -> list[TrainedModel]:
        """Models that were trained here or are being trained, by name."""
        folders = sorted(self._models.iterdir()) if self._models.is_dir() else []
        return [self.model(folder.name) for folder in folders if folder.is_dir()]

    def model(self, name: str) -> TrainedModel:
        """One of these models.

        Raises:
            NotFoundProblem: there is none of this name.
        """
        folder = self._models / name
        if not folder.is_dir() or folder.parent != self._models or name in (".", ".."):
            raise NotFoundProblem(f"there is no model {name[:100]!r}")
        ready = (folder / COMPARISON_FILE).is_file()
        lines = _text(folder / "model" / METRICS_FILE).splitlines()
        metrics = [json.loads(line) for line in lines if line.endswith("}")]
        comparison = json.loads(_text(folder / COMPARISON_FILE) or "[]")
        return TrainedModel(name, ready, metrics, comparison)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""
