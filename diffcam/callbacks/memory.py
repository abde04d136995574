"""Refuses a run that the device has not the memory for, before its weights are moved there."""

from __future__ import annotations

import os

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from diffcam.callbacks.ema import EMA
from diffcam.errors import DiffcamError
from diffcam.planning.memory import MetaStep, plan_memory
from diffcam.tasks.refocus import RefocusTask
from diffcam.tasks.sharding import ShardedStrategy


class MemoryCheck(Callback):
    """Counts what a training step will hold on a device and compares it with what the device has.

    Args:
        reserve: Share of the device's memory that is left to fragmentation, libraries and other programs.

    Raises:
        ValueError: If the share is outside [0, 1).
    """

    def __init__(self, reserve: float = 0.05) -> None:
        if not 0.0 <= reserve < 1.0:
            raise ValueError(f"reserve must lie in [0, 1), got {reserve}")
        self.reserve = reserve

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Count and compare.

        Raises:
            DiffcamError: If the memory will not do.
        """
        if stage != "fit" or not isinstance(pl_module, RefocusTask):
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        pl_module.check_sizes([data.largest])  # callbacks are set up before the task, which checks all of them
        device = trainer.strategy.root_device
        averaged = any(isinstance(callback, EMA) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        shards = trainer.world_size if isinstance(trainer.strategy, ShardedStrategy) else 1
        step = MetaStep(pl_module, data.batch_size, data.largest)
        needed = plan_memory(pl_module, step.peak_memory(), averaged, shards=shards).total
        there = device_memory(device)
        if needed > there * (1 - self.reserve):
            raise DiffcamError(
                f"training needs about {needed / 1e9:.3g} GB on each device, {device} has {there / 1e9:.3g}: lower "
                "data.batch_size, raise checkpointed_blocks, set offload, or take "
                "a quantised base or configs/overlays/flux_fsdp.yaml"
            )


def device_memory(device: torch.device) -> int:
    """Bytes that a device has in all; of a CPU, the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
