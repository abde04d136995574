"""Image editing through the official client, against a local server that speaks the API."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from PIL import Image

from diffcam.benchmark import ImageEditing, NotAvailableError, read_results, run_method
from diffcam.benchmark.image_editing import fit_frame, prompt
from diffcam.benchmark.setup import read_setup
from diffcam.camera import Camera
from diffcam.commands.benchmark import DEFAULT_SETUP
from diffcam.errors import DiffcamError
from diffcam.metrics import MAE

ROOT = Path(__file__).parents[2]


class Server:
    """Answers with the inverted picture; ``failures`` says what to answer instead, request by request."""

    def __init__(self) -> None:
        self.requests: list[dict[str, bytes]] = []
        self.failures: list[int | str | None] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                parts = BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
                fields = {
                    part.get_param("name", header="Content-Disposition"): part.get_payload(decode=True)
                    for part in parts
                }
                server.requests.append(fields | {"path": self.path.encode()})
                failure = server.failures.pop(0) if server.failures else None
                picture = Image.open(io.BytesIO(fields["image"])).point(lambda value: 255 - value)
                file = io.BytesIO()
                picture.save(file, format="PNG")
                image = "bm8gcGljdHVyZQ==" if failure == "no picture" else base64.b64encode(file.getvalue()).decode()
                answer = {"created": 0, "data": [{"b64_json": image}]}
                if isinstance(failure, int):
                    answer = {"error": {"message": "the server is busy", "type": "server_error"}}
                content = json.dumps(answer).encode()
                self.send_response(failure if isinstance(failure, int) else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def test_output_has_the_references_frame(server, edition, tmp_path) -> None:
    method = ImageEditing(base_url=server.url)
    method.prepare(tmp_path)
    sample = edition[2]
    output = method(sample)
    assert output.shape == sample.reference.shape
    assert float((output - (1 - sample.reference)).abs().mean()) < 0.02, "resized there and back"
    request = server.requests[0]
    assert request["path"] == b"/v1/images/edits"
    assert request["model"] == b"gpt-image-1"
    assert request["size"] == b"1024x1024"
    assert request["prompt"].decode() == prompt("add_bokeh", sample.cameras[0])
    assert Image.open(io.BytesIO(request["image"])).size == (1024, 1024)


def test_budget_holds_over_runs(server, edition, tmp_path) -> None:
    def run() -> dict[str, str]:
        method = ImageEditing(base_url=server.url, share=1.0, budget=0.25, price=0.1)
        return run_method("editor", method, edition, [MAE()], tmp_path).record["failures"]

    failures = run()
    assert len(server.requests) == 2, "a third one would pass the budget"
    assert len(failures) == 18
    assert "budget of 0.25 USD is spent (0.2 USD)" in failures["2"]
    run()
    assert len(server.requests) == 2


def test_an_api_failure_in_the_middle_keeps_what_is_finished(server, edition, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(ImageEditing, "selects", lambda self, number, subtask: number < 4)
    server.failures = [None, 400, "no picture"]
    results = run_method("editor", ImageEditing(base_url=server.url, budget=100), edition, [MAE()], tmp_path)
    assert sorted(results.rows) == [0, 3]
    assert "the server is busy" in results.record["failures"]["1"]
    assert "without a picture" in results.record["failures"]["2"]
    assert len(server.requests) == 4
    results = run_method("editor", ImageEditing(base_url=server.url), edition, [MAE()], tmp_path)
    assert sorted(results.rows) == [0, 1, 2, 3], "another budget does not make other results"
    assert len(server.requests) == 6


def test_dry_run_sends_nothing(edition, tmp_path) -> None:
    method = ImageEditing(share=1.0, dry_run=True)
    results = run_method("editor", method, edition, [MAE()], tmp_path)
    assert results.rows == {}
    assert "nothing was sent" in results.record["failures"]["0"]
    assert results.record["note"].endswith("100% of the samples; dry run: 20 requests, 0.80 USD")
    run_method("editor", method, edition, [MAE()], tmp_path)
    assert results.record["note"] == read_results(tmp_path)["editor"].record["note"]
    method.selects = lambda number, subtask: number == 3
    run_method("one", method, edition, [MAE()], tmp_path)
    assert method.note.endswith("dry run: 1 request, 0.04 USD")
    lines = (tmp_path / "editor" / "prompts.txt").read_text().splitlines()
    assert len(lines) == 20
    assert lines[2] == f"2\t{prompt('add_bokeh', edition[2].cameras[0])}"


def test_results_of_another_server_are_refused(server, edition, tmp_path, monkeypatch) -> None:
    """Named in the config or in the environment, which the client reads by itself."""
    monkeypatch.setattr(ImageEditing, "selects", lambda self, number, subtask: number < 1)
    results = run_method("editor", ImageEditing(base_url=server.url), edition, [MAE()], tmp_path)
    assert sorted(results.rows) == [0]
    assert results.record["note"].startswith(f"gpt-image-1 at {server.url}, ")
    with pytest.raises(DiffcamError, match="results with another method"):
        run_method("editor", ImageEditing(), edition, [MAE()], tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert sorted(run_method("editor", ImageEditing(), edition, [MAE()], tmp_path).rows) == [0]
    assert len(server.requests) == 1


def test_the_config_of_the_docs(tmp_path) -> None:
    text = (ROOT / "docs" / "benchmark.md").read_text()
    (snippet,) = (block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "ImageEditing" in block)
    path = tmp_path / "editor.yaml"
    path.write_text(snippet)
    setup = read_setup(DEFAULT_SETUP, path)
    method = setup.methods["gpt-image"]
    assert method.dry_run, "as it stands there it costs nothing"
    edition = setup.edition([str(ROOT / "data_shards" / "open-benchmark-*.tar")], None, "exact")
    asked = sum(method.selects(n, "") for scene in edition.scenes() for n in scene.numbers)
    assert f"{asked} requests, {asked * method.price:.2f} USD" in text


def test_without_a_key(monkeypatch, tmp_path) -> None:
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(NotAvailableError, match="api_key"):
        ImageEditing().prepare(tmp_path)


def test_share_is_a_fixed_choice() -> None:
    method = ImageEditing(share=0.05)
    chosen = [number for number in range(4000) if method.selects(number, "refocus")]
    assert len(chosen) == pytest.approx(200, abs=45)
    assert chosen == [number for number in range(4000) if ImageEditing(share=0.05).selects(number, "add_bokeh")]
    assert set(chosen) <= {number for number in range(4000) if ImageEditing(share=0.1).selects(number, "refocus")}


def test_share_and_prices_are_checked() -> None:
    with pytest.raises(ValueError, match="share must lie in"):
        ImageEditing(share=0)
    with pytest.raises(ValueError, match="must not be negative"):
        ImageEditing(budget=-1)


def test_prompts_name_the_place_and_the_strength() -> None:
    text = prompt("refocus", Camera((0.42, 0.61), 18))
    assert "42% of the width" in text
    assert "61% of the height" in text
    assert "very strong" in text
    assert "slight" in prompt("add_bokeh", Camera((0.5, 0.5), 2))
    assert "Remove all defocus blur" in prompt("remove_bokeh", Camera((0.5, 0.5), 0))


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (100, 100), (400, 100)])
def test_frame(size) -> None:
    picture = Image.new("RGB", size, (10, 200, 30))
    frame, box = fit_frame(picture, (1536, 1024))
    assert frame.size == (1536, 1024)
    inside = frame.crop(box)
    assert inside.width / inside.height == pytest.approx(size[0] / size[1], rel=0.01)
    assert torch.tensor(inside.getextrema()).tolist() == [[10, 10], [200, 200], [30, 30]]


def test_a_missing_budget_is_not_a_failure_of_the_method(edition, tmp_path) -> None:
    method = ImageEditing(share=1.0, budget=0.0)
    method._folder = tmp_path
    with pytest.raises(DiffcamError, match="budget of 0 USD is spent"):
        method(edition[0])
