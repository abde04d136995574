"""MAE, PSNR and SSIM against numpy and scikit-image on real photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from skimage.filters import gaussian
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from diffcam.metrics import MAE, PSNR, SSIM
from diffcam.metrics.pixel import ssim_map


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two photographs and their blurred copies, ``(2, 96, 128, 3)`` each, float in [0, 1]."""
    photos = [image[100:196, 100:228] / 255 for image in (data.astronaut(), data.coffee())]
    blurred = [gaussian(photo, sigma, channel_axis=-1) for photo, sigma in zip(photos, (1.0, 2.5), strict=True)]
    return np.stack(blurred), np.stack(photos)


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


def test_mae(pair: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, target = pair
    expected = np.abs(prediction - target).mean(axis=(1, 2, 3))
    assert MAE().score(as_tensor(prediction), as_tensor(target)).numpy() == pytest.approx(expected, abs=1e-6)


def test_psnr(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = [peak_signal_noise_ratio(y, x, data_range=1) for x, y in zip(*pair, strict=True)]
    assert PSNR().score(*map(as_tensor, pair)).tolist() == pytest.approx(expected, abs=1e-3)


def test_ssim(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = [
        structural_similarity(
            x, y, data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for x, y in zip(*pair, strict=True)
    ]
    assert SSIM().score(ssim_map(*map(as_tensor, pair))).tolist() == pytest.approx(expected, abs=1e-4)


def test_equal_images(pair: tuple[np.ndarray, np.ndarray]) -> None:
    photo = as_tensor(pair[1])
    assert MAE().score(photo, photo).tolist() == [0, 0]
    assert PSNR().score(photo, photo).tolist() == [np.inf, np.inf]
    assert SSIM().score(ssim_map(photo, photo)).tolist() == pytest.approx([1, 1])


def test_ssim_needs_a_window() -> None:
    with pytest.raises(ValueError, match="larger than 10 pixels"):
        ssim_map(torch.zeros(1, 3, 10, 40), torch.zeros(1, 3, 10, 40))
