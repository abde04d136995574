from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import skimage
from PIL import Image

ROOT = Path(__file__).parents[2]

Fit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Runs ``python -m diffcam fit`` on the users' own config, made small, in a process of its own."""

    def run(*arguments: str, config: str = "refocus.yaml", command: str = "fit") -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "outputs"
        options: Sequence[str] = (
            "--config", str(ROOT / "configs" / config), "--config", str(ROOT / "tests" / "small.yaml"),
            "--trainer.logger.init_args.save_dir", str(folder), "--trainer.default_root_dir", str(folder),
            "--trainer.enable_progress_bar", "false",
        )  # fmt: skip
        command_line = [sys.executable, "-m", "diffcam", command, *options, *arguments]
        printed = tmp_path / "printed"
        with printed.open("w") as file:  # no pipe: loading processes outlive a killed run and would hold it open
            process = subprocess.Popen(
                command_line, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
            try:
                status = process.wait(timeout=600)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return subprocess.CompletedProcess(command_line, status, stderr=printed.read_text())

    return run


@pytest.fixture
def sharp_photos(tmp_path: Path) -> Path:
    """A folder of two photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(skimage.data, name)()[:300, :300]).save(folder / f"{name}.png")
    return folder
