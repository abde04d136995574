"""Metrics on pixels: MAE, PSNR and SSIM, each a mean over images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.metrics.base import SampleMetric

SSIM_SIGMA = 1.5
SSIM_RADIUS = 5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2


def absolute_error(prediction_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
    """Mean absolute error of each image, ``(B,)``, in units of the display range [0, 1]."""
    return (prediction_B3HW - target_B3HW).abs().flatten(1).mean(dim=1)


def psnr(prediction_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB, ``(B,)``, peak 1; infinite where both are equal."""
    return -10 * torch.log10((prediction_B3HW - target_B3HW).square().flatten(1).mean(dim=1))


def ssim_map(prediction_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
    """Structural similarity of Wang et al. 2004 at each pixel, ``(B, 3, H - 10, W - 10)``.

    Gaussian window of sigma 1.5 and 11 x 11 pixels, population covariance, range 1; only where the window fits.

    Raises:
        ValueError: If an image is smaller than the window.
    """
    height, width = prediction_B3HW.shape[-2:]
    if min(height, width) <= 2 * SSIM_RADIUS:
        raise ValueError(f"SSIM needs images larger than {2 * SSIM_RADIUS} pixels a side, got {width}x{height}")
    x, y = prediction_B3HW.flatten(0, 1)[:, None], target_B3HW.flatten(0, 1)[:, None]
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=x.dtype, device=x.device)
    window = torch.softmax(-(offsets**2) / (2 * SSIM_SIGMA**2), dim=0)

    def local_mean(values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))

    mean_x, mean_y = local_mean(x), local_mean(y)
    variances = local_mean(x * x) + local_mean(y * y) - mean_x**2 - mean_y**2
    covariance = local_mean(x * y) - mean_x * mean_y
    similarity = ((2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)) / (
        (mean_x**2 + mean_y**2 + SSIM_C1) * (variances + SSIM_C2)
    )
    return similarity.view(*prediction_B3HW.shape[:2], *similarity.shape[-2:])


class MAE(SampleMetric):
    """Mean absolute error against the ground truth, display values in [0, 1] (paper, section 4.2)."""

    column, label, higher_is_better = "mae", "MAE", False

    def score(self, prediction_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
        """Errors ``(B,)``."""
        return absolute_error(prediction_B3HW, target_B3HW)


class PSNR(SampleMetric):
    """Peak signal-to-noise ratio in dB, the mean of each image's own (paper, section 4.2)."""

    column, label, higher_is_better, digits = "psnr", "PSNR", True, 2

    def score(self, prediction_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
        """Ratios ``(B,)`` in dB."""
        return psnr(prediction_B3HW, target_B3HW)


class SSIM(SampleMetric):
    """Structural similarity (Wang et al. 2004), mean over pixels and channels."""

    column, label, higher_is_better = "ssim", "SSIM", True

    def score(self, prediction_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
        """Similarities ``(B,)``, 1 for equal images."""
        return ssim_map(prediction_B3HW, target_B3HW).flatten(1).mean(dim=1)
