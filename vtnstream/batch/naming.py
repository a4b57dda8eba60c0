"""Assign result names to videos, so that no result overwrites another.

Names depend on the whole list of inputs, before it is split into shards. They are recorded next to
the results before work begins, and later runs keep them even if their lists differ.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping

from vtnstream.batch.manifest import InputList
from vtnstream.batch.shard import Shard
from vtnstream.batch.storage import Storage
from vtnstream.report.naming import file_name, folded, hashed_name, output_names

_LONGEST = 64
_RESERVED = re.compile(
    r"status(-\d+-of-\d+)?\.jsonl|\.status.*\.lock|\.names.*\.json|\.vtnstream-.*", re.DOTALL
)
"""Names of the batch's own files; no result may have such a name."""


def assign_names(
    inputs: InputList, suffixes: Iterable[str], storage: Storage, shard: Shard | None
) -> dict[str, str]:
    """Choose the base names of the results for the inputs of a shard, by input path.

    Recorded names are kept. A new name is changed if its file belongs to another input, or
    exists without belonging to any input.

    Args:
        inputs: the whole list of inputs.
        suffixes: suffixes of the files that will be written.
        storage: location of the results.
        shard: the share of the inputs to process; None is all.

    Raises:
        OutputError: the storage cannot be read or written.
    """
    suffixes = tuple(suffixes)
    known = _recorded(storage)
    owners = {folded(file_name(base, s)): path for path, base in known.items() for s in suffixes}
    there = {folded(name) for name in storage.sizes()}
    given = output_names(item.path for item in inputs.items)
    names: dict[str, str] = {}
    # Name all inputs in an order independent of the list, so that all shards agree.
    for item in sorted(inputs.items, key=lambda item: item.absolute):
        path = item.absolute
        base = known.get(path)
        if base is None:
            free = (
                name
                for name in (given[item.path], hashed_name(path), hashed_name(path, _LONGEST))
                if _is_free(name, suffixes, path, owners, there)
            )
            base = next(free, hashed_name(path, _LONGEST))
        names[item.path] = base
        owners |= {folded(file_name(base, suffix)): path for suffix in suffixes}
    if shard is not None:
        names = {item.path: names[item.path] for item in shard.of(inputs).items}
    _record(storage, shard, {os.path.abspath(path): base for path, base in names.items()})
    return names


def _is_free(
    base: str, suffixes: Iterable[str], path: str, owners: Mapping[str, str], there: set[str]
) -> bool:
    for suffix in suffixes:
        name = file_name(base, suffix)
        owner = owners.get(folded(name))
        if _RESERVED.fullmatch(folded(name)) or owner not in (None, path):
            return False
        if owner is None and folded(name) in there:
            return False
    return True


def _recorded(storage: Storage) -> dict[str, str]:
    """Return the base names by absolute path, from the records of all shards and runs."""
    known: dict[str, str] = {}
    for name in storage.sizes():
        if name.startswith(".names") and name.endswith(".json"):
            known.update(_parse(storage.read(name)))
    return known


def _parse(data: bytes | None) -> dict[str, str]:
    try:
        found = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        path: base
        for path, base in found.items()
        if isinstance(base, str) and base == os.path.basename(base)
    }


def _record(storage: Storage, shard: Shard | None, names: Mapping[str, str]) -> None:
    record = ".names.json" if shard is None else f".names-{shard.label}.json"
    before = _parse(storage.read(record))
    if not names.items() <= before.items():
        storage.write(record, json.dumps({**before, **names}, indent=0).encode())
