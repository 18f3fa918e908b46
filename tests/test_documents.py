"""README and docs name files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WRITTEN_BY_SPHINX = {"_build", "configuration"}
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if not WRITTEN_BY_SPHINX & set(p.parts)),
    ROOT / "benchmarks/README.md",
]
FILE = re.compile(
    r"\b(?:vnl_mjx|benchmarks|tests|examples|docs)/[\w/.-]+\.(?:py|yaml|md|png|svg)\b"
)
LINK = re.compile(r"\]\(([^)#:]+)\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_is_named_is_there(document):
    text = document.read_text()
    named = {ROOT / name for name in FILE.findall(text)}
    linked = {document.parent / link for link in LINK.findall(text)}
    assert not [str(path) for path in named | linked if not path.exists()]
