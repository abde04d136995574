"""Metrics on a part of the picture: what is in focus, what is not, and what should not change at all."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.metrics.base import SampleMetric
from diffcam.metrics.pixel import SSIM_RADIUS

IN_FOCUS_RADIUS = 1.0
"""Pixels whose blur radius is smaller count as in focus."""

UNCHANGED_DIFFERENCE = 2 / 255
UNCHANGED_WINDOW = 9
LEAST_SHARE = 0.01
"""A region smaller than this share of the picture says nothing."""


def unchanged_region(target_B3HW: Tensor, reference_B3HW: Tensor) -> Tensor:
    """Where ground truth and reference agree within 2/255 throughout a window of 9 pixels, ``(B, 1, H, W)`` bool."""
    difference = (target_B3HW - reference_B3HW).abs().amax(dim=1, keepdim=True)
    size, margin = UNCHANGED_WINDOW, UNCHANGED_WINDOW // 2
    for window, padding in (((size, 1), (margin, 0)), ((1, size), (0, margin))):  # a fifth of the time of a square
        difference = F.max_pool2d(difference, window, stride=1, padding=padding)
    return difference < UNCHANGED_DIFFERENCE


def masked_mean(values_BCHW: Tensor, region_B1HW: Tensor) -> Tensor:
    """Mean of each image over a region, ``(B,)``; NaN where the region is under 1 % of the picture."""
    share = region_B1HW.float().mean(dim=(1, 2, 3))
    mean = (values_BCHW.mean(dim=1, keepdim=True) * region_B1HW).mean(dim=(1, 2, 3)) / share
    return torch.where(share < LEAST_SHARE, torch.nan, mean)


class RegionPSNR(SampleMetric):
    """PSNR in dB over the pixels of a region."""

    higher_is_better, digits = True, 2
    inputs = ("prediction", "target", "asked_radius")

    def score(self, prediction_B3HW: Tensor, target_B3HW: Tensor, radius_B1HW: Tensor) -> Tensor:
        """Ratios ``(B,)``; NaN where there is no such region."""
        return -10 * torch.log10(masked_mean((prediction_B3HW - target_B3HW).square(), self.region(radius_B1HW)))

    def region(self, radius_B1HW: Tensor) -> Tensor:
        """Bool mask of the region."""
        raise NotImplementedError


class InFocusPSNR(RegionPSNR):
    """PSNR where the camera asks for a blur radius under one pixel."""

    column, label = "psnr_in_focus", "PSNR in focus"

    def region(self, radius_B1HW: Tensor) -> Tensor:
        """What is in focus."""
        return radius_B1HW < IN_FOCUS_RADIUS


class OutOfFocusPSNR(RegionPSNR):
    """PSNR where the camera asks for a blur radius of one pixel or more."""

    column, label = "psnr_out_of_focus", "PSNR out of focus"

    def region(self, radius_B1HW: Tensor) -> Tensor:
        """What is out of focus."""
        return radius_B1HW >= IN_FOCUS_RADIUS


class RegionSSIM(SampleMetric):
    """SSIM over the windows whose centres lie in a region."""

    higher_is_better = True
    inputs = ("similarity", "asked_radius")

    def score(self, similarity_B3HW: Tensor, radius_B1HW: Tensor) -> Tensor:
        """Similarities ``(B,)``; NaN where there is no such region."""
        inner = radius_B1HW[..., SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]
        return masked_mean(similarity_B3HW, self.region(inner))

    def region(self, radius_B1HW: Tensor) -> Tensor:
        """Bool mask of the region."""
        raise NotImplementedError


class InFocusSSIM(RegionSSIM):
    """SSIM where the camera asks for a blur radius under one pixel."""

    column, label = "ssim_in_focus", "SSIM in focus"

    def region(self, radius_B1HW: Tensor) -> Tensor:
        """What is in focus."""
        return radius_B1HW < IN_FOCUS_RADIUS


class OutOfFocusSSIM(RegionSSIM):
    """SSIM where the camera asks for a blur radius of one pixel or more."""

    column, label = "ssim_out_of_focus", "SSIM out of focus"

    def region(self, radius_B1HW: Tensor) -> Tensor:
        """What is out of focus."""
        return radius_B1HW >= IN_FOCUS_RADIUS


class Identity(SampleMetric):
    """Mean absolute error where nothing should change: where the ground truth shows what the reference shows."""

    column, label, higher_is_better = "identity", "Identity", False
    inputs = ("prediction", "target", "reference")
    note = "Identity: mean absolute error where ground truth and reference agree"

    def score(self, prediction_B3HW: Tensor, target_B3HW: Tensor, reference_B3HW: Tensor) -> Tensor:
        """Errors ``(B,)``; NaN where everything should change."""
        region = unchanged_region(target_B3HW, reference_B3HW)
        return masked_mean((prediction_B3HW - target_B3HW).abs(), region)


class KeptPSNR(SampleMetric):
    """PSNR to the reference where nothing should change: how untouched it is."""

    column, label, higher_is_better, digits = "psnr_kept", "PSNR kept", True, 2
    inputs = ("prediction", "target", "reference")
    note = "PSNR kept: to the reference, where ground truth and reference agree"

    def score(self, prediction_B3HW: Tensor, target_B3HW: Tensor, reference_B3HW: Tensor) -> Tensor:
        """Ratios ``(B,)``; NaN where everything should change."""
        region = unchanged_region(target_B3HW, reference_B3HW)
        return -10 * torch.log10(masked_mean((prediction_B3HW - reference_B3HW).square(), region))
