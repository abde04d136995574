"""Grain of known deviation, size and colour, in photos with texture and without."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from diffcam.functional.grain import Grain, add_grain, measure_grain


def photo(sigma: float, size: float = 0.0, grey: bool = False) -> Tensor:
    """Coffee beside a wall that is a little brighter on one side, with noise, in 8 bits."""
    noise = np.random.default_rng(0).standard_normal((400, 600, 1 if grey else 3)).repeat(3 if grey else 1, 2)
    noise = scipy.ndimage.gaussian_filter(noise, (size, size, 0))
    clean = skimage.data.coffee() / 255
    clean[:, 300:] = np.linspace(0.4, 0.6, 300)[None, :, None]
    noisy = np.rint((clean + sigma * noise / noise.std()).clip(0, 1) * 255) / 255
    return torch.from_numpy(noisy).permute(2, 0, 1).float()


def deviation(grain: Grain | None) -> float:
    assert grain is not None
    return float(grain.mixing.square().sum(1).mean().sqrt()) * 255


@pytest.mark.parametrize("sigma", [2.0, 4.0, 8.0])
def test_deviation_is_that_of_the_noise_and_never_much_more(sigma: float) -> None:
    assert 0.85 * sigma < deviation(measure_grain(photo(sigma / 255))) < 1.05 * sigma


@pytest.mark.parametrize("size", [0.0, 0.5, 0.8])
def test_drawn_grain_is_as_coarse_as_the_photo_s(size: float) -> None:
    grain = measure_grain(photo(4 / 255, size))
    assert grain is not None
    assert grain.size == pytest.approx(size, abs=0.2)


def test_grey_grain_stays_grey() -> None:
    grain = measure_grain(photo(4 / 255, grey=True))
    assert grain is not None
    red, green, _ = grain.draw(200, 200, torch.Generator().manual_seed(0)).flatten(1)
    assert float(torch.corrcoef(torch.stack([red, green]))[0, 1]) > 0.9


def test_clean_flattened_and_textured_photos_have_none() -> None:
    assert measure_grain(photo(0.0)) is None
    file = io.BytesIO()
    pixels = (photo(2 / 255) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=50)
    flattened = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 255
    assert measure_grain(flattened) is None
    for texture in (skimage.data.grass(), skimage.data.gravel(), skimage.data.brick()):
        assert measure_grain(torch.from_numpy(texture / 255).float().expand(3, -1, -1)) is None
    assert measure_grain(torch.rand(3, 8, 8)) is None


def test_grain_fills_up_what_is_lost_and_leaves_the_photo_s_own() -> None:
    noisy = photo(4 / 255)
    grain = measure_grain(noisy)
    assert grain is not None
    kept = torch.ones(1, 400, 600)
    kept[..., 450:] = 0.6
    flat = noisy.clone()
    flat[..., 450:] = 0.6 * noisy[..., 450:] + 0.4 * 0.55
    grained = add_grain(flat, noisy, kept, grain, torch.Generator().manual_seed(1))
    assert torch.equal(grained[..., :450], noisy[..., :450])
    assert float(grained[..., 460:].std(1).mean()) == pytest.approx(4 / 255, rel=0.15)
    again = add_grain(flat, noisy, kept, grain, torch.Generator().manual_seed(1))
    assert torch.equal(again, grained)
