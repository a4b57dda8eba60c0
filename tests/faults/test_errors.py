"""A full disk, a broken one, a forbidden folder, at any write: one clear line, the documented
exit code, and a store from which the next run goes on."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.conftest import Some
from tests.faults.interposer import disk_operations
from tests.faults.tally import Cases
from tests.faults.work import KINDS, TOKENS, Work

FAULTS = (("ENOSPC", True), ("EIO", False), ("EACCES", False), ("EIO", True))
"""Each error, and whether it stays."""
SOME = 5


def fail_at(work: Work, kind: str, number: int, error: str, lasting: bool) -> None:
    with work.place(kind) as place:
        ended = place.run(at=number, act=error, lasting=lasting)
        assert ended.code in (0, 1), ended
        assert len(ended.errors) == ended.code, ended
        assert "Traceback" not in ended.err and "internal error" not in ended.err, ended
        if ended.code:
            assert str(place.folder) in ended.errors[0] or str(work.video) in ended.errors[0], ended
        encoded, published = place.frames_encoded(), len(place.chunks())
        again = place.run()
        assert (again.code, again.errors) == (0, []), again
        place.assert_whole()
        assert not published or encoded + place.frames_encoded() < 2 * TOKENS


def every_case(work: Work) -> Iterator[tuple[str, int, str, bool, str]]:
    for error, lasting in FAULTS:
        for kind in KINDS:
            for number, operation in enumerate(disk_operations(work.whole(kind)[1])):
                yield kind, number, error, lasting, operation.name


def test_any_write_fails(work: Work, cases: Cases, some: Some) -> None:
    for kind, number, error, lasting, name in some(every_case(work), SOME):
        stays = ", stays" if lasting else ""
        with cases(f"{error}{stays}, at a write, rename or fsync", f"{kind} {number} ({name})"):
            fail_at(work, kind, number, error, lasting)
