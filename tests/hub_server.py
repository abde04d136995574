"""A hub on this computer: as much of the Hugging Face Hub's protocol as uploading and downloading a folder takes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest


class LocalHub(ThreadingHTTPServer):
    """Repositories by name: each a dictionary from file name to content."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.summaries: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, content: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode(), Content_Type="application/json")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _route(self) -> None:
        body = self._body()
        for command, pattern, action in self._ROUTES:
            match = re.fullmatch(pattern, self.path.partition("?")[0])
            if match and self.command in command:
                action(self, body, *match.groups())
                return
        self._json({"error": f"nothing at {self.path}"}, 404)

    do_GET = do_HEAD = do_POST = _route

    def _create(self, body: bytes) -> None:
        if self.headers.get("Authorization") != "Bearer hf_test":
            self._json({"error": "Invalid username or password."}, 401)
            return
        asked = json.loads(body)
        name = f"{asked['organization'] or 'someone'}/{asked['name']}"
        known = name in self.server.repositories
        self.server.repositories.setdefault(name, {})
        self.server.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
        self._json({"url": f"{self.server.url}/{name}"}, 409 if known else 200)

    def _preupload(self, body: bytes, name: str) -> None:
        files = [one["path"] for one in json.loads(body)["files"]]
        self._json({"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]})

    def _commit(self, body: bytes, name: str) -> None:
        files = self.server.repositories[name]
        for line in body.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "header":
                self.server.summaries.append(value["summary"])
            else:
                assert step["key"] == "file"
                files[value["path"]] = base64.b64decode(value["content"])
        self._json({"success": True, "commitOid": "1" * 40, "commitUrl": f"{self.server.url}/{name}/commit/{'1' * 40}"})

    def _revision(self, body: bytes, name: str) -> None:
        if name not in self.server.repositories:
            self._answer(404, b"{}", X_Error_Code="RepoNotFound")
            return
        names = [{"rfilename": path} for path in self.server.repositories[name]]
        self._json({"id": name, "sha": "1" * 40, "siblings": names})

    def _tree(self, body: bytes, name: str) -> None:
        files = self.server.repositories[name].items()
        self._json([{"type": "file", "path": path, "size": len(data), "oid": "0"} for path, data in files])

    def _resolve(self, body: bytes, name: str, path: str) -> None:
        data = self.server.repositories.get(name, {}).get(path)
        if data is None:
            self._answer(404, X_Error_Code="EntryNotFound")
            return
        etag = f'"{hashlib.sha1(data).hexdigest()}"'
        self._answer(200, data, ETag=etag, X_Repo_Commit="1" * 40)

    _ROUTES: ClassVar[tuple[tuple[tuple[str, ...], str, Callable[..., None]], ...]] = (
        (("POST",), "/api/repos/create", _create),
        (("POST",), "/api/models/(.+)/preupload/main", _preupload),
        (("POST",), "/api/models/(.+)/commit/main", _commit),
        (("GET",), "/api/models/(.+)/revision/main", _revision),
        (("GET",), "/api/models/(.+)/tree/[0-9a-z]+", _tree),
        (("GET", "HEAD"), "/([^/]+/[^/]+)/resolve/[0-9a-z]+/(.+)", _resolve),
    )


@contextmanager
def local_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[LocalHub]:
    """Serve a hub, and have huggingface_hub take it for the one there is."""
    with LocalHub() as hub:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
