"""Noise and compression of training photos, against numbers and against Pillow's JPEG."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from diffcam.data import Filing


@pytest.mark.parametrize("deviation", [1.0, 4.0])
def test_noise_has_its_deviation_at_a_middle_grey(deviation: float) -> None:
    grey = torch.full((3, 200, 200), 0.18 ** (1 / 2.2))
    filing = Filing(noise=(deviation, deviation), compressed=0.0)
    found = [float((filing(grey, torch.Generator().manual_seed(seed)) - grey).std()) * 255 for seed in range(6)]
    assert np.mean(found) == pytest.approx(deviation, rel=0.06)  # 8 bits add a third of a step of variance 1/12


def test_a_compressed_photo_is_near_pillow_s(photo_3hw: torch.Tensor) -> None:
    filed = Filing(noise=(1e-3, 1e-3), compressed=1.0, quality=(60, 60))(photo_3hw, torch.Generator().manual_seed(1))
    file = io.BytesIO()
    Image.fromarray((photo_3hw * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=60)
    pillow = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
    faults = [float((one - photo_3hw).square().mean()) for one in (filed, pillow)]
    assert faults[0] == pytest.approx(faults[1], rel=0.15)


def test_the_same_draw_gives_the_same_file(photo_3hw: torch.Tensor) -> None:
    first, second, third = (Filing()(photo_3hw, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("wrong", [{"noise": (0.0, 1.0)}, {"compressed": 1.5}, {"quality": (98, 50)}])
def test_what_is_out_of_range_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Filing(**wrong)


@pytest.fixture
def photo_3hw() -> torch.Tensor:
    """A part of a free photo, ``(3, 128, 128)``."""
    return torch.from_numpy(data.chelsea()[64:192, 100:228]).permute(2, 0, 1).float() / 255
