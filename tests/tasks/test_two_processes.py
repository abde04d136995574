"""``lightning test`` on the packaged model: two processes (gloo) write and print the table of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffcam.metrics import read_rows

ROOT = Path(__file__).parents[2]


def _test(folder: Path, devices: int) -> str:
    options = {
        "--config": str(ROOT / "configs" / "refocus.yaml"),
        "--model.init_args.weights": "diffcam-tiny",
        "--model.init_args.steps": "1",
        "--data.init_args.test": f"[{ROOT / 'data_shards' / 'heldout-stereo-*.tar'}]",
        "--data.init_args.resolution": "96",
        "--data.init_args.piece": "null",
        "--trainer.accelerator": "cpu",
        "--trainer.devices": str(devices),
        "--trainer.strategy": "ddp" if devices > 1 else "auto",
        "--trainer.enable_progress_bar": "false",
        "--trainer.logger": "false",
        "--trainer.default_root_dir": str(folder),
    }
    command = [sys.executable, "-m", "diffcam", "test", *(part for pair in options.items() for part in pair)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout[finished.stdout.index("Test on") : finished.stdout.index("Rows of every sample")]


@pytest.mark.slow
def test_two_processes_give_the_table_of_one(tmp_path: Path) -> None:
    one, two = (_test(tmp_path / str(devices), devices) for devices in (1, 2))
    assert one == two
    assert "LVCorr" in one
    rows = [(tmp_path / name / "samples.csv").read_bytes() for name in ("1", "2")]
    assert rows[0] == rows[1]
    methods = [row.method for row in read_rows(tmp_path / "2" / "samples.csv")]
    assert {name: methods.count(name) for name in methods} == dict.fromkeys(("model", "copy", "ground truth"), 10)
