"""Writes the trained model where the pipeline and a second stage can load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info

from diffcam.callbacks.ema import EMA
from diffcam.models.checkpoint import save_adapter, save_model
from diffcam.tasks.refocus import RefocusTask
from diffcam.tasks.run_folder import run_folder


class ModelExport(Callback):
    """Exports the averaged weights (or the trained ones, without an EMA callback) at the end of a fit.

    Args:
        folder: Where to; None: ``export`` in the run's log folder.
        base: Hub name or folder of the frozen base, written into an adapter's settings; empty: where it came from.

    Examples:
        >>> task = RefocusTask(diffcam.models.embedded_model(width=32, short_side=64), steps=4)
        >>> data = diffcam.data.RefocusDataModule(train=["data_shards/train-ai-*.tar"], resolution=64, num_workers=0)
        >>> Trainer(max_steps=1, callbacks=[ModelExport("export")], barebones=True).fit(task, data)
        >>> diffcam.RefocusPipeline.from_pretrained("export").settings.steps
        4
    """

    def __init__(self, folder: str | None = None, base: str = "") -> None:
        self.folder = folder
        self.base = base

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a whole embedded model, or the adapter of a FLUX model."""
        if not isinstance(pl_module, RefocusTask):
            raise TypeError(f"ModelExport writes a RefocusTask, got {type(pl_module).__name__}")
        averages = [callback for callback in trainer.callbacks if isinstance(callback, EMA)]  # type: ignore[attr-defined]
        for average in averages:
            average.swap_in(pl_module)
        logs = run_folder(trainer)
        folder, model = Path(self.folder) if self.folder else logs / "export", pl_module.model
        options: dict[str, Any] = {"steps": pl_module.steps, "write": trainer.is_global_zero}
        if hasattr(model.transformer.base, "peft_config"):
            base = self.base or model.transformer.base.config.get("_name_or_path", "")
            save_adapter(model, folder, base=base, **options)
        else:
            save_model(model, folder, **options)
        trainer.strategy.barrier()  # nobody leaves before the files are there
        rank_zero_info(f"exported the model to {folder}")
        for average in averages:
            average.swap_out(pl_module)
