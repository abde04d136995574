"""A method that runs as another program, in an environment of its own: Genfocus, Bokeh Diffusion, anything.

The program is started once and is told on its standard input, one line a sample, the folder of a request. It writes
``output.png`` into that folder and answers on its standard output with the line ``done``, or ``failed`` and a reason.
What else it prints goes to its standard error, which is kept in ``log.txt``. When its input ends, it ends.

A request's folder holds

- ``reference.png``: the picture to refocus, 8-bit RGB;
- ``disparity.png``: 16-bit grey, 0 farthest, 65535 nearest;
- ``request.json``: ``focus`` (fractions of width and height), ``bokeh`` (level: blur radius in pixels per unit of
  disparity at a 512-pixel short side), ``radius`` (the same in pixels of this picture), ``focus_disparity``,
  ``width``, ``height`` and ``subtask``.

A program for this protocol is a loop::

    for line in sys.stdin:
        folder = pathlib.Path(line.strip())
        request = json.loads((folder / "request.json").read_text())
        refocus(folder / "reference.png", request["focus"], request["bokeh"]).save(folder / "output.png")
        print("done", flush=True)
"""

from __future__ import annotations

import json
import queue
import shlex
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from torch import Tensor

from diffcam.benchmark.methods import Method, NotAvailableError
from diffcam.camera import focus_pixel
from diffcam.data.batch import RefocusSample
from diffcam.errors import DiffcamError, refusal
from diffcam.photo.pixels import from_picture, to_picture


class External(Method):
    """Asks another program, see the module's text for the protocol.

    Args:
        command: The program and its arguments.
        timeout: Seconds to wait for an answer; the first sample includes loading.
        subtasks: The sub-tasks that the program knows; empty: all.
    """

    parallel = False
    without_effect = ("timeout", "subtasks")

    def __init__(self, command: str, timeout: float = 600.0, subtasks: Sequence[str] = ()) -> None:
        self.command = command
        self.timeout = timeout
        self.subtasks = tuple(subtasks)
        self._folder = Path()
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()

    def prepare(self, folder: Path) -> None:
        """Start the program; requests go to this folder."""
        self._folder = folder
        self._start()

    def selects(self, number: int, subtask: str) -> bool:
        """Samples of the sub-tasks that the program knows."""
        return not self.subtasks or subtask in self.subtasks

    def __call__(self, sample: RefocusSample) -> Tensor:
        """The program's answer; it is started anew where it ended."""
        request = self._folder / "requests" / f"{sample.index:06d}"
        write_request(request, sample)
        process = self._process if self._process is not None else self._start()
        assert process.stdin is not None
        log = self._folder / "log.txt"
        try:
            process.stdin.write(f"{request.resolve()}\n")
            process.stdin.flush()
            answer = self._answers.get(timeout=self.timeout)
        except (OSError, queue.Empty) as error:
            process.kill()
            self.close()
            waited = f"no answer in {self.timeout:g} s" if isinstance(error, queue.Empty) else "ended"
            raise DiffcamError(f"{self._name}: {waited}; see {log}") from error
        if answer is None:
            self.close()
            raise DiffcamError(f"{self._name}: ended without an answer; see {log}")
        output = request / "output.png"
        if answer != "done":
            raise DiffcamError(f"{self._name}: {answer.removeprefix('failed').strip() or 'failed without a reason'}")
        if not output.is_file():
            raise DiffcamError(f"{self._name}: answered done but wrote no {output}")
        try:
            with Image.open(output) as picture:
                return from_picture(picture)
        except OSError as error:
            raise DiffcamError(f"{self._name}: {output} is no whole picture") from error

    def close(self) -> None:
        """End the program."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def _name(self) -> str:
        return Path(shlex.split(self.command)[0]).name

    def _start(self) -> subprocess.Popen[str]:
        log = open(self._folder / "log.txt", "a", encoding="utf-8")  # noqa: SIM115 - the program writes to it
        try:
            self._process = subprocess.Popen(
                shlex.split(self.command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        except OSError as error:
            raise NotAvailableError(f"cannot start {self._name}: {refusal(error)}") from error
        finally:
            log.close()
        assert self._process.stdout is not None
        self._answers = queue.Queue()
        threading.Thread(target=_listen, args=(self._process.stdout, self._answers), daemon=True).start()
        return self._process


def write_request(folder: Path, sample: RefocusSample) -> None:
    """Write a sample as a request's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "output.png").unlink(missing_ok=True)
    camera = sample.cameras[0]
    height, width = sample.reference.shape[1:]
    row, column = focus_pixel(camera.focus, height, width)
    to_picture(sample.reference).save(folder / "reference.png")
    levels = np.rint(sample.disparity[0].numpy().astype(np.float64) * 65535).astype(np.uint16)
    Image.fromarray(levels).save(folder / "disparity.png")
    request = {
        "focus": list(camera.focus),
        "bokeh": camera.bokeh,
        "radius": camera.radius_per_disparity(height, width),
        "focus_disparity": float(sample.disparity[0, row, column]),
        "width": width,
        "height": height,
        "subtask": sample.subtask,
    }
    (folder / "request.json").write_text(json.dumps(request, indent=1), encoding="utf-8")


def _listen(stream: IO[str], answers: queue.Queue[str | None]) -> None:
    for line in stream:
        answers.put(line.strip())
    answers.put(None)
