from __future__ import annotations

import logging
from itertools import islice

import pytest
import torch
from torch.utils.data import Dataset

from diffcam.camera import Camera
from diffcam.data import RefocusSample, collate
from diffcam.data.loader import SampleLoader, StreamLoader, worker_options
from diffcam.errors import DiffcamError


class Numbers(Dataset[RefocusSample]):
    """Pictures of their index, one of them bad."""

    def __init__(self, bad: int = -1) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> RefocusSample:
        if index == self.bad:
            raise DiffcamError("a.tar: 000003.json: bad")
        image = torch.full((3, 2, 2), index / 100)
        return RefocusSample(image, image[None], image[:1], (Camera((0, 0), 1),), index, "s", "train", "layered")


class Training:
    """Stands in for the trainer: how many batches have been trained on."""

    def __init__(self, done: int = 0) -> None:
        self.done = done

    def run(self, loader: StreamLoader, batches: int) -> list[list[int]]:
        seen = []
        for batch in islice(loader, batches):
            seen.append(batch.index.tolist())
            self.done += 1
        return seen


def make_loader(training: Training, rank: int = 0, world_size: int = 1, batch_size: int = 2, **options) -> StreamLoader:
    return StreamLoader(
        Numbers(), batch_size, 3, lambda: training.done, {"seed": 1}, rank, world_size, options | worker_options(0)
    )


def test_stream_continues_at_the_trained_batch_count() -> None:
    training = Training()
    loader = make_loader(training)
    assert len(loader) == 3
    assert training.run(loader, 3) == [[0, 1], [2, 3], [4, 5]]
    iterator = loader._iterator
    assert training.run(loader, 2) == [[6, 7], [8, 9]]
    assert loader._iterator is iterator  # an epoch's end costs nothing
    assert training.run(make_loader(training), 1) == [[10, 11]]
    assert training.run(make_loader(Training(100)), 1) == [[200, 201]]


def test_prefetched_batches_that_were_not_trained_on_are_repeated() -> None:
    training = Training()
    loader = make_loader(training)
    training.run(loader, 2)
    next(loader)
    assert training.run(loader, 1) == [[4, 5]]


def test_ranks_share_the_samples_of_one_process() -> None:
    single = Training().run(make_loader(Training(), batch_size=6), 4)
    ranks = [Training().run(make_loader(Training(), rank, 3), 4) for rank in range(3)]
    assert [one + two + three for one, two, three in zip(*ranks, strict=True)] == single


def test_changed_order_logs_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    loader = make_loader(Training())
    with caplog.at_level(logging.WARNING):
        loader.load_state_dict(loader.state_dict())
        assert caplog.text == ""
        loader.load_state_dict({"seed": 2})
    assert "training data's seed differ from the interrupted run's" in caplog.text


def test_worker_options_start_clean_processes() -> None:
    assert worker_options(0) == {"num_workers": 0, "pin_memory": torch.cuda.is_available()}
    assert worker_options(2)["multiprocessing_context"].get_start_method() == "forkserver"
    with pytest.raises(ValueError, match="no such thing"):
        worker_options(2, "no such thing")


@pytest.mark.slow
def test_worker_errors_are_one_line() -> None:
    line = r"^a\.tar: 000003\.json: bad$"
    options = worker_options(1)
    training = Training()
    stream = StreamLoader(Numbers(bad=3), 2, 3, lambda: training.done, {}, options=options)
    with pytest.raises(DiffcamError, match=line):
        training.run(stream, 3)
    assert training.done == 1
    with pytest.raises(DiffcamError, match=line):
        list(SampleLoader(Numbers(bad=3), 2, collate_fn=collate, **options))
    with pytest.raises(DiffcamError, match=line):
        list(SampleLoader(Numbers(bad=3), 2, collate_fn=collate))
