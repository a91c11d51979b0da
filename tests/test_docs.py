"""What the documentation names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_links_exist(page: Path) -> None:
    """A promise whose test is gone is only a sentence."""
    text = page.read_text()
    named = re.findall(r"`((?:tests|docs|jobs|examples)/[\w/.-]+)`", text)
    linked = [target for target in re.findall(r"\]\(([^)#:]+)\)", text)]
    # NAME stands for the reader's own.
    missing = [name for name in named if "NAME" not in name and not (ROOT / name).exists()]
    missing += [name for name in linked if not (page.parent / name).exists()]
    assert not missing
