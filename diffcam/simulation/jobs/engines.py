"""Where jobs run. An engine gives back results as they are done, in any order; a job whose worker dies runs again."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Protocol, TypeVar

import torch

from diffcam.errors import DiffcamError, first_line

RETRIES = 3
"""How often a job is run again whose worker died."""

Job = TypeVar("Job")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a function over jobs."""

    def run(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """Results in the order in which they are done.

        Raises:
            DiffcamError: If workers keep dying.
        """


@dataclass
class LocalEngine:
    """Processes of this machine, one thread each.

    Args:
        workers: How many; one is this process itself.
        retries: How often a pool whose worker died is started again.
    """

    workers: int
    retries: int = RETRIES

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")

    def run(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """See :class:`Engine`."""
        if self.workers == 1:
            yield from (_with_one_thread(function, job) for job in jobs)
            return
        waiting = dict(enumerate(jobs))
        for _ in range(self.retries + 1):
            # A forked child would inherit the thread pools of torch and numba in an unusable state.
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(min(self.workers, max(1, len(waiting))), context, _start_worker)
            try:
                futures = {pool.submit(function, job): number for number, job in waiting.items()}
                while futures:
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        del waiting[futures.pop(future)]
                        yield result
                return
            except BrokenProcessPool:
                continue  # the jobs still waiting are given to a new pool
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        raise DiffcamError(
            f"simulation: worker processes died {self.retries + 1} times, perhaps for lack of memory; "
            "run with fewer --workers: what is done is kept"
        )


@dataclass
class RayEngine:
    """Tasks of a Ray cluster, one core each; photos, maps and the output must have the same paths on every node.

    A task whose worker or node dies is run again elsewhere. Shards are written whole or not at all and their bytes
    depend on the job alone, so that running one twice does no harm.

    Args:
        address: Of the cluster, such as ``auto`` or ``ray://host:10001``; None starts Ray on this machine.
    """

    address: str | None = None

    def run(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """See :class:`Engine`."""
        try:
            import ray
            from ray import exceptions
        except ImportError as error:
            raise DiffcamError("--engine ray needs the package ray: pip install ray") from error

        started = not ray.is_initialized()
        if started:
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as error:
                message = f"--address {self.address}: no Ray cluster answers there ({first_line(error)})"
                raise DiffcamError(message) from error
        try:
            task: Any = ray.remote(num_cpus=1, max_retries=RETRIES)(_with_one_thread)
            waiting = [task.remote(function, job) for job in jobs]
            while waiting:
                done, waiting = ray.wait(waiting)
                yield ray.get(done[0])
        except (exceptions.RaySystemError, exceptions.WorkerCrashedError, exceptions.NodeDiedError) as error:
            failed = isinstance(error, exceptions.RaySystemError)
            what = f"the Ray cluster failed ({error})" if failed else f"a job's worker died {RETRIES + 1} times"
            raise DiffcamError(f"simulation: {what}; run again: what is done is kept") from error
        finally:
            if started:
                ray.shutdown()


def _with_one_thread(function: Callable[[Job], Result], job: Job) -> Result:
    """Run a job as every engine does, so that sums have one order; the caller's setting is put back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function(job)
    finally:
        torch.set_num_threads(threads)


def _start_worker() -> None:
    """Use one thread, and end with the parent even if that one is killed."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a child process"

    def end_with_parent() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
