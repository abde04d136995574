"""Metrics on a part of the picture: what is in focus, what is not, and what should not change at all."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.metrics.base import SampleMetric
from diffcam.metrics.pixel import SSIM_RADIUS

IN_FOCUS_RADIUS = 1.0
"""Pixels with a smaller blur radius, in pixels of the picture itself, count as in focus."""

UNCHANGED_DIFFERENCE = 2 / 255
"""Ground truth and reference agree where no channel differs by more: rounding to 8 bits makes 1/255 of it."""

UNCHANGED_WINDOW = 9
"""Side in pixels of the window throughout which they must agree for its centre to count as unchanged."""

LEAST_SHARE = 0.01
"""Smallest share of the picture over which a region's mean is taken; smaller ones are too noisy to compare."""


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


class InFocusPSNR(SampleMetric):
    """PSNR in dB over the pixels where the camera asks for a blur radius under one pixel.

    Examples:
        >>> prediction, radius = torch.tensor([0.1, 0.5]).expand(1, 3, 1, 2), torch.tensor([[[[0.0, 5.0]]]])
        >>> InFocusPSNR().score(prediction, torch.zeros(1, 3, 1, 2), radius)  # the error of 0.1 alone
        tensor([20.])
    """

    column, label, higher_is_better, digits = "psnr_in_focus", "PSNR in focus", True, 2
    inputs = ("prediction", "target", "asked_radius")
    in_focus: ClassVar[bool] = True

    def score(self, prediction_B3HW: Tensor, target_B3HW: Tensor, radius_B1HW: Tensor) -> Tensor:
        """Ratios ``(B,)``; NaN where there is no such region."""
        region_B1HW = (radius_B1HW < IN_FOCUS_RADIUS) == self.in_focus
        return -10 * torch.log10(masked_mean((prediction_B3HW - target_B3HW).square(), region_B1HW))


class OutOfFocusPSNR(InFocusPSNR):
    """PSNR in dB over the pixels where the camera asks for a blur radius of one pixel or more."""

    column, label, in_focus = "psnr_out_of_focus", "PSNR out of focus", False


class InFocusSSIM(SampleMetric):
    """SSIM over the windows at whose centres the camera asks for a blur radius under one pixel."""

    column, label, higher_is_better = "ssim_in_focus", "SSIM in focus", True
    inputs = ("similarity", "asked_radius")
    in_focus: ClassVar[bool] = True

    def score(self, similarity_B3HW: Tensor, radius_B1HW: Tensor) -> Tensor:
        """Similarities ``(B,)``; NaN where there is no such region."""
        inner_B1HW = radius_B1HW[..., SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]
        return masked_mean(similarity_B3HW, (inner_B1HW < IN_FOCUS_RADIUS) == self.in_focus)


class OutOfFocusSSIM(InFocusSSIM):
    """SSIM over the windows at whose centres the camera asks for a blur radius of one pixel or more."""

    column, label, in_focus = "ssim_out_of_focus", "SSIM out of focus", False


class Identity(SampleMetric):
    """Mean absolute error where nothing should change: where the ground truth shows what the reference shows.

    Examples:
        >>> target = torch.tensor([0.0, 1.0]).repeat_interleave(16).expand(1, 3, 16, 32)
        >>> Identity().score(torch.full_like(target, 0.25), target, reference_B3HW=torch.zeros_like(target))
        tensor([0.2500])
    """

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
