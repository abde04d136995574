"""Scores what validation and test steps put out: logged numbers, rows of every sample, and the printed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed

from diffcam.camera import CameraBatch
from diffcam.data.batch import RefocusBatch
from diffcam.grid import SUBTASKS
from diffcam.metrics import (
    CLIPI,
    CLIPIQA,
    LPIPS,
    MAE,
    PSNR,
    Comparison,
    LVCorr,
    Row,
    SampleMetric,
    Scorer,
    estimate,
    subtask_table,
    unique_rows,
    write_rows,
)
from diffcam.tasks.run_folder import run_folder

MODEL = "model"
ROWS_FILE = "samples.csv"


def comparison_of(batch: RefocusBatch, images_B3HW: torch.Tensor) -> Comparison:
    """A test batch (one target a sample) and a method's outputs for it, as metrics take them."""
    cameras = CameraBatch(batch.cameras.focus[:, 0], batch.cameras.bokeh[:, 0])
    return Comparison(
        prediction=images_B3HW,
        target=batch.targets[:, 0],
        reference=batch.reference,
        cameras=cameras,
        samples=batch.index,
        scenes=batch.scenes,
        subtasks=batch.subtasks,
        sources=batch.sources,
        all_in_focus=batch.all_in_focus,
        disparity=batch.exact_disparity,
    )


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
        self.test_scorer = Scorer(chosen)
        self.validation_scorer = Scorer([MAE(), PSNR()] if validation_metrics is None else validation_metrics)
        self.controls = controls
        self.intervals = intervals
        self.rows: list[Row] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the rows of the epoch before."""
        self.rows = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: RefocusBatch, *args: Any
    ) -> None:
        """Score a validation batch."""
        if isinstance(outputs, Mapping) and "images" in outputs:
            self.rows += self.validation_scorer(MODEL, comparison_of(batch, outputs["images"]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the validation numbers."""
        self._log(pl_module, "val", gather_rows(self.rows), self.validation_scorer)

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the rows of an earlier test."""
        self.rows = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: RefocusBatch, *args: Any
    ) -> None:
        """Score a test batch and the controls on it.

        Raises:
            TypeError: If the test step returned no images.
        """
        if not isinstance(outputs, Mapping) or "images" not in outputs:
            raise TypeError(f'test_step must return {{"images": (B, 3, H, W)}}, got {type(outputs).__name__}')
        comparison = comparison_of(batch, outputs["images"])
        self.rows += self.test_scorer(MODEL, comparison)
        if self.controls:
            self.rows += self.test_scorer("copy", comparison.with_prediction(comparison.reference))
            self.rows += self.test_scorer("ground truth", comparison.with_prediction(comparison.target))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the numbers, write the rows, print the table."""
        rows = gather_rows(self.rows)
        self._log(pl_module, "test", rows, self.test_scorer)
        folder = run_folder(trainer)
        if not trainer.is_global_zero or not rows:
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder / ROWS_FILE, rows)
        scorer = self.test_scorer
        scenes = len({row.scene for row in rows})
        table = subtask_table(rows, scorer.metrics, scorer.missing, f"Test on {scenes} scenes", self.intervals)
        print(f"\n{table.text()}\nRows of every sample: {folder / ROWS_FILE}", flush=True)

    def _log(self, pl_module: LightningModule, stage: str, rows: Sequence[Row], scorer: Scorer) -> None:
        outputs = [row for row in rows if row.method == MODEL]
        for metric in scorer.available if outputs else ():
            for subtask in ("all", *SUBTASKS):
                chosen = [row for row in outputs if subtask in ("all", row.subtask)]
                if chosen and subtask in (metric.subtasks or (subtask,)):
                    value = estimate(chosen, metric).value
                    # every process has all rows by now, so there is nothing left to reduce
                    pl_module.log(f"{stage}/{subtask}/{metric.name}", value)


def gather_rows(rows: Sequence[Row]) -> list[Row]:
    """The rows of all processes, each sample once, in one order."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return unique_rows(rows)
    gathered: list[Sequence[Row]] = [()] * distributed.get_world_size()
    distributed.all_gather_object(gathered, list(rows))
    return unique_rows(row for part in gathered for row in part)
