"""Pictures of validation samples: reference, output, target and error, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from diffcam.data.batch import RefocusBatch
from diffcam.photo.pixels import to_picture
from diffcam.tasks.run_folder import run_folder

ERROR_GAIN = 4.0
"""Errors are shown this many times larger: a tenth of the range is already plainly wrong."""


class SampleGrid(Callback):
    """Saves a PNG of the first validation samples after every validation: reference | output | target | error.

    Args:
        rows: Samples shown.
        folder: Where to; None: ``samples`` in the run's log folder.

    Examples:
        >>> task = diffcam.tasks.RefocusTask(diffcam.models.embedded_model(width=32, short_side=64), steps=1)
        >>> data = diffcam.data.RefocusDataModule(val=["data_shards/val-ai-*.tar"], resolution=64, num_workers=0)
        >>> _ = Trainer(barebones=True, callbacks=[SampleGrid(rows=3)]).validate(task, data, verbose=False)
        >>> diffcam.photo.open_photo("samples/step-000000.png").size  # four pictures across, three samples down
        (256, 192)
    """

    def __init__(self, rows: int = 4, folder: str | None = None) -> None:
        self.rows = rows
        self.folder = folder
        self._shown: list[Tensor] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the samples of the last validation."""
        self._shown = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: RefocusBatch, *args: Any
    ) -> None:
        """Keep the first samples."""
        if not isinstance(outputs, Mapping) or len(self._shown) >= self.rows:
            return
        for output, reference, target in zip(
            outputs["images"].float().cpu(), batch.reference.cpu(), batch.targets[:, 0].cpu(), strict=True
        ):
            error = ((output - target).abs() * ERROR_GAIN).clamp(0, 1)
            self._shown.append(torch.cat([reference, output, target, error], dim=-1))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the grid."""
        logs = run_folder(trainer)
        if not self._shown or not trainer.is_global_zero or trainer.sanity_checking:
            return
        folder = Path(self.folder) if self.folder else logs / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        grid = torch.cat(self._shown[: self.rows], dim=-2)
        to_picture(grid).save(folder / f"step-{trainer.global_step:06d}.png")
