"""A callback that writes every training loss to a file, bit for bit, and can die in the middle."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class LossRecorder(Callback):
    """Appends ``step loss index...`` lines; kills its process without warning before a given step.

    Args:
        file: Written to; the rank is appended to its name.
        kill_before: Step that is never finished, or None.
    """

    def __init__(self, file: str, kill_before: int | None = None) -> None:
        self.file = file
        self.kill_before = kill_before

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        indices = " ".join(str(int(index)) for index in batch.index)
        with Path(f"{self.file}.{trainer.global_rank}").open("a") as file:
            file.write(f"{trainer.global_step} {float(outputs['loss']).hex()} {indices}\n")
