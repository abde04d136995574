"""Where pairs come from after an interruption."""

from __future__ import annotations

from pathlib import Path

import lightning
import torch

from diffcam.tasks import LensPairData


def test_data_go_on_where_a_checkpoint_stopped(sharp_photos: Path) -> None:
    data = LensPairData([str(sharp_photos)], side=48, largest_radius=5.0, batch_size=2, num_workers=0)
    data.trainer = trainer = lightning.Trainer(logger=False, enable_checkpointing=False)
    first = iter(data.train_dataloader())
    next(first)
    second = next(first)
    trainer.fit_loop.epoch_loop.batch_progress.total.processed = 1
    resumed = next(iter(data.train_dataloader()))
    assert torch.equal(second.photo, resumed.photo)
    assert torch.equal(second.radius, resumed.radius)
