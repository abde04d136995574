"""Runs of several processes under torchrun's own launcher, forked from a process that has imported everything once."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher import LaunchConfig, elastic_launch

from diffcam.commands.cli import train

IMPORTED = ["lightning.pytorch.cli", "diffcam.data.datamodule", "diffcam.tasks", "diffcam.callbacks", "diffcam.models"]


def torchrun(command: list[str], folder: Path, output: Path) -> None:
    """Run a ``lightning`` command line in two processes of this machine.

    Args:
        command: Without the program's name.
        folder: For the launcher's own files.
        output: Where the run writes; emptied if torch aborts and the run is made again.

    Raises:
        torch.distributed.elastic.multiprocessing.errors.ChildFailedError: With what went wrong in the first process
            that failed; the others are then ended.
    """
    multiprocessing.set_forkserver_preload(IMPORTED)
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, start_method="forkserver", max_restarts=0,
        logs_specs=DefaultLogsSpecs(str(folder)),
        rdzv_backend="c10d", rdzv_endpoint="localhost:0",  # a port that is free, found when it is bound
        local_addr="127.0.0.1",  # or it would look the machine's name up, which not every network answers
        signals_to_handle="SIGTERM",  # the test runner keeps its own for an interruption
    )  # fmt: skip
    try:
        elastic_launch(config, _train)(command)
    except ChildFailedError as error:
        # torch itself may free twice while it gathers sharded weights over gloo (docs/log.md): that says nothing of us.
        if all(failure.exitcode != -signal.SIGABRT for failure in error.failures.values()):
            raise
        shutil.rmtree(output)
        output.mkdir()
        elastic_launch(config, _train)(command)


def _train(command: list[str]) -> None:
    torch.set_num_threads(1)
    train(command)
