"""README, documents, changelog and package metadata agree with each other and with the code."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests import scheduling

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *PAGES, *sorted((ROOT / "examples").glob("*.md"))]
GENERATED = {f"reference/{n}.md" for n in ("commands", "api", "configuration", "packages")}


def test_readme_is_a_page_to_start_from() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 180
    assert any(re.match(r"python3 -m venv .*pytest", line) for line in lines)  # .ci/run runs it


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        if not link.startswith(("http://", "https://", "#")):
            target = (page.parent / link.partition("#")[0]).resolve()
            assert target.exists(), f"{page.name}: {link}"
            assert target.is_relative_to(ROOT), f"{page.name}: {link} lies outside"


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_places_in_the_code_exist(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    places = re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", text)
    assert len(places) > 5
    for place in places:
        assert (ROOT / "vtnstream" / place).exists() or (ROOT / place).exists(), place


def test_files_that_run_first_exist() -> None:
    assert [name for name in scheduling.LONGEST if not (ROOT / name).is_file()] == []


def addresses(entries: list[object]) -> list[str]:
    """Return all pages below a part of mkdocs' nav."""
    found: list[str] = []
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found += addresses(value) if isinstance(value, list) else [str(value)]
    return found


def test_the_site_lists_every_page() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    pages = {str(path.relative_to(DOCS)) for path in PAGES} | GENERATED
    assert sorted(addresses(nav)) == sorted(pages)


def test_the_glossary_gives_each_word_once() -> None:
    text = (DOCS / "glossary.md").read_text("utf-8")
    words = re.findall(r"(?m)^\| ([^|]+) \|", text)[1:]
    assert len(words) >= 40
    assert [word for word, count in Counter(words).items() if count > 1] == []
    assert words == sorted(words, key=lambda word: word.strip("[]").lower())


def test_changelog_names_the_version_of_the_package() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    heads = re.findall(r"(?m)^## (.+)$", text)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert heads[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", heads[1])
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for section in re.split(r"(?m)^## ", text)[1:]:
        parts = re.findall(r"(?m)^### (.+)$", section)
        assert set(parts) <= kinds and len(parts) == len(set(parts)), section[:40]
        before = section.partition("### ")[0]
        assert "\n- " not in before, f"entries without a kind under {section[:20]!r}"


def test_messages_that_troubleshooting_quotes_are_messages_of_the_code() -> None:
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "vtnstream").rglob("*.py"))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # literals over several lines
    rows = re.findall(r"(?m)^\| (`[^|]+`) \|", (DOCS / "troubleshooting.md").read_text("utf-8"))
    quoted = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 10
    assert [message for message in quoted if message not in code] == []
