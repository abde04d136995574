"""Runs that are killed and resumed, and runs of several processes, through the users' own config."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.tasks.conftest import Fit


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def _recorder(file: Path, kill_before: int | None = None) -> list[str]:
    options = ["--trainer.callbacks+", "tests.tasks.recorder.LossRecorder", "--trainer.callbacks.file", str(file)]
    return options if kill_before is None else [*options, "--trainer.callbacks.kill_before", str(kill_before)]


def _checkpoints(every: int, folder: Path) -> list[str]:
    return [
        "--trainer.callbacks+", "lightning.pytorch.callbacks.ModelCheckpoint",
        "--trainer.callbacks.dirpath", str(folder), "--trainer.callbacks.every_n_train_steps", str(every),
        "--trainer.callbacks.save_last", "true",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_resumed_losses_are_those_of_the_uninterrupted_run(fit: Fit, tmp_path: Path, workers: int) -> None:
    """SIGKILL in the middle, then ``--ckpt_path``: the same losses to the last bit, across the mixture's ramp."""
    mixture = [
        "--data.init_args.mixture", "diffcam.data.EqualThenLinear",
        "--data.init_args.mixture.init_args.equal_until", "1", "--data.init_args.mixture.init_args.linear_to", "6",
    ]  # fmt: skip
    common = ["--data.init_args.num_workers", str(workers), *mixture]
    whole = fit(*common, *_recorder(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr

    killed = fit(*common, *_checkpoints(2, tmp_path / "saved"), *_recorder(tmp_path / "killed", kill_before=3))
    assert killed.returncode == -signal.SIGKILL
    assert len(_lines(tmp_path / "killed.0")) == 3
    resumed = fit(*common, *_recorder(tmp_path / "resumed"), "--ckpt_path", str(tmp_path / "saved" / "last.ckpt"))
    assert resumed.returncode == 0, resumed.stderr

    expected = _lines(tmp_path / "whole.0")
    assert len(expected) == 6
    assert _lines(tmp_path / "killed.0") == expected[:3]
    assert _lines(tmp_path / "resumed.0") == expected[2:]


@pytest.mark.slow
def test_two_processes_see_disjoint_samples(fit: Fit, tmp_path: Path) -> None:
    """Gloo, two ranks: together they see what one process with twice the batch sees, and nothing twice."""
    one = fit("--data.init_args.batch_size", "4", *_recorder(tmp_path / "one"))
    assert one.returncode == 0, one.stderr
    two = fit(
        "--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp",
        *_recorder(tmp_path / "two"),
    )  # fmt: skip
    assert two.returncode == 0, two.stderr
    seen = [[line.split()[2:] for line in _lines(tmp_path / f"two.{rank}")] for rank in (0, 1)]
    for step, line in enumerate(_lines(tmp_path / "one.0")):
        assert set(seen[0][step]).isdisjoint(seen[1][step])
        assert sorted(seen[0][step] + seen[1][step]) == sorted(line.split()[2:])
