from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from diffcam.camera import CameraBatch
from diffcam.data.batch import RefocusBatch
from diffcam.models import DefocusRemoval
from diffcam.models.restoration import Stages
from diffcam.tasks import StoppingTask

ROOT = Path(__file__).parents[2]


class Known(DefocusRemoval):
    """Reaches half the true picture, then three quarters of it, then all of it."""

    truth = torch.empty(0)

    def stages(self, image_B3HW: torch.Tensor, disparity_B1HW: torch.Tensor) -> Stages:
        parts = [image_B3HW, self.truth * 0.75, self.truth]
        return Stages(torch.stack(parts, dim=1), torch.ones_like(disparity_B1HW))


def _batch(truth: torch.Tensor) -> RefocusBatch:
    """Pictures half as bright as the truth."""
    cameras = CameraBatch(torch.full((1, 2, 2), 0.5), torch.tensor([[9.0, 9.0]]))
    targets = torch.stack([truth / 2, torch.zeros_like(truth)], dim=1)
    return RefocusBatch(
        truth, targets, torch.zeros(1, 1, 32, 32), cameras, None, None, torch.zeros(1, dtype=torch.int64),
        ("s",), ("train",), ("photo",),
    )  # fmt: skip


def test_the_loss_is_the_logarithm_of_the_error_that_the_mixture_leaves() -> None:
    truth = torch.full((1, 3, 32, 32), 0.4)
    restoration = Known(width=4)
    restoration.truth = truth
    restoration.stopping[-1].bias.data.copy_(torch.tensor([0.25, 0.25, 0.5]).log())
    after, before = StoppingTask(restoration).loss(_batch(truth))
    mixture = 0.25 * 0.2 + 0.25 * 0.3 + 0.5 * 0.4
    assert after.item() == pytest.approx(math.log((0.4 - mixture) ** 2 + 1e-5), rel=1e-3)
    assert before.item() == pytest.approx(math.log(0.2**2 + 1e-5), rel=1e-3)


def test_stopping_alone_is_trained_and_learns_where_to_go() -> None:
    truth = torch.full((1, 3, 32, 32), 0.4)
    restoration = Known(width=4)
    restoration.truth = truth
    task = StoppingTask(restoration, lambda weights: torch.optim.Adam([weight for _, weight in weights], lr=0.03))
    assert {name for name, weight in task.named_parameters() if weight.requires_grad} == {
        f"restoration.stopping.{layer}.{part}" for layer in (0, 2, 4) for part in ("weight", "bias")
    }
    optimizer = torch.optim.Adam(task.restoration.stopping.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        after, before = task.loss(_batch(truth))
        after.backward()
        optimizer.step()
    assert (before - after).item() * 10 / math.log(10) > 20
