"""StoppingTask: trains what tells how far to deconvolve where."""

from __future__ import annotations

import torch
from torch import Tensor

from diffcam.data.batch import RefocusBatch
from diffcam.tasks.restoration import RestorationTask

ERROR_FLOOR = 1e-5
"""Added to mean squared errors before their logarithm: 50 dB is as good as perfect."""


class StoppingTask(RestorationTask):
    """Learns from blurred pictures of scenes, the first target of each sample, how near the original each stage comes.

    References must be all-in-focus originals. The network that estimates radii stays as it is. Arguments are those of
    :class:`RestorationTask`.
    """

    trains_stopping = True

    def loss(self, batch: RefocusBatch) -> tuple[Tensor, Tensor]:
        """Mean logarithm of the pictures' squared errors after and before: decibels count alike at every blur."""
        pictures_B3HW = (batch.targets[:, 0] * 255).round() / 255  # what a file shows of them
        stages = self.restoration.stages(pictures_B3HW, batch.disparity)
        errors = (
            (image - batch.reference).square().mean((1, 2, 3))
            for image in (self.restoration.stop(stages), pictures_B3HW)
        )
        after, before = ((error_B + ERROR_FLOOR).log().mean() for error_B in errors)
        return after, before

    def training_step(self, batch: RefocusBatch, batch_idx: int) -> Tensor:
        """The loss of a batch, beside that of leaving the pictures as they are."""
        after, before = self.loss(batch)
        gained = 10 * (before - after.detach()) / torch.log(torch.tensor(10.0))
        self.log_dict({"train/loss": after.detach(), "train/gained_db": gained}, batch_size=len(batch), prog_bar=True)
        return after

    def validation_step(self, batch: RefocusBatch, batch_idx: int) -> None:
        """The loss of held-out samples."""
        self.log("val/loss", self.loss(batch)[0], batch_size=len(batch), prog_bar=True, sync_dist=True)
