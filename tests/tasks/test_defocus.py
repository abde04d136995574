from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffcam.camera import CameraBatch
from diffcam.commands.cli import train
from diffcam.data.batch import RefocusBatch
from diffcam.models import DefocusRemoval, load_restoration
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


@pytest.mark.slow
def test_the_recipe_runs_and_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very config, on the shipped scenes, for a moment: the loss falls and the result can be loaded."""
    monkeypatch.chdir(ROOT)
    options = {
        "trainer.max_steps": "40", "trainer.val_check_interval": "40", "trainer.limit_val_batches": "1",
        "trainer.enable_progress_bar": "false", "trainer.default_root_dir": str(tmp_path),
        "trainer.logger.init_args.save_dir": str(tmp_path), "trainer.log_every_n_steps": "1",
        "data.init_args.train": "[data_shards/train-*.tar]", "data.init_args.num_workers": "0",
        "data.init_args.piece": "128", "data.init_args.batch_size": "2",
        "model.init_args.scheduler.init_args.total_steps": "40",
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    train(["fit", "--config", "configs/defocus.yaml", *arguments])
    run = tmp_path / "defocus" / "version_0"
    rows = (run / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("train/loss")
    losses = [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])
    assert load_restoration(str(run)).config.depth == 8


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
