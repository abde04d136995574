"""The lens of a photo from local evidence of its blur and a map of disparity.

Blur radius is linear in disparity (paper eq. 7): ``radius = level (disparity - plane)``. Evidence is summed over all
places of one disparity; then every lens of a grid is judged by what it says of all disparities.

Shapes: B photos, K blur radii, D disparities, P focus planes, L levels, N = P L lenses, h x w places of a photo.
"""

from __future__ import annotations

import torch
from torch import Tensor

RADII = (0.0, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0, 22.0)
"""Blur radii in pixels that evidence tells apart; between them it is interpolated."""

DISPARITIES = 33
"""Disparities, evenly spaced from 0 to 1, between which places are divided."""

PLANES = tuple(-0.2 + 0.05 * number for number in range(29))
"""Focus planes of the grid: also a little before the nearest and behind the farthest thing in a map."""

LEVELS = (0.0, *(0.7 * 1.14**number for number in range(36)))
"""Bokeh levels of the grid, pixels of radius per unit of disparity: 0, then 0.7 to 69 by 14 %."""


def interpolation(value: Tensor, knots_K: Tensor) -> Tensor:
    """Weights of the knots that interpolate linearly at each value, ``(..., K)``; values beyond the ends take these."""
    value = value.clamp(float(knots_K[0]), float(knots_K[-1])).contiguous()
    lower = (torch.searchsorted(knots_K, value, right=True) - 1).clamp(0, len(knots_K) - 2)
    share = ((value - knots_K[lower]) / (knots_K[lower + 1] - knots_K[lower])).unsqueeze(-1)
    weights = torch.zeros(*value.shape, len(knots_K), device=value.device)
    return weights.scatter(-1, lower.unsqueeze(-1), 1 - share).scatter(-1, lower.unsqueeze(-1) + 1, share)


def lens_radii(device: torch.device | str = "cpu") -> Tensor:
    """Signed radius of every lens of the grid at every disparity, ``(N, D)``."""
    planes_P = torch.tensor(PLANES, device=device)
    levels_L = torch.tensor(LEVELS, device=device)
    depth_D = torch.linspace(0, 1, DISPARITIES, device=device)
    return (levels_L[:, None] * (depth_D - planes_P[:, None, None])).flatten(0, 1)


def lens_scores(evidence_BKhw: Tensor, disparity_B1hw: Tensor) -> Tensor:
    """Mean evidence for every lens of the grid, ``(B, N)``.

    Args:
        evidence_BKhw: For each of :data:`RADII` at each place, any units.
        disparity_B1hw: In [0, 1].
    """
    device = evidence_BKhw.device
    knots_D, radii_K = torch.linspace(0, 1, DISPARITIES, device=device), torch.tensor(RADII, device=device)
    place_BnD = interpolation(disparity_B1hw.flatten(1), knots_D)
    table_BKD = evidence_BKhw.flatten(2) @ place_BnD / place_BnD.shape[1]
    says_NDK = interpolation(lens_radii(device).abs(), radii_K)
    return torch.einsum("bkd,ndk->bn", table_BKD, says_NDK)


def radius_at(curve_BD: Tensor, disparity_B1HW: Tensor) -> Tensor:
    """Radius at each pixel, ``(B, 1, H, W)``, from one at each of the disparities, interpolated linearly."""
    place = disparity_B1HW.clamp(0, 1).flatten(1) * (DISPARITIES - 1)
    lower = place.long().clamp_max(DISPARITIES - 2)
    radius = torch.lerp(curve_BD.gather(1, lower), curve_BD.gather(1, lower + 1), place - lower)
    return radius.view_as(disparity_B1HW)
