"""Loaders: an endless one for training that goes on where training stands, and what all worker processes share."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from diffcam.data.batch import RefocusBatch, RefocusSample, collate
from diffcam.errors import DiffcamError

logger = logging.getLogger(__name__)


class SampleLoader(DataLoader[RefocusSample]):
    """A ``DataLoader`` of batches; a :class:`DiffcamError` in a worker arrives as the one line it was raised with."""

    def __iter__(self) -> Iterator[RefocusBatch]:  # type: ignore[override]
        batches = super().__iter__()
        with _one_line_errors():
            yield from batches


class StreamLoader:
    """Training batches without end: whoever iterates gets the batch after the last one trained on.

    Batch ``k`` of rank ``r`` holds the samples ``k G + r B`` to ``k G + (r + 1) B - 1`` with ``G = world_size B``, so
    that the ranks together see what one process with batches of G would see. How far training stands is asked for, not
    remembered: whatever was prefetched and not used is forgotten with the process. An iterator that stands at the
    right place already, as at the end of an epoch, is kept with its workers.

    Args:
        dataset: Samples by global index.
        batch_size: Samples a batch of one rank, B.
        length: Batches that are called an epoch.
        position: How many batches each rank has trained on.
        identity: What the order of samples depends on; a run that is resumed with another is warned.
        rank: This process.
        world_size: Number of processes.
        options: Further arguments of ``DataLoader``, see :func:`worker_options`.
    """

    def __init__(
        self,
        dataset: Dataset[RefocusSample],
        batch_size: int,
        length: int,
        position: Callable[[], int],
        identity: Mapping[str, int | str],
        rank: int = 0,
        world_size: int = 1,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._dataset = dataset
        self._batch_size = batch_size
        self._length = length
        self._position = position
        self._identity = dict(identity)
        self._rank = rank
        self._world_size = world_size
        self._options = dict(options or {})
        # Lightning looks for a multiprocess iterator under this name when it shuts workers down.
        self._iterator: Iterator[RefocusBatch] | None = None
        self._next_batch = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> StreamLoader:
        position = self._position()
        if self._iterator is None or self._next_batch != position:
            batches = _BatchIndices(position, self._batch_size, self._rank, self._world_size)
            loader: DataLoader[RefocusSample] = DataLoader(
                self._dataset, batch_sampler=batches, collate_fn=collate, **self._options
            )
            self._iterator = iter(loader)
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
        """What the order of samples depends on, for the checkpoint."""
        return dict(self._identity)

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Compare with a checkpoint's; a difference is warned of."""
        changed = [name for name, value in self._identity.items() if state.get(name) != value]
        if changed:
            logger.warning(
                "the training data's %s differ from the interrupted run's: the order of samples will too, "
                "so that some scenes may come twice or not at all in this epoch",
                ", ".join(changed),
            )


class _BatchIndices(Sampler[list[int]]):
    """Sample indices of one rank's batches, from some batch on, without end."""

    def __init__(self, first: int, batch_size: int, rank: int, world_size: int) -> None:
        self._first = first
        self._batch_size = batch_size
        self._rank = rank
        self._world_size = world_size

    def __iter__(self) -> Iterator[list[int]]:
        number = self._first
        while True:
            start = (number * self._world_size + self._rank) * self._batch_size
            yield list(range(start, start + self._batch_size))
            number += 1


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
