"""One blurred region rejects a photo; what has no contrast does not; the sheet shows every photo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from skimage import data as samples

from diffcam.simulation.photographed.all_in_focus import DEFAULT_THRESHOLD, measure_sharpness, tile_sharpness
from diffcam.simulation.photographed.review import write_review


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255


def accepts(image_3HW: torch.Tensor) -> bool:
    return measure_sharpness(image_3HW).score >= DEFAULT_THRESHOLD


@pytest.fixture(scope="module")
def sharp() -> np.ndarray:
    """A photo that is sharp all over: gravel, (512, 512, 3)."""
    return np.repeat(samples.gravel()[..., None], 3, 2)


@pytest.fixture(scope="module")
def partly(sharp: np.ndarray) -> np.ndarray:
    """The same with one blurred region of 3 % of its area."""
    pixels = sharp.copy()
    pixels[256:352, 128:224] = ndimage.gaussian_filter(sharp, (2, 2, 0))[256:352, 128:224]
    return pixels


def test_one_blurred_region_rejects(sharp, partly) -> None:
    assert accepts(as_tensor(sharp))
    assert not accepts(as_tensor(partly))
    # A single number for the image, as in the paper, falls by a few per cent only.
    whole = [ndimage.laplace(pixels[..., 0].astype(float)).var() for pixels in (sharp, partly)]
    assert whole[1] > 0.9 * whole[0]


@pytest.mark.parametrize("sigma", [1.5, 2, 3, 5, 8])
def test_weak_and_strong_blur_with_soft_borders_reject(sharp, sigma) -> None:
    inside = np.zeros((512, 512, 1))
    inside[160:352, 160:352] = 1
    inside = ndimage.gaussian_filter(inside, (8, 8, 0))
    soft = ndimage.gaussian_filter(sharp.astype(float), (sigma, sigma, 0))
    assert not accepts(as_tensor(sharp * (1 - inside) + soft * inside))


def test_the_blurred_tile_is_the_one_below(partly) -> None:
    tiles = tile_sharpness(as_tensor(partly))
    row, column = divmod(int(tiles.nan_to_num(9.0).argmin()), tiles.shape[1])
    assert (row, column) == (4, 2)
    assert tiles.shape == (8, 8)


def test_tile_sharpness_against_scipy(sharp) -> None:
    gray = sharp[..., 0] / 255
    reduced = gray.reshape(128, 4, 128, 4).mean((1, 3))
    fine = ndimage.laplace(gray, mode="mirror")[64:128, 192:256].std()
    coarse = ndimage.laplace(reduced, mode="mirror")[16:32, 48:64].std()
    assert tile_sharpness(as_tensor(sharp))[1, 3].item() == pytest.approx(fine / coarse, rel=1e-4)


def test_sky_says_nothing(sharp) -> None:
    pixels = sharp.copy()
    pixels[:256] = np.linspace(100, 200, 256)[:, None, None]
    measured = measure_sharpness(as_tensor(pixels))
    assert accepts(as_tensor(pixels))
    assert measured.textured == pytest.approx(0.5, abs=0.13)
    assert measure_sharpness(torch.full((3, 200, 200), 0.5)).score == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (17, 40), (63, 64)])
def test_photos_smaller_than_a_tile_are_judged_whole(size) -> None:
    measured = measure_sharpness(torch.rand(3, *size, generator=torch.Generator().manual_seed(0)))
    assert (measured.score > 0.5) == (min(size) > 3)


def test_large_photos_are_judged_at_training_size(sharp) -> None:
    large = np.asarray(Image.fromarray(sharp).resize((2048, 2048), Image.Resampling.BICUBIC))
    assert accepts(as_tensor(large))


def test_review_shows_every_photo(tmp_path, sharp, partly) -> None:
    photos = [
        (name, Image.fromarray(pixels), measure_sharpness(as_tensor(pixels)))
        for name, pixels in (("blurred.jpg", partly), ("sharp.jpg", sharp))
    ]
    write_review(tmp_path / "sheet.png", photos, DEFAULT_THRESHOLD)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (240, 480, 3)
    assert tuple(sheet[1, 120]) == (0, 255, 0)  # the sharp one first, framed green
    assert tuple(sheet[1, 360]) == (255, 0, 0)
