"""Engines give every result once, and run a job again whose worker was killed."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from diffcam.errors import DiffcamError
from diffcam.simulation.jobs.engines import LocalEngine


def square(number: int) -> int:
    return number * number


def die_once(folder: Path, number: int) -> int:
    """Kill the own process, as the system does when memory runs out, the first time that job 2 runs."""
    mark = folder / "died"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_result_once(workers) -> None:
    assert sorted(LocalEngine(workers).run(square, range(7))) == [number**2 for number in range(7)]
    assert list(LocalEngine(workers).run(square, [])) == []


@pytest.mark.slow
def test_a_killed_workers_jobs_run_again(tmp_path: Path) -> None:
    assert sorted(LocalEngine(2).run(partial(die_once, tmp_path), range(5))) == list(range(5))
    assert (tmp_path / "died").exists()


@pytest.mark.slow
def test_workers_that_keep_dying_are_reported() -> None:
    with pytest.raises(DiffcamError, match=r"died 2 times.*--workers"):
        list(LocalEngine(2, retries=1).run(die, range(3)))


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LocalEngine(0)
