"""``runs/tiny.sh``: the script that makes diffcam-tiny, run as it stands at its small scale."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from skimage import data
from skimage.io import imsave

from diffcam.data import read_shard
from diffcam.models import LensRefocusModel, load_deblurring, load_model, load_restoration

ROOT = Path(__file__).parents[1]


def run_recipe(photos: Path, output: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"SCALE": "small", "PATH": path}
    command = [str(ROOT / "runs" / "tiny.sh"), str(photos), str(output)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout


def column(path: Path, name: str) -> list[float]:
    with path.open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


@pytest.mark.slow
def test_the_recipe_makes_a_model_and_does_nothing_twice(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    photos, output = tmp_path / "photos", tmp_path / "made"
    photos.mkdir()
    for name in ("astronaut", "coffee", "chelsea"):
        imsave(photos / f"{name}.jpg", getattr(data, name)())
    run_recipe(photos, output)

    sources = [scene.source for path in sorted((output / "shards").glob("*.tar")) for scene in read_shard(path)]
    assert sorted(sources) == ["layered"] * 4 + ["raytraced"]

    assert all(
        len(scene.surfaces) > 3 for path in (output / "shards").glob("train-0*.tar") for scene in read_shard(path)
    )

    losses = column(output / "defocus" / "version_0" / "metrics.csv", "train/radius")
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])

    stages = [
        load_deblurring(str(output / name / "result")).state_dict() for name in ("deblurring", "deblurring_found")
    ]
    assert any(not torch.equal(weight, stages[1][name]) for name, weight in stages[0].items())

    assert all(detail > 0 for detail in column(output / "tiny" / "version_0" / "metrics.csv", "train/detail"))
    model, settings = load_model(output / "tiny" / "result")
    assert isinstance(model, LensRefocusModel)
    assert (settings.steps, settings.trained_size, model.short_side) == (2, 512, 512)
    trained = load_restoration(str(output / "restoration")).state_dict()
    assert all(torch.equal(trained[f"deblurring.{name}"], weight) for name, weight in stages[1].items())
    # An exported model holds these weights in float16.
    for name, weight in model.restoration.state_dict().items():
        assert torch.equal(weight, trained[name].half().float())
    assert "PSNR above copy's" in (output / "table.md").read_text()

    again = run_recipe(photos, output)
    assert again.count("done before") == 5
    assert [path.name for path in (output / "tiny").glob("version_*")] == ["version_0"]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    command = [str(ROOT / "runs" / "tiny.sh"), str(tmp_path / "absent")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == f"{tmp_path}/absent: no such folder of photos\n"
