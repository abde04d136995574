"""``docs/points.html`` in a real browser: clicked points are what ``diffcam benchmark build --points`` reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffcam.benchmark.scenes import read_points
from tests.ui.test_browser import Browser, browser, find, pytestmark

__all__ = ["browser", "pytestmark"]

PAGE = Path(__file__).parents[2] / "docs" / "points.html"


def test_clicks_become_a_points_file(browser: Browser, photo_bytes: bytes, tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(photo_bytes)
    browser.open(PAGE.as_uri())
    browser.type("#photos", str(tmp_path / "holiday.jpg"))
    browser.wait(f"{find('#photo')}.naturalWidth > 0 && {find('#photo')}.complete")
    browser.click_at("#photo", 0.25, 0.5)
    browser.click("#save")
    assert "holiday.jpg has fewer than three points" in browser.run(find("#problem") + ".textContent")
    for x, y in ((0.75, 0.25), (0.5, 0.5)):
        browser.click_at("#photo", x, y)
    assert browser.run("document.querySelectorAll('.mark').length") == 3
    path = tmp_path / "points.json"
    path.write_text(browser.run("content()"))
    entry = read_points(path)["holiday.jpg"]
    expected = [[0.25, 0.5, 6], [0.75, 0.25, 14]]
    assert [pytest.approx(point, abs=0.02) for point in expected] == entry["refocus"]
    assert entry["add_bokeh"]["focus"] == pytest.approx([0.5, 0.5], abs=0.02)
    assert entry["add_bokeh"]["levels"] == [3, 8, 12, 19]
    browser.run(f"({find('#levels')}.value = '3, 3, 12, 19')")
    browser.click("#save")
    assert "4 different levels" in browser.run(find("#problem") + ".textContent")
