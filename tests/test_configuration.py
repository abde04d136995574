"""The page of all config fields says what the docstrings say today."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_is_what_the_docstrings_say() -> None:
    made = runpy.run_path(str(DOCS / "configuration.py"))["page"]()
    assert made == (DOCS / "configuration.md").read_text(encoding="utf-8"), "run `python docs/configuration.py`"
    for field in ("`steps: int = 8`: Sampling steps", "`path: str`: Folder", "### `diffcam.models.PatchCodec`"):
        assert field in made
