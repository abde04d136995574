"""RestorationTask: what the tasks that train a part of a `DefocusRemoval` share."""

from __future__ import annotations

from typing import Any, ClassVar

import lightning
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info

from diffcam.models.restoration import DefocusRemoval
from diffcam.tasks.optimization import scheduled
from diffcam.tasks.run_folder import run_folder


class RestorationTask(lightning.LightningModule):
    """Trains one of the two networks of a restoration, and writes all of it to ``restoration`` in the run's log folder.

    Args:
        restoration: Of which one network is trained, the other stays as it is.
        optimizer: From named parameters to an optimizer.
        scheduler: From an optimizer to a learning rate schedule, stepped after every update; None: constant.
    """

    trains_stopping: ClassVar[bool]
    """Whether the network that chooses how far to deconvolve is trained, or the one that estimates radii."""

    def __init__(
        self,
        restoration: DefocusRemoval,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.restoration = restoration
        restoration.requires_grad_(not self.trains_stopping)
        restoration.stopping.requires_grad_(self.trains_stopping)
        self.optimizer = optimizer
        self.scheduler = scheduler

    def configure_optimizers(self) -> Any:
        """The injected optimizer and schedule."""
        trained = [(name, weight) for name, weight in self.restoration.named_parameters() if weight.requires_grad]
        return scheduled(self.optimizer(trained), self.scheduler)

    def on_fit_end(self) -> None:
        """Write what was learned."""
        folder = run_folder(self.trainer) / "restoration"
        if self.trainer.is_global_zero:
            self.restoration.save_pretrained(folder)
            rank_zero_info(f"exported the restoration to {folder}")
