"""Loaders: an endless one for training that continues at the trainer's batch count, and options of worker processes."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from diffcam.data.batch import RefocusBatch, RefocusSample, collate
from diffcam.errors import DiffcamError

logger = logging.getLogger(__name__)


class SampleLoader(DataLoader[RefocusSample]):
    """A ``DataLoader`` of batches; a :class:`DiffcamError` in a worker arrives as the one line it was raised with."""

    def __iter__(self) -> Iterator[RefocusBatch]:  # type: ignore[override]
        batches = super().__iter__()
        with _one_line_errors():
            yield from batches


@dataclass(eq=False)
class StreamLoader:
    """Training batches without end, starting with the batch after the last one trained on.

    Batch ``k`` of rank ``r`` holds the samples ``k G + r B`` to ``k G + (r + 1) B - 1`` with ``G = world_size B``, so
    that the ranks together see what one process with batches of G would see. The loader keeps no state of its own: each
    iteration asks ``position``, and prefetched batches that were not trained on are dropped. An iterator that is at the
    right position already, as at the end of an epoch, is reused with its workers.

    Args:
        dataset: Samples by global index.
        batch_size: Samples a batch of one rank, B.
        length: Batches that are called an epoch.
        position: Returns the number of batches that each rank has trained on.
        identity: Settings that the order of samples depends on; resuming with others logs a warning.
        rank: Of this process.
        world_size: Number of processes.
        options: Further arguments of ``DataLoader``, see :func:`worker_options`.
    """

    dataset: Dataset[RefocusSample]
    batch_size: int
    length: int
    position: Callable[[], int]
    identity: Mapping[str, int | str]
    rank: int = 0
    world_size: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Lightning looks for a multiprocess iterator under this name when it shuts workers down.
        self._iterator: Iterator[RefocusBatch] | None = None
        self._next_batch = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> StreamLoader:
        position = self.position()
        if self._iterator is None or self._next_batch != position:
            first = (position * self.world_size + self.rank) * self.batch_size
            starts = itertools.count(first, self.world_size * self.batch_size)
            batches = (list(range(start, start + self.batch_size)) for start in starts)
            self._iterator = iter(DataLoader(self.dataset, batch_sampler=batches, collate_fn=collate, **self.options))
            self._next_batch = position
        return self

    def __next__(self) -> RefocusBatch:
        if self._iterator is None:
            iter(self)
        assert self._iterator is not None
        with _one_line_errors():
            batch = next(self._iterator)
        self._next_batch += 1
        return batch

    def state_dict(self) -> dict[str, int | str]:
        """Settings that the order of samples depends on, for the checkpoint."""
        return dict(self.identity)

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Compare the settings with a checkpoint's and log a warning where they differ."""
        changed = [name for name, value in self.identity.items() if state.get(name) != value]
        if changed:
            logger.warning(
                "the training data's %s differ from the interrupted run's: the order of samples will too, "
                "so that some scenes may come twice or not at all in this epoch",
                ", ".join(changed),
            )


def worker_options(num_workers: int, start_method: str = "forkserver") -> dict[str, Any]:
    """Arguments of ``DataLoader`` about worker processes.

    Args:
        num_workers: Number of processes; 0 loads in the training process.
        start_method: ``forkserver`` and ``spawn`` start clean processes. ``fork`` copies this one, with thread pools
            that do not survive it: once the renderer has run here in parallel, workers die.
    """
    options: dict[str, Any] = {"num_workers": num_workers, "pin_memory": torch.cuda.is_available()}
    if num_workers == 0:
        return options
    context = multiprocessing.get_context(start_method)
    # What workers need is imported once, in the server that they are forked from.
    context.set_forkserver_preload(["__main__", "diffcam.data.training", "diffcam.data.evaluation"])
    return options | {"multiprocessing_context": context}


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except DiffcamError as error:  # from a worker it comes with the worker's trace; its own line is the last
        line = str(error).splitlines()[-1]
        raise DiffcamError(line.removeprefix(f"{DiffcamError.__module__}.{DiffcamError.__qualname__}: ")) from error
