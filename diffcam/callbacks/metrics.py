"""Scores what validation and test steps put out: logged numbers, rows of every sample, and the printed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from diffcam.data.batch import RefocusBatch
from diffcam.grid import SUBTASKS
from diffcam.metrics import (
    CLIPI,
    CLIPIQA,
    LPIPS,
    MAE,
    PSNR,
    LVCorr,
    Row,
    SampleMetric,
    Scores,
    estimate,
    subtask_table,
    write_rows,
)
from diffcam.metrics.scores import MODEL, ROWS_FILE
from diffcam.tasks.run_folder import run_folder


class MetricsTable(Callback):
    """Scores the images of validation and test steps.

    Steps return ``{"images": (B, 3, H, W)}``; a validation step that returns none is not scored. Scalars are logged
    as ``test/<sub-task>/<metric>`` and ``val/<sub-task>/<metric>``, sub-task ``all`` included. A test also
    writes one row a sample to ``samples.csv`` in the trainer's log folder and prints the table. With several processes,
    rows are gathered first and samples that a sampler repeated count once, so that the table is that of one process.

    Args:
        metrics: Columns of the test's table; None takes those of the paper, PSNR and MAE everywhere.
        validation_metrics: Numbers logged in validation; None takes MAE and PSNR, which need no network.
        controls: Whether a test also scores the reference (``copy``) and the target (``ground truth``) as outputs.
        intervals: Whether the table prints bootstrap intervals.

    Examples:
        >>> task = diffcam.tasks.RefocusTask(diffcam.models.embedded_model(width=32, short_side=64), steps=1)
        >>> data = diffcam.data.RefocusDataModule(test=["data_shards/heldout-ai-*.tar"], resolution=64, num_workers=0)
        >>> Trainer(barebones=True, callbacks=[MetricsTable([MAE()])]).test(task, data)  # doctest: +ELLIPSIS
        <BLANKLINE>
        Test on 2 scenes...
        all           copy               20  0.009
        ...
    """

    def __init__(
        self,
        metrics: Sequence[SampleMetric] | None = None,
        validation_metrics: Sequence[SampleMetric] | None = None,
        controls: bool = True,
        intervals: bool = False,
    ) -> None:
        super().__init__()
        chosen = [MAE(), PSNR(), LPIPS(), LVCorr(), CLIPI(), CLIPIQA()] if metrics is None else metrics
        self.test_scores = Scores(chosen)
        self.validation_scores = Scores([MAE(), PSNR()] if validation_metrics is None else validation_metrics)
        self.controls = controls
        self.intervals = intervals

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the rows of the epoch before."""
        self.validation_scores.reset()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: RefocusBatch, *args: Any
    ) -> None:
        """Score a validation batch."""
        if isinstance(outputs, Mapping) and "images" in outputs:
            self.validation_scores.update(MODEL, batch, outputs["images"])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the validation numbers."""
        if self.validation_scores.update_called:
            self._log(pl_module, "val", self.validation_scores.compute(), self.validation_scores)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the rows of an earlier test."""
        self.test_scores.reset()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: RefocusBatch, *args: Any
    ) -> None:
        """Score a test batch and the controls on it.

        Raises:
            TypeError: If the test step returned no images.
        """
        if not isinstance(outputs, Mapping) or "images" not in outputs:
            raise TypeError(f'test_step must return {{"images": (B, 3, H, W)}}, got {type(outputs).__name__}')
        self.test_scores.update(MODEL, batch, outputs["images"])
        if self.controls:
            self.test_scores.update("copy", batch, batch.reference)
            self.test_scores.update("ground truth", batch, batch.targets[:, 0])

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the numbers, write the rows, print the table."""
        scores, folder = self.test_scores, run_folder(trainer)
        if not scores.update_called:
            return
        rows = scores.compute()
        self._log(pl_module, "test", rows, scores)
        if not trainer.is_global_zero:
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder / ROWS_FILE, rows)
        scenes = len({row.scene for row in rows})
        table = subtask_table(rows, scores.metrics, scores.missing, f"Test on {scenes} scenes", self.intervals)
        print(f"\n{table.text()}\nRows of every sample: {folder / ROWS_FILE}", flush=True)

    def _log(self, pl_module: LightningModule, stage: str, rows: Sequence[Row], scores: Scores) -> None:
        outputs = [row for row in rows if row.method == MODEL]
        for metric in scores.available:
            for subtask in ("all", *SUBTASKS):
                chosen = [row for row in outputs if subtask in ("all", row.subtask)]
                if chosen and subtask in (metric.subtasks or (subtask,)):
                    value = estimate(chosen, metric).value
                    # every process has all rows by now, so there is nothing left to reduce
                    pl_module.log(f"{stage}/{subtask}/{metric.name}", value)
