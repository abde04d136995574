"""What the hub says reaches the user: its answers are given by a server on this machine, to a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

from diffcam.errors import DiffcamError
from diffcam.models import load_flux_transformer
from diffcam.pretrained.hub import why_not

ASK = """
import torch
from diffcam.errors import DiffcamError
from diffcam.models import load_flux_codec, load_flux_transformer, load_preview_codec
from diffcam.pretrained.depth import DepthAnything
from diffcam.pretrained.text_to_image import FluxPhotographer

for name in ("someone/gated", "someone/absent", "someone/forbidden"):
    for load in (load_flux_transformer, load_flux_codec, load_preview_codec,
                 lambda name: DepthAnything(name)(torch.zeros(1, 3, 28, 28)),
                 lambda name: FluxPhotographer(name)("a cat", 0, (32, 32))):
        try:
            load(name)
        except DiffcamError as error:
            print(str(error).replace(chr(10), "BROKEN"))
"""


class _Answer(BaseHTTPRequestHandler):
    """As the hub refuses a gated model, one that it does not know, and a token that may not read what it asks for."""

    def do_GET(self) -> None:
        status = 401 if "gated" in self.path else 403 if "forbidden" in self.path else 404
        self.send_response(status)
        code, message = {401: ("GatedRepo", ""), 403: ("", "enable gated access"), 404: ("RepoNotFound", "")}[status]
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.slow
def test_every_loader_distinguishes_gated_and_absent_models(hub: str, tmp_path: Path) -> None:
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASK], env=environment, capture_output=True, text=True, check=True
    )
    said = done.stdout.splitlines()
    assert len(said) == 15, done.stdout
    for line in said[:5]:
        assert "someone/gated" in line
        assert line.endswith("accept its licence on the hub and log in with `hf auth login`")
    for line in said[5:10]:
        assert "someone/absent" in line
        assert "no such name on the hub" in line
    for line in said[10:]:
        assert "someone/forbidden" in line
        assert "the hub answers: 403 Forbidden: enable gated access" in line


def test_the_innermost_error_of_the_hub_decides() -> None:
    """As the hub's client raises them: what is not in the cache could not be had because a licence is not accepted."""
    refused = GatedRepoError("gated", response=MagicMock())
    missing, told = LocalEntryNotFoundError("not in the cache"), OSError("no file config.json")
    told.__cause__, missing.__cause__ = missing, refused
    assert why_not("someone/gated", told).startswith("accept its licence")
    missing.__cause__ = None
    assert "the hub cannot be reached" in why_not("someone/gated", told)


def test_unreachable_hub_is_reported() -> None:
    """All tests run with the hub switched off."""
    with pytest.raises(DiffcamError, match=r"cannot load transformer: no such folder.*hub cannot be reached") as error:
        load_flux_transformer("someone/not-in-the-cache")
    assert "\n" not in str(error.value)
