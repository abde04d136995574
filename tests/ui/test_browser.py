"""The page in a real browser: headless Chromium, driven over the W3C WebDriver protocol."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffcam.ui import PageServer

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's key of an element reference

pytestmark = pytest.mark.skipif(not (DRIVER and BROWSER), reason="needs Chromium and chromedriver")


class Browser:
    """The few WebDriver commands that a person's hands need."""

    def __init__(self, base: str) -> None:
        self._base = base
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1200,800"]
        capabilities = {
            "goog:chromeOptions": {"binary": BROWSER, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = self._send("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._base = f"{base}/session/{session['sessionId']}"

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if method == "GET" or method == "DELETE" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]

    def _element(self, selector: str) -> str:
        found = self._send("POST", "/element", {"using": "css selector", "value": selector})
        return str(found[ELEMENT])

    def open(self, url: str) -> None:
        self._send("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        return self._send("POST", "/execute/sync", {"script": f"return {script}", "args": []})

    def type(self, selector: str, text: str) -> None:
        self._send("POST", f"/element/{self._element(selector)}/value", {"text": text})

    def click(self, selector: str) -> None:
        self._send("POST", f"/element/{self._element(selector)}/click")

    def click_at(self, selector: str, x: float, y: float) -> None:
        """Click at fractions of an element's width and height."""
        left, top, width, height = self.run(
            f"(({{x, y, width, height}}) => [x, y, width, height])({find(selector)}.getBoundingClientRect())"
        )
        moves = [
            {"type": "pointerMove", "x": round(left + x * width), "y": round(top + y * height)},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._send("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]})

    def wait(self, condition: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < deadline, (
                f"{condition}; the page says: {self.run(find('#status') + '.textContent')}"
            )
            time.sleep(0.05)

    def complaints(self) -> list[str]:
        """Errors in the console: failed requests, exceptions, violations of the content policy."""
        entries = self._send("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def quit(self) -> None:
        self._send("DELETE", "")


def find(selector: str) -> str:
    return f"document.querySelector({json.dumps(selector)})"


def says(text: str) -> str:
    return f"{find('#status')}.textContent.includes({json.dumps(text)})"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    driver = subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert driver.stdout is not None
        line = next(line for line in driver.stdout if "on port" in line and "successfully" in line)
        port = line.strip().rstrip(".").rsplit(" ", 1)[1]
        browser = Browser(f"http://127.0.0.1:{port}")
        yield browser
        browser.quit()
    finally:
        driver.terminate()
        driver.wait()


@pytest.fixture
def page(browser: Browser, server: PageServer, photo_bytes: bytes, tmp_path: Path) -> Browser:
    """The page with a photo in it."""
    (tmp_path / "holiday.jpg").write_bytes(photo_bytes)
    browser.open(server.url)
    browser.complaints()
    browser.type("#file", str(tmp_path / "holiday.jpg"))
    browser.wait(says("holiday.jpg, 72 × 96"))
    return browser


def test_click_refocuses_and_the_result_can_be_had(page: Browser) -> None:
    assert page.run(f"{find('#after')}.hidden && {find('#drop')}.hidden && !{find('#stage')}.hidden")
    page.click_at("#stage", 0.25, 0.75)
    page.wait(says("Blur 12, sharp at 25 % from the left, 75 % from the top."))
    assert page.run(f"[{find('#after')}.naturalWidth, {find('#after')}.naturalHeight]") == [72, 96]
    assert page.run(f"parseFloat({find('#marker')}.style.left)") == pytest.approx(25, abs=0.2)
    assert page.run(f"{find('#stage')}.clientWidth / {find('#stage')}.clientHeight") == pytest.approx(0.75, abs=0.01)
    content = page.run(f"fetch({find('#download')}.href).then(r => r.headers.get('Content-Disposition'))")
    assert content.endswith("holiday-refocused.jpg")
    assert page.complaints() == []


def test_the_slider_compares(page: Browser) -> None:
    assert page.run(f"{find('#compare')}.disabled")
    page.click_at("#stage", 0.5, 0.5)
    page.wait(f"!{find('#compare')}.disabled")
    page.run(f"({find('#compare')}.value = 40, {find('#compare')}.dispatchEvent(new Event('input')))")
    assert "40%" in page.run(f"{find('#after')}.style.clipPath")
    assert page.run(f"{find('#divider')}.style.left") == "40%"
    assert page.complaints() == []


def test_the_keyboard_suffices(page: Browser) -> None:
    page.type("#stage", "\ue014\ue015\ue007")  # right, down, Enter
    page.wait(says("Blur 12, sharp at 51 % from the left, 51 % from the top."))
    page.type("#bokeh", "\ue014\ue014")
    page.wait(says("Blur 13, sharp at 51 %"))
    page.click("#all-in-focus")
    page.wait(says("All in focus."))
    assert page.complaints() == []


def test_fast_clicks_end_at_the_last(page: Browser) -> None:
    for x in (0.1, 0.3, 0.6, 0.9):
        page.click_at("#stage", x, 0.5)
    page.wait(says("sharp at 90 % from the left"))
    assert page.run(f"{find('#after')}.src").endswith(("=2", "=3", "=4"))  # those in between may have been left out
    page.wait(f"{find('#progress')}.hidden")


def test_a_depth_map_can_be_given(page: Browser, tmp_path: Path) -> None:
    np.save(tmp_path / "depth.npy", np.linspace(0, 1, 96 * 72).reshape(96, 72))
    page.run(f"{find('details')}.open = true")
    page.type("#depth", str(tmp_path / "depth.npy"))
    page.wait(says("The depth map is in use."))
    (tmp_path / "bad.png").write_text("no map")
    page.type("#depth", str(tmp_path / "bad.png"))
    page.wait(says("bad.png: "))
    assert page.run(f"{find('#status')}.className") == "error"


def test_what_cannot_be_opened_is_said(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("buy milk")
    page.type("#file", str(tmp_path / "notes.txt"))
    page.wait(says("notes.txt: not an image that can be read"))
    assert page.run(f"{find('#status')}.className") == "error"
    (tmp_path / "huge.jpg").write_bytes(bytes(600_000))
    page.type("#file", str(tmp_path / "huge.jpg"))
    page.wait(says("huge.jpg: 1 MB are more than the 0.5 MB that are taken"))
    assert not page.run(f"{find('#stage')}.hidden")  # the photo that was open stays


def test_a_server_that_is_gone_is_said(page: Browser) -> None:
    page.run("window.fetch = () => Promise.reject(new TypeError('Failed to fetch'))")
    page.click_at("#stage", 0.5, 0.5)
    page.wait(says("diffcam does not answer; is it still running?"))
