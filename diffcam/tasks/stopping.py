"""StoppingTask: trains what tells how far to deconvolve where."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from diffcam.data.batch import RefocusBatch
from diffcam.models.restoration import DefocusRemoval
from diffcam.tasks.defocus import export_restoration
from diffcam.tasks.optimization import scheduled

FLOOR = 1e-5
"""Squared error that is as good as none: 50 dB."""


class StoppingTask(lightning.LightningModule):
    """Learns from blurred pictures of scenes, the first target of each sample, how near the original each stage comes.

    References must be all-in-focus originals. The network that estimates radii stays as it is. At the end the
    restoration is written to ``restoration`` in the run's log folder.

    Args:
        restoration: Whose stopping is trained.
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
        self.restoration = restoration.requires_grad_(False)
        self.restoration.stopping.requires_grad_(True)
        self.optimizer = optimizer
        self.scheduler = scheduler

    def configure_optimizers(self) -> Any:
        """The injected optimizer and schedule."""
        return scheduled(self.optimizer(list(self.restoration.stopping.named_parameters())), self.scheduler)

    def loss(self, batch: RefocusBatch) -> tuple[Tensor, Tensor]:
        """Mean logarithm of the pictures' squared errors after and before: decibels count alike at every blur."""
        pictures_B3HW = (batch.targets[:, 0] * 255).round() / 255  # what a file shows of them
        stages = self.restoration.stages(pictures_B3HW, batch.disparity)
        errors = (
            (image - batch.reference).square().mean((1, 2, 3))
            for image in (self.restoration.stop(stages), pictures_B3HW)
        )
        after, before = ((error_B + FLOOR).log().mean() for error_B in errors)
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

    def on_fit_end(self) -> None:
        """Write what was learned."""
        export_restoration(self.trainer, self.restoration)
