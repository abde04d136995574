"""What all tasks tell Lightning of their optimizers."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.cli import LRSchedulerCallable
from torch.optim import Optimizer


def scheduled(optimizer: Optimizer, scheduler: LRSchedulerCallable | None) -> Any:
    """An optimizer with its learning rate schedule, which is stepped after every update; None: constant."""
    if scheduler is None:
        return optimizer
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler(optimizer), "interval": "step"}}
