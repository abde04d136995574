"""LensPairData: pairs that what finds and what undoes a photo's own blur are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning
from torch.utils.data import DataLoader, Sampler

from diffcam.data.loader import worker_options
from diffcam.simulation.lens_pairs import LensPair, LensPairs
from diffcam.simulation.textures.photos import PhotoFolder, list_photos


class LensPairData(lightning.LightningDataModule):
    """Endless batches of :class:`LensPairs`; a resumed run goes on where its checkpoint stopped.

    Args:
        photos: Folders of photos that surfaces are cut from.
        short_side: Photos with a longer short side are shrunk to this many pixels.
        side: Of the square pictures in pixels.
        largest_radius: Pixels.
        sharp_share: Share of the pairs in which nothing is blurred.
        batch_size: Pairs a batch of one process.
        num_workers: Loading processes; 0 makes pairs in the training process.
        steps_per_epoch: Batches that are called an epoch.
        seed: Of the pairs.
    """

    def __init__(
        self,
        photos: Sequence[str],
        short_side: int = 1024,
        side: int = 128,
        largest_radius: float = 20.0,
        sharp_share: float = 0.0,
        batch_size: int = 8,
        num_workers: int = 1,
        steps_per_epoch: int = 100_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.photos = list(photos)
        self.short_side = short_side
        self.pair_options: dict[str, Any] = {
            "side": side,
            "largest_radius": largest_radius,
            "sharp_share": sharp_share,
            "seed": seed,
        }
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.steps_per_epoch = steps_per_epoch

    def train_dataloader(self) -> DataLoader[LensPair]:
        """Batches from the trainer's own count of processed ones on."""
        trainer: Any = self.trainer
        paths = tuple(path for folder in self.photos for path in list_photos(folder))
        textures = PhotoFolder(Path(self.photos[0]), paths, self.short_side)
        order = _PairOrder(
            first=int(trainer.fit_loop.epoch_loop.batch_progress.total.processed) * self.batch_size,
            count=self.steps_per_epoch * self.batch_size,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        # Forked after the photos were opened, so that processes share them.
        options = worker_options(self.num_workers, "fork")
        return DataLoader(LensPairs(textures, **self.pair_options), self.batch_size, sampler=order, **options)


class _PairOrder(Sampler[int]):
    """Numbers of the pairs of one process."""

    def __init__(self, first: int, count: int, rank: int, world_size: int) -> None:
        self.first, self.count, self.rank, self.world_size = first, count, rank, world_size

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        start = self.first * self.world_size + self.rank
        return iter(range(start, start + self.count * self.world_size, self.world_size))
