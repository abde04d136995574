"""Runs that are killed and resumed see what an uninterrupted run sees."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).with_name("recorder.py")


@pytest.fixture(scope="module")
def recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recorder", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expected(recorder: ModuleType, shards: str, batch_size: int = 3, batches: int = 12) -> list[str]:
    """What one process without workers and without a trainer is given."""
    data = recorder.data_module(shards, 0, batch_size, None)
    data.setup("fit")
    return [recorder.describe(batch) for batch in islice(data.train_dataloader(), batches)]


def run(folder: Path, shards: str, *arguments: str) -> int:
    command = [sys.executable, str(PROGRAM), "--shards", shards, "--folder", str(folder), *arguments]
    return subprocess.run(command, check=False, timeout=300).returncode


def record(folder: Path, rank: int = 0) -> list[tuple[int, str]]:
    lines = (folder / f"record.{rank}").read_text().splitlines()
    return [(int(step), batch) for step, batch in (line.split(" ", 1) for line in lines)]


def indices(line: str) -> list[int]:
    return json.loads(line[: line.index("]") + 1])


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "samples_per_epoch"), [(0, None), (2, 15)])
def test_killed_run_resumes_exactly_across_the_ramp(
    recorder: ModuleType, mixed_shards: str, tmp_path: Path, workers: int, samples_per_epoch: int | None
) -> None:
    arguments = ["--workers", str(workers)]
    if samples_per_epoch is not None:
        arguments += ["--samples-per-epoch", str(samples_per_epoch)]
    assert run(tmp_path, mixed_shards, *arguments, "--kill-at", "5") == -signal.SIGKILL
    killed = record(tmp_path)
    assert run(tmp_path, mixed_shards, *arguments, "--resume") == 0
    resumed = record(tmp_path)[len(killed) :]

    uninterrupted = list(enumerate(expected(recorder, mixed_shards)))
    assert killed == uninterrupted[:5]
    assert resumed == uninterrupted[4:]  # step 4 was done, and lost, after the last checkpoint


@pytest.mark.slow
def test_two_processes_share_the_samples_of_one(recorder: ModuleType, mixed_shards: str, tmp_path: Path) -> None:
    assert run(tmp_path, mixed_shards, "--batch-size", "2", "--devices", "2", "--steps", "6") == 0
    ranks = [[indices(line) for _, line in record(tmp_path, rank)] for rank in (0, 1)]
    single = [indices(line) for line in expected(recorder, mixed_shards, 4, 6)]
    assert [one + other for one, other in zip(*ranks, strict=True)] == single
