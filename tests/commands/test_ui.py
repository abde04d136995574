from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from diffcam.commands.cli import run_diffcam
from diffcam.errors import DiffcamError


@pytest.mark.slow
def test_serves_until_interrupted(model_folder: Path) -> None:
    command = [sys.executable, "-c", "from diffcam.commands.cli import main; main()"]
    command += ["ui", "--model", str(model_folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        announced = next(line for line in process.stdout if line.startswith("diffcam is at "))
        with urllib.request.urlopen(announced.split()[3], timeout=30) as page:
            assert b"<title>diffcam</title>" in page.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
        assert "Traceback" not in process.communicate()[1]
    finally:
        process.kill()
        process.wait()


def test_options_are_checked_before_the_model_is_loaded() -> None:
    with pytest.raises(DiffcamError, match="--max-upload 0"):
        run_diffcam(["ui", "--model", "no-such-model", "--max-upload", "0"])
