"""Training by the configs of what finds and what undoes blur: the YAML that users run, made small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffcam.commands.cli import train
from diffcam.errors import DiffcamError
from diffcam.models import DeblurNet, DefocusNet, load_deblurring, load_defocus
from diffcam.simulation.lens_pairs import LensPair
from diffcam.tasks import DeblurTask

CONFIGS = Path(__file__).parents[2] / "configs"


def fit(name: str, photos: Path, folder: Path, **changes: str) -> Path:
    """A few steps of ``configs/NAME.yaml``; returns the folder of the run. ``__`` stands for a dot in an option."""
    options = {
        "trainer.max_steps": 4,
        "trainer.precision": "32-true",
        "trainer.enable_progress_bar": "false",
        "trainer.logger.init_args.save_dir": str(folder),
        "data.init_args.photos": f"[{photos}]",
        "data.init_args.side": 48,
        "data.init_args.largest_radius": 5.0,
        "data.init_args.batch_size": 2,
        "data.init_args.num_workers": 0,
    } | {key.replace("__", "."): value for key, value in changes.items()}
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    train(["fit", "--config", str(CONFIGS / f"{name}.yaml"), *arguments])
    return folder / name / "version_0"


@pytest.mark.parametrize(
    ("name", "load", "network"),
    [
        ("deblurring", load_deblurring, {"channels": "[8, 8]", "blocks": "[1, 1]"}),
        ("defocus", load_defocus, {"channels": "[8, 8, 8]", "blocks": "[1, 1, 1]"}),
    ],
)
def test_the_config_trains_and_exports(
    sharp_photos: Path, tmp_path: Path, name: str, load: object, network: dict[str, str]
) -> None:
    changes = {f"model__init_args__network__init_args__{key}": value for key, value in network.items()}
    trained = load(str(fit(name, sharp_photos, tmp_path, **changes) / name))
    assert list(trained.config.channels) == [int(n) for n in network["channels"].strip("[]").split(",")]
    heads = ("leave", "posterior", "weight")
    assert all(bool(value.any()) for key, value in trained.named_parameters() if key.startswith(heads))


def test_the_second_stage_goes_on_from_the_first_with_what_is_found(
    sharp_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole batch is half told and half found: a quarter without the map, a quarter with it."""
    asked: list[tuple[int, bool]] = []
    radius = DefocusNet.radius

    def noted(self: DefocusNet, photo_B3HW: torch.Tensor, disparity_B1HW: torch.Tensor | None) -> torch.Tensor:
        asked.append((len(photo_B3HW), disparity_B1HW is not None))
        return radius(self, photo_B3HW, disparity_B1HW)

    monkeypatch.setattr(DefocusNet, "radius", noted)
    first = DeblurNet(channels=(8, 8), blocks=(1, 1))
    first.save_pretrained(tmp_path / "first")
    DefocusNet(channels=(8, 8, 8), blocks=(1, 1, 1)).save_pretrained(tmp_path / "defocus")
    run = fit(
        "deblurring_found",
        sharp_photos,
        tmp_path,
        data__init_args__batch_size="8",
        trainer__max_steps="2",
        model__init_args__network__init_args__path=str(tmp_path / "first"),
        model__init_args__estimator__init_args__path=str(tmp_path / "defocus"),
    )
    assert asked == [(2, False), (2, True)] * 2
    trained = load_deblurring(str(run / "deblurring"))
    assert list(trained.config.channels) == [8, 8]
    moved = [(value - trained.state_dict()[name]).abs().max() for name, value in first.state_dict().items()]
    assert 0 < max(moved) < 0.01  # two steps of a small rate away from where the first stage ended


def test_a_batch_too_small_for_a_quarter_is_refused() -> None:
    task = DeblurTask(DeblurNet(channels=(8, 8), blocks=(1, 1)), DefocusNet(channels=(8, 8, 8), blocks=(1, 1, 1)))
    image, map_ = torch.rand(3, 3, 32, 32), torch.rand(3, 1, 32, 32)
    pair = LensPair(photo=image, sharp=image, disparity=map_, radius=map_, told=map_, lens=torch.zeros(3, 2))
    with pytest.raises(DiffcamError, match="at least 4 pairs"):
        task.training_step(pair, 0)
