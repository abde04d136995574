"""DefocusTask: trains what tells how blurred a photo is where."""

from __future__ import annotations

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor
from torch.nn import functional as F

from diffcam.data.batch import RefocusBatch
from diffcam.functional.defocus_fit import of_radius, shares_of_radii
from diffcam.models.restoration import CELL, DefocusRemoval
from diffcam.tasks.restoration import RestorationTask

MEMORY = 0.99
"""Of the shares of radii from one batch to the next."""


class DefocusTask(RestorationTask):
    """Learns the blur radius of every cell from pictures whose cameras are known: all targets of a batch.

    Pictures are pieces of whole ones with a 512-pixel short side, so that levels are radii in pixels. Arguments are
    those of :class:`RestorationTask`.
    """

    def __init__(
        self,
        restoration: DefocusRemoval,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(restoration, optimizer, scheduler)
        self.restoration.stopping.requires_grad_(False)

    def radius(self, batch: RefocusBatch) -> Tensor:
        """True mean blur radius of each cell of each target, pixels, ``(B * branches, 1, h, w)``."""
        disparity_B1HW = batch.disparity.repeat_interleave(batch.targets.shape[1], 0)
        return F.avg_pool2d(batch.cameras.flatten().defocus(disparity_B1HW).abs(), CELL)

    def loss(self, batch: RefocusBatch, radius_B1hw: Tensor) -> Tensor:
        """Cross-entropy of each cell's true radius; one between two known ones is shared out between them."""
        pictures_B3HW = (batch.targets.flatten(0, 1) * 255).round() / 255  # what a file shows of them
        table_BKhw = self.restoration.logits(pictures_B3HW).log_softmax(dim=1)
        return -of_radius(table_BKhw, radius_B1hw, self.restoration.radii).mean()

    def training_step(self, batch: RefocusBatch, batch_idx: int) -> Tensor:
        """The loss of a batch, whose radii are counted."""
        radius_B1hw = self.radius(batch)
        shares_K = shares_of_radii(radius_B1hw, self.restoration.radii)
        self.restoration.shares.lerp_(shares_K, 1 - MEMORY)
        loss = self.loss(batch, radius_B1hw)
        self.log("train/loss", loss.detach(), batch_size=len(batch), prog_bar=True)
        return loss

    def validation_step(self, batch: RefocusBatch, batch_idx: int) -> None:
        """The loss of held-out samples."""
        self.log("val/loss", self.loss(batch, self.radius(batch)), batch_size=len(batch), prog_bar=True, sync_dist=True)
