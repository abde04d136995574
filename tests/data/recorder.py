"""A training run that writes down what it was given: run as a program by the resume tests, and imported by none.

Each line of the record is the batch's sample indices, scenes and a hash of all its tensors.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from diffcam.data import EqualThenLinear, RefocusBatch, RefocusDataModule


def describe(batch: RefocusBatch) -> str:
    digest = hashlib.sha256()
    for tensor in (batch.reference, batch.targets, batch.disparity, batch.cameras.focus, batch.cameras.bokeh):
        digest.update(tensor.contiguous().numpy().tobytes())
    return f"{batch.index.tolist()} {' '.join(batch.scenes)} {digest.hexdigest()}"


class Recorder(lightning.LightningModule):
    def __init__(self, record: Path, kill_at: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.record = record
        self.kill_at = kill_at

    def training_step(self, batch: RefocusBatch, batch_idx: int) -> torch.Tensor:
        if self.global_step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        with open(f"{self.record}.{self.global_rank}", "a") as file:
            file.write(f"{self.global_step} {describe(batch)}\n")
        return self.weight * batch.reference.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data_module(shards: str, workers: int, batch_size: int, samples_per_epoch: int | None) -> RefocusDataModule:
    """Seven batches of three a step bring the mixture from equal to AI scenes alone."""
    return RefocusDataModule(
        train=[shards], resolution=16, batch_size=batch_size, num_workers=workers, seed=3,
        mixture=EqualThenLinear(equal_until=2, linear_to=8), samples_per_epoch=samples_per_epoch,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shards", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=3)
    parser.add_argument("--samples-per-epoch", type=int)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--save-every", type=int, default=2)
    parser.add_argument("--kill-at", type=int, default=-1)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--devices", type=int, default=1)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=options.devices, strategy="ddp" if options.devices > 1 else "auto",
        max_steps=options.steps, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[ModelCheckpoint(options.folder, save_last=True, every_n_train_steps=options.save_every)],
    )  # fmt: skip
    checkpoint = options.folder / "last.ckpt" if options.resume else None
    data = data_module(options.shards, options.workers, options.batch_size, options.samples_per_epoch)
    trainer.fit(Recorder(options.folder / "record", options.kill_at), data, ckpt_path=checkpoint)


if __name__ == "__main__":
    sys.exit(main())
