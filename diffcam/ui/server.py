"""HTTP for the page: what is asked for, who may ask, and how much they may send."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from PIL import Image

from diffcam.camera import Camera
from diffcam.errors import DiffcamError
from diffcam.functional.flow import MAX_STEPS
from diffcam.ui.desk import PhotoDesk, preview

PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Nothing from elsewhere runs in the page, and no other page shows or reads what is here."""


class PageServer(ThreadingHTTPServer):
    """Serves the page and refocuses what is sent to it.

    Args:
        address: Host and port; port 0 takes a free one.
        max_upload: Largest file taken, in bytes.

    Raises:
        DiffcamError: If the address cannot be taken.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], desk: PhotoDesk, max_upload: int = 200_000_000) -> None:
        self.desk = desk
        self.max_upload = max_upload
        try:
            super().__init__(address, _Handler)
        except (OSError, OverflowError) as error:
            raise DiffcamError(f"cannot serve at {address[0]}:{address[1]} ({error}); try another --port") from error
        self.is_local = address[0] in ("127.0.0.1", "localhost")

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{self.server_address[0]}:{self.server_address[1]}/"  # type: ignore[str-bytes-safe]


class _Refusal(Exception):
    """An answer other than success, with the sentence that the page shows."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version = "diffcam"
    sys_version = ""
    timeout = 60  # seconds that a silent client may hold a thread

    def log_message(self, format: str, *args: Any) -> None:
        """The page's own requests are no news."""

    def do_GET(self) -> None:
        try:
            # Other pages in the same browser may not use this server, also not under a name that they point here.
            host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
            if self.server.is_local and host.rpartition(":")[0] not in ("127.0.0.1", "localhost"):
                raise _Refusal(HTTPStatus.FORBIDDEN, f"this server is not called {host}")
            if origin is not None and urlsplit(origin).netloc != host:
                raise _Refusal(HTTPStatus.FORBIDDEN, "requests are taken from the page itself only")
            path = urlsplit(self.path).path
            for verb, pattern, action in _ROUTES:
                match = pattern.fullmatch(path)
                if verb == self.command and match:
                    action(self, *match.groups())
                    return
            raise _Refusal(HTTPStatus.NOT_FOUND, "there is nothing at this address")
        except _Refusal as refusal:
            self._refuse(refusal.status, str(refusal))
        except (DiffcamError, ValueError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, " ".join(str(error).split()))
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the browser went away
        except Exception:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong; the terminal says what")
            raise  # to the terminal; the server goes on

    do_POST = do_GET

    def _page(self, path: str) -> None:
        name, kind = PAGE[path]
        self._send(kind, (resources.files(__package__) / "static" / name).read_bytes())

    def _settings(self) -> None:
        self._send_json({"max_upload": self.server.max_upload, "steps": self.server.desk.steps})

    def _open(self) -> None:
        data, name = self._body(self.server.max_upload), self._file_name()
        key = self.server.desk.open(data, name)
        photo = self.server.desk[key].photo
        width, height = photo.size
        self._send_json({"key": key, "name": photo.name, "width": width, "height": height, "notes": photo.notes})

    def _set_depth(self, key: str) -> None:
        self.server.desk.set_depth(key, self._body(self.server.max_upload), self._file_name())
        self._send_json({})

    def _refocus(self, key: str) -> None:
        try:
            request = json.loads(self._body(10_000))
            x, y = request["focus"]
            camera = Camera((float(x), float(y)), float(request["bokeh"]))
            steps, seed = int(request.get("steps", self.server.desk.steps)), int(request.get("seed", 0))
        except (KeyError, TypeError, OverflowError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise DiffcamError("the request must name focus [x, y] and bokeh as numbers") from error
        if not (1 <= steps <= MAX_STEPS and 0 <= seed < 2**63):
            raise DiffcamError(f"steps must lie in 1 to {MAX_STEPS}, and the seed must not be negative")
        opened = self.server.desk.refocus(key, camera, steps, seed)
        self._send_json({"version": opened.version, "record": opened.record})

    def _progress(self, key: str) -> None:
        self._send_json({"step": self.server.desk[key].step})

    def _photo(self, key: str) -> None:
        self._send_picture(self.server.desk[key].original())

    def _result(self, key: str) -> None:
        picture = self.server.desk[key].picture
        if picture is None:
            raise _Refusal(HTTPStatus.NOT_FOUND, "this photo has no result yet; click on it first")
        self._send_picture(picture)

    def _download(self, key: str) -> None:
        opened = self.server.desk[key]
        name, data = opened.download()
        disposition = f"attachment; filename*=UTF-8''{quote(name)}"
        self._send("application/octet-stream", data, {"Content-Disposition": disposition})

    def _file_name(self) -> str:
        return unquote(self.headers.get("X-File-Name", "photo"))

    def _body(self, limit: int) -> bytes:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise _Refusal(HTTPStatus.LENGTH_REQUIRED, "the request must say how long it is")
        if int(length) > limit:
            sizes = f"{int(length) / 1e6:.0f} MB are more than the {limit / 1e6:g} MB that are taken"
            raise _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{sizes}; choose a smaller file")
        data = self.rfile.read(int(length))
        if len(data) < int(length):
            raise ConnectionError("the upload broke off")
        return data

    def _send_picture(self, image: Image.Image) -> None:
        data = preview(image)
        self._send("image/png" if data.startswith(b"\x89PNG") else "image/jpeg", data)

    def _send_json(self, content: Any) -> None:
        self._send("application/json", json.dumps(content).encode())

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self.close_connection = True  # its body may not have been read
        self._send("application/json", json.dumps({"error": message}).encode(), {"Connection": "close"}, status)

    def _send(
        self, kind: str, data: bytes, headers: dict[str, str] | None = None, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, **(headers or {}), "Content-Type": kind, "Content-Length": len(data)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)


_ROUTES: tuple[tuple[str, re.Pattern[str], Callable[..., None]], ...] = tuple(
    (verb, re.compile(path), action)
    for verb, path, action in (
        ("GET", "(/|/page.css|/page.js)", _Handler._page),
        ("GET", "/settings", _Handler._settings),
        ("POST", "/photos", _Handler._open),
        ("POST", "/photos/([^/]+)/depth", _Handler._set_depth),
        ("POST", "/photos/([^/]+)/refocus", _Handler._refocus),
        ("GET", "/photos/([^/]+)/progress", _Handler._progress),
        ("GET", "/photos/([^/]+)/photo", _Handler._photo),
        ("GET", "/photos/([^/]+)/result", _Handler._result),
        ("GET", "/photos/([^/]+)/download", _Handler._download),
    )
)
