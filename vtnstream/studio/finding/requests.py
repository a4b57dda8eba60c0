"""What clients ask the finder, and what it says."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.studio.problems import InvalidProblem

_MAX_TEXT = 300
_MAX_FOUND = 200
_LONGEST_EXAMPLE = 600.0
_LONGEST_SPAN = 600.0


@dataclass(frozen=True, slots=True)
class ExampleSpan:
    """A span of a video of the library: ``id`` of its result, start and end in seconds."""

    id: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to search for: words, an example, or both.

    Attributes:
        text: words, such as ``a dog runs``.
        example: a span that moments should look like.
        limit: largest number of segments of the answer.
        per_video: largest number of segments of one video.
    """

    text: str = ""
    example: ExampleSpan | None = None
    limit: int = 60
    per_video: int = 5

    def check(self) -> None:
        """
        Raises:
            InvalidProblem: a value cannot be used.
        """
        if not self.text.strip() and self.example is None:
            raise InvalidProblem("nothing to search for: give text, an example, or both")
        if len(self.text) > _MAX_TEXT:
            raise InvalidProblem(f"text: at most {_MAX_TEXT} characters")
        for name in ("limit", "per_video"):
            if not 1 <= getattr(self, name) <= _MAX_FOUND:
                raise InvalidProblem(f"{name} must be between 1 and {_MAX_FOUND}")
        span = self.example
        if span is not None and not 0 <= span.start < span.end <= span.start + _LONGEST_EXAMPLE:
            raise InvalidProblem(
                f"example: start and end in seconds, at most {_LONGEST_EXAMPLE:.0f} s apart"
            )


@dataclass(frozen=True, slots=True)
class SuggestRequest:
    """What to suggest.

    Attributes:
        model: a model that was trained here, or a model folder; empty is the latest one that was
            trained here.
        limit: largest number of spans.
        length: seconds of a span.
    """

    model: str = ""
    limit: int = 20
    length: float = 10.0

    def check(self) -> None:
        """
        Raises:
            InvalidProblem: a value cannot be used.
        """
        if not 1 <= self.limit <= _MAX_FOUND:
            raise InvalidProblem(f"limit must be between 1 and {_MAX_FOUND}")
        if not 0 < self.length <= _LONGEST_SPAN:
            raise InvalidProblem(f"length must be between 0 and {_LONGEST_SPAN:.0f} s")


@dataclass(frozen=True, slots=True)
class SearchStatus:
    """Whether the library can be searched in words or by examples.

    Attributes:
        ready: whether a search can be submitted.
        problem: what is missing and how to get it, or empty.
        model: that reads frames and words.
        library: the library of ``vtnstream index`` that is searched, or empty: then stored features
            of the videos are.
    """

    ready: bool
    problem: str
    model: str
    library: str
