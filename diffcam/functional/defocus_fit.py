"""Which lens blurred a photo: a focus plane and a level that fit what is seen of the blur everywhere (paper eq. 7).

Shapes: B photos, K blur radii that likelihoods are known for, h x w cells of a photo.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PLANES = 41
"""Focus planes that are tried, evenly spaced from 0 to 1."""

LEVELS = (0.0, *(0.5 * 1.08**number for number in range(51)))
"""Blur radii per unit of disparity that are tried, pixels: up to 23.5, steps of 8 %."""

OUTLIERS = 0.05
"""Share of cells whose likelihoods mislead: shadows, soft textures, depth edges."""

SMOOTHING = 5
"""Cells along a side over which likelihoods are pooled where depth does not tell what belongs together."""


def radius_shares(radius: Tensor, radii_K: Tensor) -> tuple[Tensor, Tensor]:
    """Where a radius lies between known ones: index of the lower, and share of the upper; both of its shape."""
    radius = radius.clamp(0, float(radii_K[-1])).contiguous()
    lower = (torch.searchsorted(radii_K, radius, right=True) - 1).clamp(0, len(radii_K) - 2)
    return lower, (radius - radii_K[lower]) / (radii_K[lower + 1] - radii_K[lower])


def log_likelihood(logits_BKhw: Tensor, radius_B1hw: Tensor, radii_K: Tensor) -> Tensor:
    """Log-likelihood of one radius a cell, linear between the known radii, outliers allowed for; ``(B, 1, h, w)``."""
    table_BKhw = _with_outliers(logits_BKhw)
    lower, share = radius_shares(radius_B1hw, radii_K)
    return (1 - share) * table_BKhw.gather(1, lower) + share * table_BKhw.gather(1, lower + 1)


def fit_lens(logits_BKhw: Tensor, disparity_B1hw: Tensor, radii_K: Tensor) -> tuple[Tensor, Tensor]:
    """The most likely focus plane and level (pixels of radius per unit of disparity), each ``(B,)``.

    Args:
        logits_BKhw: Of the likelihood of each radius in each cell.
        disparity_B1hw: In [0, 1].
        radii_K: Growing from 0, pixels.
    """
    table_BKn, disparity_Bn = _with_outliers(logits_BKhw).flatten(2), disparity_B1hw.flatten(1)
    levels_L = torch.tensor(LEVELS, device=disparity_B1hw.device)
    best_B = torch.full((len(disparity_Bn),), -torch.inf, device=disparity_B1hw.device)
    plane_B, level_B = torch.zeros_like(best_B), torch.zeros_like(best_B)
    for plane in torch.linspace(0, 1, PLANES).tolist():
        radius_BLn = levels_L[:, None] * (disparity_Bn - plane).abs()[:, None]
        lower, share = radius_shares(radius_BLn, radii_K)
        fit_BL = ((1 - share) * table_BKn.gather(1, lower) + share * table_BKn.gather(1, lower + 1)).sum(-1)
        found_B, index_B = fit_BL.max(dim=1)
        better_B = found_B > best_B
        best_B = torch.where(better_B, found_B, best_B)
        plane_B = torch.where(better_B, torch.full_like(plane_B, plane), plane_B)
        level_B = torch.where(better_B, levels_L[index_B], level_B)
    return plane_B, level_B


def local_radius(logits_BKhw: Tensor, radii_K: Tensor) -> Tensor:
    """Blur radius in pixels expected from each cell and its neighbours alone, ``(B, 1, h, w)``: depth plays no part."""
    margin = SMOOTHING // 2
    pooled = F.avg_pool2d(F.pad(_with_outliers(logits_BKhw), (margin,) * 4, mode="replicate"), SMOOTHING, stride=1)
    return (pooled.softmax(dim=1) * radii_K.view(-1, 1, 1)).sum(dim=1, keepdim=True)


def _with_outliers(logits_BKhw: Tensor) -> Tensor:
    return (logits_BKhw.softmax(dim=1) * (1 - OUTLIERS) + OUTLIERS / logits_BKhw.shape[1]).log()
