from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

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
        return subprocess.run(
            [sys.executable, "-m", "diffcam", command, *options, *arguments],
            cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600,
        )  # fmt: skip

    return run
