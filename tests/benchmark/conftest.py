"""A small edition: two scenes of textured photographs on two depths, 96 pixels a side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from diffcam.benchmark import Edition
from diffcam.data import BokehRenderer, Scene, write_shard
from diffcam.simulation.variants import draw_benchmark_samples

SIZE = 96


def make_scene(key: str, source: str) -> Scene:
    """Far on the left, near on the right, a slope at the bottom so that several planes hold something."""
    photos = {"camera": data.astronaut(), "phone": data.coffee()}
    image = torch.from_numpy(photos[source][100 : 100 + SIZE, 150 : 150 + SIZE] / 255).permute(2, 0, 1).float()
    disparity = torch.full((1, SIZE, SIZE), 0.2)
    disparity[:, :, SIZE // 2 :] = 0.9
    disparity[:, -16:] = torch.linspace(0, 1, SIZE)
    scene = Scene(key, image, disparity, source, "photo")
    return draw_benchmark_samples(scene, torch.Generator().manual_seed(int(key)))


@pytest.fixture(scope="session")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("edition") / "small-000000.tar"
    write_shard(path, [make_scene("000000", "camera"), make_scene("000001", "phone")], image_format="png")
    return path


@pytest.fixture
def edition(shard: Path) -> Edition:
    return Edition([str(shard)], SIZE, BokehRenderer(gamma=2.2))


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(-10 * np.log10(float((first - second).square().mean()) + 1e-12))


@pytest.fixture(name="psnr")
def psnr_fixture() -> Callable[[torch.Tensor, torch.Tensor], float]:
    return psnr
