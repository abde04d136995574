"""The mean of models, and what has none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffcam.cli import run_diffcam
from diffcam.errors import DiffcamError
from diffcam.models import load_model
from diffcam.models.checkpoint import save_model


@pytest.fixture
def other(tmp_path: Path, model_folder: Path) -> Path:
    """The same model with every weight larger by a half."""
    model, settings = load_model(model_folder)
    for weight in model.parameters():
        weight.add_(0.5)
    save_model(model, tmp_path / "other", settings.trained_size, torch.float32)
    return tmp_path / "other"


def test_every_weight_is_the_mean(model_folder: Path, other: Path, tmp_path: Path) -> None:
    assert run_diffcam(["average", str(model_folder), str(other), "--output", str(tmp_path / "mean")]) == 0
    models = [load_model(folder)[0].state_dict() for folder in (model_folder, other, tmp_path / "mean")]
    for name, value in models[2].items():
        torch.testing.assert_close(value, (models[0][name] + models[1][name]) / 2, rtol=2**-8, atol=1e-6)


def test_what_has_no_mean_is_refused(model_folder: Path, other: Path, tmp_path: Path) -> None:
    codec = other / "codec" / "config.json"
    codec.write_text(codec.read_text().replace('"gamma": ', '"gamma": 1'))
    for models, complaint in (
        ([model_folder], "two models or more"),
        ([model_folder, "diffcam-tiny"], "diffcam-tiny: of another make"),
        ([model_folder, other], "other: of another make"),
    ):
        with pytest.raises(DiffcamError, match=complaint):
            run_diffcam(["average", *map(str, models), "--output", str(tmp_path / "mean")])
        assert not (tmp_path / "mean").exists()
    with pytest.raises(DiffcamError, match="exists already"):
        run_diffcam(["average", str(model_folder), str(other), "--output", str(other)])
