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
from diffcam.functional.defocus_fit import of_radius
from diffcam.models.restoration import CELL, DefocusRemoval
from diffcam.tasks.optimization import scheduled
from diffcam.tasks.run_folder import run_folder


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
        self.optimizer = optimizer
        self.scheduler = scheduler

    def configure_optimizers(self) -> Any:
        """The injected optimizer and schedule."""
        return scheduled(self.optimizer(list(self.restoration.named_parameters())), self.scheduler)

    def loss(self, batch: RefocusBatch) -> Tensor:
        """Cross-entropy of each cell's radius; a radius between two known ones is shared out between them."""
        branches = batch.targets.shape[1]
        pictures_B3HW = (batch.targets.flatten(0, 1) * 255).round() / 255  # what a file shows of them
        disparity_B1HW = batch.disparity.repeat_interleave(branches, 0)
        radius_B1HW = batch.cameras.flatten().defocus(disparity_B1HW).abs()
        table_BKhw = self.restoration.logits(pictures_B3HW).log_softmax(dim=1)
        return -of_radius(table_BKhw, F.avg_pool2d(radius_B1HW, CELL), self.restoration.radii).mean()

    def training_step(self, batch: RefocusBatch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        loss = self.loss(batch)
        self.log("train/loss", loss.detach(), batch_size=len(batch), prog_bar=True)
        return loss

    def validation_step(self, batch: RefocusBatch, batch_idx: int) -> None:
        """The loss of held-out samples."""
        self.log("val/loss", self.loss(batch), batch_size=len(batch), prog_bar=True, sync_dist=True)

    def on_fit_end(self) -> None:
        """Write what was learned."""
        folder = run_folder(self.trainer) / "restoration"
        if self.trainer.is_global_zero:
            self.restoration.save_pretrained(folder)
            rank_zero_info(f"exported the restoration to {folder}")
