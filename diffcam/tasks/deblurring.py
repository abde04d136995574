"""DeblurTask: trains what undoes a photo's own blur."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from diffcam.errors import DiffcamError
from diffcam.models.deblurring import DeblurNet
from diffcam.models.defocus import DefocusNet
from diffcam.simulation.lens_pairs import LensPair
from diffcam.tasks.optimization import scheduled
from diffcam.tasks.run_folder import run_folder


class DeblurTask(lightning.LightningModule):
    """Learns the photo in focus everywhere, and writes the network to ``deblurring`` in the run's log folder.

    Args:
        network: What is trained.
        estimator: Finds radii for half of each batch, for half of that with the map and for half without, in place of
            those that are told: the network then learns what to make of such errors. It stays as it is. None: all
            radii are told.
        optimizer: From named parameters to an optimizer.
        scheduler: From an optimizer to a learning rate schedule, stepped after every update; None: constant.
    """

    def __init__(
        self,
        network: DeblurNet,
        estimator: DefocusNet | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.network = network.train().to(memory_format=torch.channels_last)
        self.estimator = estimator.requires_grad_(False) if estimator is not None else None
        self.optimizer = optimizer
        self.scheduler = scheduler

    strict_loading = False  # checkpoints need not hold the estimator, which comes with its own weights

    def configure_optimizers(self) -> Any:
        """The injected optimizer and schedule."""
        return scheduled(self.optimizer(list(self.network.named_parameters())), self.scheduler)

    def training_step(self, batch: LensPair, batch_idx: int) -> Tensor:
        """Mean logarithm of each pair's squared error in display values, as PSNR; copying is logged beside it."""
        told_B1HW = batch.told
        if self.estimator is not None:
            quarter = len(batch.photo) // 4
            if quarter == 0:
                raise DiffcamError("with an estimator a batch needs at least 4 pairs: raise data.init_args.batch_size")
            blind, mapped = slice(quarter), slice(quarter, 2 * quarter)
            found = [
                self.estimator.radius(batch.photo[blind], None),
                self.estimator.radius(batch.photo[mapped], batch.disparity[mapped]),
            ]
            told_B1HW = torch.cat([*found, batch.told[2 * quarter :]])
        loss = self._decibels(self.network(batch.photo, told_B1HW), batch.sharp)
        copied = self._decibels(batch.photo, batch.sharp)
        self.log_dict({"train/loss": loss.detach(), "train/copy": copied}, batch_size=len(batch.photo), prog_bar=True)
        return loss

    @staticmethod
    def _decibels(image_B3HW: Tensor, sharp_B3HW: Tensor) -> Tensor:
        """Negative PSNR; what is better than 40 dB counts little."""
        error_B = (image_B3HW.float() - sharp_B3HW).square().mean((1, 2, 3))
        return 10 * (error_B + 1e-4).log10().mean()

    def on_fit_end(self) -> None:
        """Write what was learned."""
        folder = run_folder(self.trainer) / "deblurring"
        if self.trainer.is_global_zero:
            self.network.save_pretrained(folder)
            rank_zero_info(f"exported the network to {folder}")
