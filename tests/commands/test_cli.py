"""What the command line itself does, whatever the command."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys

import pytest

from diffcam.commands import cli


@pytest.mark.parametrize("printed", ["a line", "x" * 100_000])
def test_a_reader_that_has_enough_is_no_error(printed: str) -> None:
    """``| head`` closes the pipe, before what is printed or before what is still buffered at the end."""
    code = f"from diffcam.commands import cli; cli.run_diffcam = lambda: print({printed!r}) or 0; cli.main()"
    reading, writing = os.pipe()
    os.close(reading)
    finished = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )  # fmt: skip
    os.close(writing)
    assert (finished.stderr, finished.returncode) == ("", 141)


@pytest.mark.parametrize(
    ("command", "expected"), [("benchmark", "main"), ("fit", "lightning_main"), ("", "lightning_main")]
)
def test_the_module_knows_both_programs(monkeypatch: pytest.MonkeyPatch, command: str, expected: str) -> None:
    called = []
    for name in ("main", "lightning_main"):
        monkeypatch.setattr(cli, name, lambda name=name: called.append(name))
    monkeypatch.setattr(sys, "argv", ["diffcam", *command.split()])
    runpy.run_module("diffcam", run_name="__main__")
    assert called == [expected]
