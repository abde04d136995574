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
from diffcam.models import LensRefocusModel, load_model, load_restoration

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

    losses = column(output / "defocus" / "version_0" / "metrics.csv", "train/loss")
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])
    before, after = (load_restoration(str(output / name / "result")).state_dict() for name in ("defocus", "stopping"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("stopping.") for name in changed)  # the estimate of the blur is left alone

    assert all(detail > 0 for detail in column(output / "tiny" / "version_0" / "metrics.csv", "train/detail"))
    model, settings = load_model(output / "tiny" / "result")
    assert isinstance(model, LensRefocusModel)
    assert (settings.steps, settings.trained_size, model.short_side) == (2, 512, 512)
    restored = model.restoration.state_dict()
    # An exported model holds its weights in bfloat16.
    assert all(torch.equal(restored[name], after[name].bfloat16().float()) for name in after)
    assert "PSNR above copy's" in (output / "table.md").read_text()

    again = run_recipe(photos, output)
    assert again.count("done before") == 4
    assert [path.name for path in (output / "tiny").glob("version_*")] == ["version_0"]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    command = [str(ROOT / "runs" / "tiny.sh"), str(tmp_path / "absent")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == f"{tmp_path}/absent: no such folder of photos\n"
