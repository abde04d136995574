"""The camera between light and file against scipy, statistics and Pillow's JPEG."""

from __future__ import annotations

import io

import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from diffcam.functional.camera_pipeline import (
    CHROMINANCE_TABLE,
    LUMINANCE_TABLE,
    MIDDLE_GREY,
    gaussian_blur,
    jpeg,
    quantisation_steps,
    sensor_noise,
    sharpen,
    tone_curve,
)


def cat() -> Tensor:
    return torch.from_numpy(skimage.data.chelsea()[60:160, 100:212].copy()).permute(2, 0, 1).float() / 255


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gaussian_blur_is_scipys() -> None:
    theirs = ndimage.gaussian_filter(cat().numpy(), (0, 1.4, 1.4), mode="nearest", truncate=5 / 1.4)
    np.testing.assert_allclose(gaussian_blur(cat(), 1.4).numpy(), theirs, atol=1e-5)
    assert torch.equal(gaussian_blur(cat(), 0.0), cat())


@pytest.mark.parametrize("grain", [0.0, 0.8])
def test_noise_has_the_told_deviation_at_middle_grey_and_grows_with_light(grain: float) -> None:
    grey = torch.full((3, 300, 300), MIDDLE_GREY)
    noise = sensor_noise(grey, 0.02, grain, generator()) - grey
    assert float(noise.mean()) == pytest.approx(0, abs=3e-4)
    assert float(noise.std()) == pytest.approx(0.02, rel=0.02)
    dark = sensor_noise(0 * grey, 0.02, grain, generator())
    assert float(dark.std()) == pytest.approx(0.02 * 0.1**0.5, rel=0.02)
    white = sensor_noise(grey / MIDDLE_GREY, 0.02, grain, generator()) - 1
    assert float(white.std()) == pytest.approx(0.02 * (0.9 / 0.18 + 0.1) ** 0.5, rel=0.02)


def test_grain_is_how_far_noise_agrees_with_its_neighbours() -> None:
    flat = torch.full((1, 400, 400), MIDDLE_GREY)
    for grain, expected in ((0.0, 0.0), (1.0, np.exp(-0.25))):  # of a Gaussian of deviation 1, at distance 1
        noise = (sensor_noise(flat, 0.02, grain, generator()) - flat)[0]
        together = float((noise[:, 1:] * noise[:, :-1]).mean() / noise.square().mean())
        assert together == pytest.approx(expected, abs=0.02)


def test_noise_depends_on_its_generator_alone() -> None:
    assert torch.equal(sensor_noise(cat(), 0.1, 0.5, generator(3)), sensor_noise(cat(), 0.1, 0.5, generator(3)))
    assert not torch.equal(sensor_noise(cat(), 0.1, 0.5, generator(3)), sensor_noise(cat(), 0.1, 0.5, generator(4)))


def test_tone_curve_clips_raises_and_bends() -> None:
    light = torch.tensor([-0.1, 0.0, 0.25, 0.5, 1.0, 3.0])
    torch.testing.assert_close(tone_curve(light, 2.0), torch.tensor([0, 0, 0.5, 0.5**0.5, 1, 1]))
    # At y = 0.75 the S-curve 3 y^2 - 2 y^3 is 0.84375.
    assert float(tone_curve(torch.tensor(0.5625), 2.0, 0.4)) == pytest.approx(0.75 + 0.4 * 0.09375)


def test_sharpening_makes_an_edge_steeper_and_leaves_flat_places() -> None:
    edge = torch.full((1, 21, 21), 0.3)
    edge[..., 10:] = 0.7
    sharper = sharpen(edge, 0.5, 1.0)
    torch.testing.assert_close(sharper[..., :6], edge[..., :6])
    # The pixel beside the edge loses half of what the Gaussian brings over it: 0.4 times its share beyond half a pixel.
    weights = torch.exp(-0.5 * torch.arange(-3, 4.0).square())
    share = float(weights[4:].sum() / weights.sum())
    assert float(sharper[0, 10, 9]) == pytest.approx(0.3 - 0.5 * 0.4 * share, abs=1e-5)


def pillow_jpeg(image: Tensor, quality: int, subsampled: bool) -> tuple[Tensor, dict[int, list[int]]]:
    file = io.BytesIO()
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2 if subsampled else 0)
    opened = Image.open(file)
    return torch.from_numpy(np.array(opened)).permute(2, 0, 1).float() / 255, opened.quantization


@pytest.mark.parametrize("quality", [20, 50, 85, 95])
@pytest.mark.parametrize("subsampled", [False, True])
def test_jpeg_loses_what_pillows_loses(quality: int, subsampled: bool) -> None:
    theirs, steps = pillow_jpeg(cat(), quality, subsampled)
    assert quantisation_steps(LUMINANCE_TABLE, quality).flatten().int().tolist() == list(steps[0])
    assert quantisation_steps(CHROMINANCE_TABLE, quality).flatten().int().tolist() == list(steps[1])
    ours = jpeg(cat(), quality, subsampled)
    pairs = (ours, theirs), (ours, cat()), (theirs, cat())
    apart, lost, lost_by_theirs = (255 * float((one - other).square().mean().sqrt()) for one, other in pairs)
    assert apart < 1.3  # of 255: Pillow's library computes in whole numbers
    assert lost == pytest.approx(lost_by_theirs, rel=0.02)


def test_the_grid_of_blocks_can_lie_anywhere() -> None:
    plain, shifted = jpeg(cat(), 50, False), jpeg(cat(), 50, False, (8, 8))
    torch.testing.assert_close(plain[:, :96, :112], shifted[:, :96, :112])
    moved = jpeg(cat(), 50, False, (3, 5))
    torch.testing.assert_close(moved[:, 5:93, 3:107], jpeg(cat()[:, 5:93, 3:107], 50, False))
    assert (moved - plain).abs().max() > 0.02
