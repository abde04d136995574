from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffcam.camera import CameraBatch
from diffcam.data.batch import RefocusBatch
from diffcam.models import DefocusRemoval
from diffcam.tasks import DefocusTask

ROOT = Path(__file__).parents[2]


def test_the_loss_is_the_cross_entropy_of_the_asked_radius(generator: torch.Generator) -> None:
    """On flat depth of radius 2.25, half way between two of the radii, by hand."""
    targets = torch.rand(1, 2, 3, 32, 32, generator=generator)
    disparity = torch.full((1, 1, 32, 32), 0.5)
    disparity[..., :8, :8] = 0.25  # where both cameras focus
    cameras = CameraBatch(torch.full((1, 2, 2), 0.1), torch.tensor([[9.0, 9.0]]))
    batch = RefocusBatch(
        targets[:, 0], targets, disparity, cameras, None, None, torch.zeros(1, dtype=torch.int64),
        ("s",), ("train",), ("photo",),
    )  # fmt: skip
    task = DefocusTask(DefocusRemoval(width=4))
    logits = task.restoration.logits((targets[0] * 255).round() / 255)
    probability = logits.softmax(dim=1)
    near, far = task.restoration.radii.tolist().index(2.0), task.restoration.radii.tolist().index(2.5)
    expected = -(probability[:, near].log() + probability[:, far].log()) / 2
    expected[:, 0, 0] = -probability[:, 0, 0, 0].log()
    cells, _ = task.losses(batch, task.radius(batch))
    torch.testing.assert_close(cells, expected.mean())


def test_the_lens_loss_is_how_far_its_radii_are_off() -> None:
    """Cells that all point to one lens give that lens; the loss then follows from the radii by hand."""
    task = DefocusTask(DefocusRemoval(width=4))
    radii = task.restoration.radii
    depth = torch.linspace(0.1, 0.9, 64).repeat_interleave(8)  # columns of cells
    disparity = depth.expand(1, 1, 512, 512).contiguous()
    cameras = CameraBatch(torch.tensor([[[0.01, 0.5], [0.01, 0.5]]]), torch.tensor([[10.0, 10.0]]))
    targets = torch.zeros(1, 2, 3, 512, 512)
    batch = RefocusBatch(
        targets[:, 0], targets, disparity, cameras, None, None, torch.zeros(1, dtype=torch.int64),
        ("s",), ("train",), ("photo",),
    )  # fmt: skip
    found = 5.0 * (depth[::8] - 0.1)  # half of what the cameras did
    nearest = (found[:, None] - radii).abs().argmin(1)
    sure = 20.0 * torch.nn.functional.one_hot(nearest, len(radii)).float()
    task.restoration.logits = lambda image: sure.T[None, :, None].expand(2, -1, 64, -1)  # type: ignore[method-assign]
    _, lens = task.losses(batch, task.radius(batch))
    true = 10.0 * (depth[::8] - 0.1)
    expected = ((true + 0.25) / (found + 0.25)).log().mean().item()
    assert lens.item() == pytest.approx(expected, abs=0.05)
