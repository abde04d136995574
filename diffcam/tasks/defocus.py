"""DefocusTask: trains what tells how blurred a photo is where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.nn import functional as F

from diffcam.data.batch import RefocusBatch
from diffcam.functional.defocus_fit import radius_shares
from diffcam.models.restoration import CELL, DefocusRemoval


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
        optimizer = self.optimizer(list(self.restoration.named_parameters()))
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), "interval": "step"}}

    def loss(self, batch: RefocusBatch) -> Tensor:
        """Cross-entropy of each cell's radius; a radius between two known ones is shared out between them."""
        branches = batch.targets.shape[1]
        pictures_B3HW = (batch.targets.flatten(0, 1) * 255).round() / 255  # what a file shows of them
        disparity_B1HW = batch.disparity.repeat_interleave(branches, 0)
        radius_B1HW = batch.cameras.flatten().defocus(disparity_B1HW).abs()
        lower, share = radius_shares(F.avg_pool2d(radius_B1HW, CELL), self.restoration.radii)
        table_BKhw = self.restoration.logits(pictures_B3HW).log_softmax(dim=1)
        found = (1 - share) * table_BKhw.gather(1, lower) + share * table_BKhw.gather(1, lower + 1)
        return -found.mean()

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
        logs = self.trainer.log_dir or self.trainer.default_root_dir  # a collective call: every rank must make it
        if self.trainer.is_global_zero:
            folder = Path(logs) / "restoration"
            self.restoration.save_pretrained(folder)
            rank_zero_info(f"exported the restoration to {folder}")
