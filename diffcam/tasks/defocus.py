"""DefocusTask: trains what tells how blurred a photo is where."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.nn import functional as F

from diffcam.data.batch import RefocusBatch
from diffcam.functional.defocus_fit import of_radius, shares_of_radii
from diffcam.models.restoration import CELL, DefocusRemoval
from diffcam.tasks.optimization import scheduled
from diffcam.tasks.run_folder import run_folder

MEMORY = 0.99
"""Of the shares of radii from one batch to the next."""


class DefocusTask(lightning.LightningModule):
    """Learns the blur radius of every cell from pictures whose cameras are known: all targets of a batch.

    Pictures are pieces of whole ones with a 512-pixel short side, so that levels are radii in pixels. At the end the
    restoration is written to ``restoration`` in the run's log folder.

    Args:
        restoration: Whose network is trained.
        optimizer: From named parameters to an optimizer.
        scheduler: From an optimizer to a learning rate schedule, stepped after every update; None: constant.
    """

    def __init__(
        self,
        restoration: DefocusRemoval,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.restoration = restoration
        self.restoration.stopping.requires_grad_(False)
        self.optimizer = optimizer
        self.scheduler = scheduler

    def configure_optimizers(self) -> Any:
        """The injected optimizer and schedule."""
        trained = [(name, weight) for name, weight in self.restoration.named_parameters() if weight.requires_grad]
        return scheduled(self.optimizer(trained), self.scheduler)

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

    def on_fit_end(self) -> None:
        """Write what was learned."""
        export_restoration(self.trainer, self.restoration)


def export_restoration(trainer: lightning.Trainer, restoration: DefocusRemoval) -> None:
    """Write ``restoration`` in a run's log folder."""
    folder = run_folder(trainer) / "restoration"
    if trainer.is_global_zero:
        restoration.save_pretrained(folder)
        rank_zero_info(f"exported the restoration to {folder}")
