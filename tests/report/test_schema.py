"""Every document fits the published schema, and the schema has every key."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from tests.report.cases import HEADS, PARTIAL, REPORT, report
from vtnstream.report.writers.structured import SCHEMA, failure_document, report_document
from vtnstream.types import ClassScore, Segment

SCHEMA_DOCUMENT: dict[str, Any] = json.loads(
    files("vtnstream.report").joinpath("schema.json").read_text("utf-8")
)


def strict(schema: Any) -> Any:
    """Return the schema with unknown keys forbidden wherever it requires keys."""
    schema = copy.deepcopy(schema)

    def close(part: Any) -> None:
        if isinstance(part, dict):
            if part.get("required"):
                part["additionalProperties"] = False
            for value in part.values():
                close(value)
        elif isinstance(part, list):
            for value in part:
                close(value)

    close(schema)
    return schema


def check(document: Any) -> None:
    validator = jsonschema.Draft202012Validator(
        strict(SCHEMA_DOCUMENT["$defs"]["result"]) | {"$defs": strict(SCHEMA_DOCUMENT["$defs"])}
    )
    validator.validate(document)
    jsonschema.Draft202012Validator(SCHEMA_DOCUMENT).validate(document)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"segments": None, "attention": None, "scores": (), "frame_rate": None},
        {"segments": (), "partial": PARTIAL},
        {"segments": (Segment(0, 1, "a", float("nan"), "dense"),)},
        {"classes": (ClassScore("a", float("nan")),), "model": {"name": "x"}},
        {"heads": HEADS},
    ],
)
def test_documents_are_valid_and_every_key_is_described(changes: dict[str, Any]) -> None:
    check(json.loads(json.dumps(report_document(report(**changes)))))


def test_the_schema_is_one_and_names_the_version() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA_DOCUMENT)
    assert SCHEMA_DOCUMENT["$id"] == SCHEMA
    jsonschema.validate(failure_document("x.mkv", "no"), SCHEMA_DOCUMENT)


@pytest.mark.parametrize(
    ("key", "value"),
    [("segments", [{"start": 0}]), ("schema", "vtnstream/report/2"), ("classes", None)],
)
def test_invalid_documents_are_refused(key: str, value: Any) -> None:
    document = report_document(REPORT) | {key: value}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA_DOCUMENT)
