"""Where a run writes what is not its log."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Trainer


def run_folder(trainer: Trainer) -> Path:
    """Folder of a run: its logger's, or the trainer's. A collective call: every rank must make it."""
    return Path(trainer.log_dir or trainer.default_root_dir)
