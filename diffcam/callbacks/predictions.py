"""Pictures of ``lightning predict``, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from diffcam.data.batch import RefocusBatch
from diffcam.photo import save_photo
from diffcam.tasks.run_folder import run_folder


class PredictionWriter(BasePredictionWriter):
    """Saves every predicted picture as a PNG, named by its scene and sample number, and prints the folder.

    The camera is written into the picture, as ``diffcam refocus`` does. Pictures of an earlier run there are replaced.

    Args:
        folder: Where to; None: ``predictions`` in the run's log folder.
    """

    def __init__(self, folder: str | None = None) -> None:
        super().__init__("batch")
        self.folder = folder
        self._place = Path()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the folder."""
        logs = run_folder(trainer)
        self._place = Path(self.folder) if self.folder else logs / "predictions"
        self._place.mkdir(parents=True, exist_ok=True)

    def write_on_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, prediction: Tensor, batch_indices: Sequence[int] | None,
        batch: RefocusBatch, *args: Any,
    ) -> None:  # fmt: skip
        """Write the pictures ``(B, 3, H, W)`` of a batch."""
        asked = batch.cameras[:, 0]
        cameras = zip(asked.focus.tolist(), asked.bokeh.tolist(), strict=True)
        for image, scene, number, (focus, bokeh) in zip(
            prediction, batch.scenes, batch.index.tolist(), cameras, strict=True
        ):
            path = self._place / f"{scene.replace('/', '-')}-{number:06d}.png"
            save_photo(image.float(), path, metadata={"focus": focus, "bokeh": bokeh}, force=True)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the pictures are."""
        if trainer.is_global_zero:
            print(f"Pictures: {self._place}", flush=True)
