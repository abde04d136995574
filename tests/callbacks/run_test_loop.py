"""A test run with the metrics callback, as a script: Lightning starts it again for every further process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset

from diffcam.callbacks.metrics import MetricsTable
from diffcam.camera import Camera
from diffcam.data import RefocusBatch, RefocusSample, collate
from diffcam.metrics import MAE, PSNR, LVCorr, Scores, estimate

SUBTASKS = ("refocus", "refocus", "add_bokeh", "add_bokeh", "add_bokeh", "remove_bokeh", "remove_bokeh")
LEVELS = (3.0, 9.0, 2.0, 8.0, 15.0, 0.0, 0.0)


class Samples(Dataset):
    """Scenes of seven samples, two refocus, three add-bokeh, two remove-bokeh; noise in place of photographs."""

    def __init__(self, scenes: int) -> None:
        self.scenes = scenes

    def __len__(self) -> int:
        return self.scenes * len(SUBTASKS)

    def __getitem__(self, index: int) -> RefocusSample:
        generator = torch.Generator().manual_seed(index)
        target, reference = torch.rand(2, 3, 24, 32, generator=generator)
        place = index % len(SUBTASKS)
        return RefocusSample(
            reference=reference,
            targets=target[None],
            disparity=torch.zeros(1, 24, 32),
            cameras=(Camera((0.5, 0.25), LEVELS[place]),),
            index=index,
            scene=f"scene{index // len(SUBTASKS)}",
            subtask=SUBTASKS[place],
            source="camera",
            all_in_focus=target,
            exact_disparity=torch.zeros(1, 24, 32),
        )


class Task(pl.LightningModule):
    """Mixes target and reference more the higher the level; keeps scores of its own, as a task may."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = Scores([MAE(), LVCorr()])

    def forward(self, batch: RefocusBatch) -> Tensor:
        share = batch.cameras.bokeh.view(-1, 1, 1, 1) / 20
        return (1 - share) * batch.targets[:, 0] + share * batch.reference

    def test_step(self, batch: RefocusBatch) -> dict[str, Tensor]:
        images = self(batch)
        self.scores.update("own", batch, images)
        return {"images": images}

    validation_step = test_step


def loader(scenes: int) -> DataLoader:
    return DataLoader(Samples(scenes), batch_size=3, collate_fn=collate)


def run(folder: Path, devices: int, scenes: int, **callback_options: object) -> dict[str, float]:
    """Test on some scenes; returns what was logged, and what the task's own scores say."""
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[MetricsTable(metrics=[MAE(), PSNR(), LVCorr()], **callback_options)],  # type: ignore[arg-type]
    )
    task = Task()
    trainer.test(task, loader(scenes), verbose=False)
    logged = {name: float(value) for name, value in trainer.logged_metrics.items()}
    rows = task.scores.compute()
    added = [row for row in rows if row.subtask == "add_bokeh"]
    return logged | {
        "samples": len(rows),
        "mae": estimate(rows, MAE()).value,
        "lvcorr": estimate(added, LVCorr()).value,
    }


if __name__ == "__main__":
    found = run(Path(sys.argv[1]), devices=2, scenes=int(sys.argv[2]))
    if distributed.get_rank() == 0:
        Path(sys.argv[1], "logged.json").write_text(json.dumps(found))
