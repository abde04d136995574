"""Too little memory is said before the first step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel

import diffcam.callbacks.memory
from diffcam.callbacks import EMA, MemoryCheck
from diffcam.errors import DiffcamError
from diffcam.models import PatchCodec, RefocusModel, RefocusTransformer
from diffcam.tasks import RefocusTask


def test_a_run_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    base = FluxTransformer2DModel(
        in_channels=48, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=8, pooled_projection_dim=8, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    task = RefocusTask(RefocusModel(PatchCodec(4), RefocusTransformer(base)))
    trainer: Any = SimpleNamespace(
        datamodule=SimpleNamespace(batch_size=1, largest=(32, 32)), callbacks=[EMA()], world_size=1,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )  # fmt: skip
    weights = sum(4 * parameter.numel() for parameter in task.parameters())
    MemoryCheck().setup(trainer, task, "fit")
    # Weights, gradients, Adam's two moments and the average alone take five times the weights.
    monkeypatch.setattr(diffcam.callbacks.memory, "device_memory", lambda device: 5 * weights)
    with pytest.raises(DiffcamError, match=r"training needs about .* GB on each device, cpu has"):
        MemoryCheck(reserve=0.0).setup(trainer, task, "fit")
    MemoryCheck().setup(trainer, task, "test")
