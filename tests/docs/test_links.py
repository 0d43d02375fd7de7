"""Links inside the repository's own pages."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_NAMED = re.compile(r"`((?:chargeback|docs|enrichment|evaluation|gateway|hosting|local|seams|tests)/[\w./-]*)`")
_TESTS = re.compile(r"`(tests/[\w./-]+|test_\w+\.py)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(page))}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    """Every relative link leads to a file of the repository, and where it names a heading, to that."""
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_are_there(page: Path) -> None:
    """Every file and folder of the source that a page names is where it says."""
    assert [path for path in _NAMED.findall(prose(page)) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_named_without_their_folder(page: Path) -> None:
    """A test that a page names alone lies beside the one that was named before it."""
    folder = ROOT
    for path in _TESTS.findall(prose(page)):
        named = folder / path if path.startswith("test_") else ROOT / path
        assert named.exists(), path
        folder = named if named.is_dir() else named.parent


def test_every_page_can_be_reached() -> None:
    """Each page of docs/ is linked from README, docs/index.md or docs/adr/index.md."""
    indexes = [ROOT / "README.md", ROOT / "docs" / "index.md", ROOT / "docs" / "adr" / "index.md"]
    linked = {
        (index.parent / link.partition("#")[0]).resolve() for index in indexes for link in _LINK.findall(prose(index))
    }
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} <= linked
