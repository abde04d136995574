"""Exponential moving average of the trained weights, used wherever images are made."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from diffcam.errors import DiffcamError
from diffcam.models.adapters import trained_parameters
from diffcam.models.sharding import gathered, placed_like


class EMA(Callback):
    """Averages the trained weights over the optimizer's steps; validation and export use the average.

    Only trained weights are copied, never a frozen base. The average starts short and lengthens:
    ``decay = min(decay, (1 + step) / (10 + step))``.

    Args:
        decay: Of the average once it has lengthened.

    Raises:
        ValueError: If the decay is outside [0, 1).

    Examples:
        >>> from lightning.pytorch.demos.boring_classes import BoringModel
        >>> module, ema = BoringModel(), EMA()
        >>> Trainer(max_steps=3, callbacks=[ema], barebones=True).fit(module)
        >>> ema.step, torch.equal(ema.average["layer.weight"], module.layer.weight)  # it lags behind
        (3, False)
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must lie in [0, 1), got {decay}")
        self.decay = decay
        self.step = 0
        self.average: dict[str, Tensor] = {}
        self._trained: dict[str, Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the current weights, or go on with a restored average on their device.

        Not earlier: sharding strategies restore callbacks after ``on_fit_start``.
        """
        trained = trained_parameters(pl_module)
        if not self.average:
            self.average = {name: value.detach().clone() for name, value in trained.items()}
        if set(self.average) != set(trained):
            raise DiffcamError(
                "the checkpoint's averaged weights do not fit the model: resume with the run's own config"
            )
        self.average = {name: placed_like(self.average[name], value.detach()) for name, value in trained.items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Move the average after every optimizer step."""
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        decay = min(self.decay, (1 + self.step) / (10 + self.step))
        for name, value in trained_parameters(pl_module).items():
            self.average[name].lerp_(value.detach(), 1 - decay)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in place of the trained weights."""
        self.swap_in(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the trained weights back."""
        self.swap_out(pl_module)

    @torch.no_grad()
    def swap_in(self, pl_module: LightningModule) -> None:
        """Give the module the averaged weights, keeping its own aside."""
        if not self.average or self._trained is not None:
            return
        parameters = trained_parameters(pl_module)
        self._trained = {name: value.detach().clone() for name, value in parameters.items()}
        for name, value in parameters.items():
            value.copy_(self.average[name])

    @torch.no_grad()
    def swap_out(self, pl_module: LightningModule) -> None:
        """Give the module its own weights back."""
        if self._trained is None:
            return
        for name, value in trained_parameters(pl_module).items():
            value.copy_(self._trained[name])
        self._trained = None

    def state_dict(self) -> dict[str, Any]:
        """The average and its step, for resuming."""
        return {"step": self.step, "average": {name: gathered(value) for name, value in self.average.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.step = state_dict["step"]
        self.average = state_dict["average"]
