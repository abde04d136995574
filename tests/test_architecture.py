"""docs/architecture.md and CONTRIBUTING.md name what is in the code."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = runpy.run_path(str(ROOT / "tests" / "test_layers.py"))["LAYERS"]
PLACE = re.compile(r"^\| (\d) \| `([^`]+)` \| `([^`]+)` \|", re.MULTILINE)


def definitions(path: Path) -> set[str]:
    """Functions, classes and their methods of a file, as ``name`` and ``Class.name``."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("title", ["The walk of a photo", "The walk of a batch"])
def test_a_walk_has_at_most_eight_places_that_exist(title: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    places = PLACE.findall(page.split(f"## {title}\n")[1].split("\n## ")[0])
    assert [int(number) for number, _, _ in places] == list(range(1, len(places) + 1))
    assert 4 <= len(places) <= 8
    assert [name for _, file, name in places if name not in definitions(ROOT / "diffcam" / file)] == []


def test_contributing_lists_the_layers() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().split("## The house")[1]
    rows = [set(row.split()) for row in text.split("```")[1].strip().splitlines()]
    assert rows == [parts for parts in LAYERS if parts != {"__main__"}]


def test_the_picture_shows_the_page() -> None:
    """`python docs/pictures/architecture.py` draws it anew."""
    drawn = (ROOT / "docs" / "pictures" / "architecture.svg").read_text()
    names = [name for _, _, name in PLACE.findall((ROOT / "docs" / "architecture.md").read_text())]
    assert [name for name in names if name not in drawn] == []
    assert [part for parts in LAYERS for part in parts - {"__main__"} if part not in drawn] == []
