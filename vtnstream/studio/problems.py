"""Errors of the studio that a client can cause, each with its HTTP status."""

from __future__ import annotations

from vtnstream.errors import VtnstreamError


class Problem(VtnstreamError):
    """A request that cannot be answered; its message is one line."""

    status = 400


class NotFoundProblem(Problem):
    """There is no such result, video or job."""

    status = 404


class StaleProblem(Problem):
    """The change was made against an older revision than the current one."""

    status = 409


class InvalidProblem(Problem):
    """The request is understood but cannot be carried out."""

    status = 422
