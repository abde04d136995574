"""Metrics on pixels: MAE, PSNR and SSIM, each a mean over images."""

from __future__ import annotations

import torch
from torch import Tensor

from diffcam.metrics.base import SampleMetric

SSIM_SIGMA = 1.5
"""Standard deviation of SSIM's Gaussian window, pixels (Wang et al. 2004)."""

SSIM_RADIUS = 5
"""Reach of the window, which is 11 pixels wide (Wang et al. 2004)."""

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
"""What keeps quotients of small means and variances stable, for a range of 1 (Wang et al. 2004)."""


def ssim_map(prediction_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
    """Structural similarity of Wang et al. 2004 at each pixel, ``(B, 3, H - 10, W - 10)``.

    Gaussian window of sigma 1.5 and 11 x 11 pixels, population covariance, range 1; only where the window fits.

    Raises:
        ValueError: If an image is smaller than the window.
    """
    height, width = prediction_B3HW.shape[-2:]
    if min(height, width) <= 2 * SSIM_RADIUS:
        raise ValueError(f"SSIM needs images larger than {2 * SSIM_RADIUS} pixels a side, got {width}x{height}")
    # image by image: a batch's intermediate sums would fall out of a CPU's cache
    maps = []
    for x, y in zip(prediction_B3HW.split(1), target_B3HW.split(1), strict=True):
        mean_x, mean_y = _window_mean(x), _window_mean(y)
        product = mean_x * mean_y
        squares = mean_x.square() + mean_y.square()
        variances = _window_mean(x.square() + y.square()) - squares
        covariance = _window_mean(x * y) - product
        likeness = product.mul_(2).add_(SSIM_C1).mul_(covariance.mul_(2).add_(SSIM_C2))
        maps.append(likeness.div_(variances.add_(SSIM_C2).mul_(squares.add_(SSIM_C1))))
    return torch.cat(maps)


def _window_mean(values_BCHW: Tensor) -> Tensor:
    """Gaussian mean where the window fits; sums of shifted views, which a CPU does faster than a convolution."""
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=torch.float64)
    weights = torch.softmax(-(offsets**2) / (2 * SSIM_SIGMA**2), dim=0).tolist()
    for dim in (2, 3):
        size = values_BCHW.shape[dim] - 2 * SSIM_RADIUS
        mean = weights[0] * values_BCHW.narrow(dim, 0, size)
        for place, weight in enumerate(weights[1:], start=1):
            mean.add_(values_BCHW.narrow(dim, place, size), alpha=weight)
        values_BCHW = mean
    return values_BCHW


class MAE(SampleMetric):
    """Mean absolute error against the ground truth, display values in [0, 1] (paper, section 4.2).

    Examples:
        >>> MAE().score(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.25))
        tensor([0.2500])
    """

    column, label, higher_is_better = "mae", "MAE", False

    def score(self, prediction_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
        """Errors ``(B,)``, in units of the display range."""
        return (prediction_B3HW - target_B3HW).abs_().flatten(1).mean(dim=1)


class PSNR(SampleMetric):
    """Peak signal-to-noise ratio in dB, the mean of each image's own (paper, section 4.2).

    Examples:
        >>> PSNR().score(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1))
        tensor([20.])
    """

    column, label, higher_is_better, digits = "psnr", "PSNR", True, 2

    def score(self, prediction_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
        """Ratios ``(B,)`` in dB, peak 1; infinite where both are equal."""
        return -10 * torch.log10((prediction_B3HW - target_B3HW).square().flatten(1).mean(dim=1))


class SSIM(SampleMetric):
    """Structural similarity (Wang et al. 2004), mean over pixels and channels.

    Examples:
        >>> SSIM().score(torch.full((1, 3, 4, 4), 0.75))
        tensor([0.7500])
    """

    column, label, higher_is_better = "ssim", "SSIM", True
    inputs = ("similarity",)

    def score(self, similarity_B3HW: Tensor) -> Tensor:
        """Similarities ``(B,)`` from :func:`ssim_map`, 1 for equal images."""
        return similarity_B3HW.flatten(1).mean(dim=1)
