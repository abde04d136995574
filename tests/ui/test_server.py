from __future__ import annotations

import http.client
import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from diffcam.errors import DiffcamError
from diffcam.ui import PageServer, PhotoDesk

CLICK = {"focus": [0.25, 0.5], "bokeh": 12, "steps": 2}


def ask(
    server: PageServer, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=60)
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, response.headers, content


def complaint(answer: tuple[int, http.client.HTTPMessage, bytes], status: int) -> str:
    assert answer[0] == status
    return str(json.loads(answer[2])["error"])


@pytest.fixture
def key(server: PageServer, photo_bytes: bytes) -> str:
    status, _, content = ask(server, "POST", "/photos", photo_bytes, X_File_Name="Urlaub%20%C3%BC.jpg")
    assert status == 200
    opened = json.loads(content)
    assert (opened["width"], opened["height"], opened["name"]) == (72, 96, "Urlaub ü.jpg")
    return str(opened["key"])


def test_the_page_needs_nothing_from_elsewhere(server: PageServer) -> None:
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
        status, headers, content = ask(server, "GET", path)
        assert status == 200
        assert headers.get_content_type() == kind
        assert b"http:" not in content
        assert b"https:" not in content
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")


def test_upload_click_look_and_download(server: PageServer, key: str) -> None:
    assert ask(server, "GET", f"/photos/{key}/result")[0] == 404
    status, _, content = ask(server, "POST", f"/photos/{key}/refocus", CLICK)
    assert status == 200
    assert json.loads(content)["version"] == 1
    assert json.loads(ask(server, "GET", f"/photos/{key}/progress")[2]) == {"step": 2}
    for name in ("photo", "result"):
        status, headers, content = ask(server, "GET", f"/photos/{key}/{name}?version=1")
        assert headers["Content-Type"] == "image/jpeg"
        assert Image.open(BytesIO(content)).size == (72, 96)
    status, headers, content = ask(server, "GET", f"/photos/{key}/download")
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''Urlaub%20%C3%BC-refocused.jpg"
    assert json.loads(Image.open(BytesIO(content)).getexif()[0x9213])["focus"] == [0.25, 0.5]


def test_a_click_that_names_no_steps_takes_as_many_as_the_model_is_meant_for(server: PageServer, key: str) -> None:
    steps = json.loads(ask(server, "GET", "/settings")[2])["steps"]
    content = ask(server, "POST", f"/photos/{key}/refocus", {"focus": [0.25, 0.5], "bokeh": 12})[2]
    assert json.loads(content)["record"]["steps"] == steps == 8


def test_a_connection_serves_many_requests(server: PageServer, key: str) -> None:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=60)
    for _ in range(3):
        connection.request("POST", f"/photos/{key}/refocus", json.dumps(CLICK).encode())
        assert connection.getresponse().read()
    connection.close()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "must name focus"),
        (b"[]", "must name focus"),
        (b'{"focus": 3, "bokeh": 2}', "must name focus"),
        (b"\xff\xfe", "must name focus"),
        ({"focus": [2, 0.5], "bokeh": 3}, "inside the image"),
        ({"focus": [0.5, 0.5], "bokeh": -3}, "bokeh must lie in"),
        ({"focus": [0.5, 0.5], "bokeh": float("nan")}, "bokeh must lie in"),
        ({"focus": [0.5, 0.5], "bokeh": 3, "steps": 101}, "steps must lie in 1 to 100"),
        ({"focus": [0.5, 0.5], "bokeh": 3, "seed": -1}, "the seed must not be negative"),
    ],
)
def test_bad_clicks_are_refused_in_words(server: PageServer, key: str, body: Any, message: str) -> None:
    assert message in complaint(ask(server, "POST", f"/photos/{key}/refocus", body), 400)


def test_bad_uploads_are_refused_in_words(server: PageServer, key: str) -> None:
    assert "not an image" in complaint(ask(server, "POST", "/photos", b"buy milk", X_File_Name="notes.txt"), 400)
    assert "empty" in complaint(ask(server, "POST", "/photos", b""), 400)
    assert "no longer open" in complaint(ask(server, "POST", "/photos/absent/refocus", CLICK), 400)
    depth = ask(server, "POST", f"/photos/{key}/depth", b"no map", X_File_Name="depth.png")
    assert complaint(depth, 400).startswith("depth.png: ")


def test_large_uploads_are_refused_unread(server: PageServer) -> None:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
    connection.putrequest("POST", "/photos")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert "1000000 MB are more than the 0.5 MB" in json.loads(response.read())["error"]
    connection.close()
    connection.putrequest("POST", "/photos")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "elsewhere.example:80"},
        {"Host": "elsewhere.example:80", "Origin": "http://elsewhere.example:80"},
    ],
)
def test_other_pages_may_not_ask(server: PageServer, headers: dict[str, str], photo_bytes: bytes) -> None:
    complaint(ask(server, "POST", "/photos", photo_bytes, **headers), 403)
    complaint(ask(server, "GET", "/settings", **headers), 403)


def test_the_page_itself_may_ask(server: PageServer) -> None:
    host = f"localhost:{server.server_address[1]}"
    assert ask(server, "GET", "/settings", Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    "path", ["/index.html", "/../server.py", "/static/page.js", "/photos", "/photos/a/b/c", "//etc/passwd"]
)
def test_nothing_else_is_served(server: PageServer, path: str) -> None:
    complaint(ask(server, "GET", path), 404)


def test_a_failure_is_answered_and_the_server_goes_on(
    server: PageServer, key: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(server.desk, "refocus", lambda *_: 1 / 0)
        assert "something went wrong" in complaint(ask(server, "POST", f"/photos/{key}/refocus", CLICK), 500)
    assert ask(server, "POST", f"/photos/{key}/refocus", CLICK)[0] == 200
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_taken_port_is_named(server: PageServer, desk: PhotoDesk) -> None:
    with pytest.raises(DiffcamError, match="try another --port"):
        PageServer(server.server_address[:2], desk)  # type: ignore[arg-type]
    with pytest.raises(DiffcamError, match="try another --port"):
        PageServer(("127.0.0.1", 99999), desk)
