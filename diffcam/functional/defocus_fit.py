"""Which lens blurred a photo: focus planes and levels that fit what is seen of the blur everywhere (paper eq. 7).

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

DISPARITIES = 81
"""Disparities that cells are sorted into: steps of half a plane's."""

OUTLIERS = 0.05
"""Share of cells whose likelihoods mislead: shadows, soft textures, depth edges."""

HABIT = 0.25
"""How much of a network's habit is divided out of its answers: cells that tell nothing answer by it, rightly."""

LEAST_SHARE = 1e-3
"""Radii met more rarely than this are not known well enough to be made more of."""

CELLS_ALIKE = 100
"""Cells that say the same thing once: neighbours share their texture, and with it what misleads."""

SMOOTHING = 5
"""Cells along a side that are asked together where depth does not tell what belongs together."""

NEIGHBOURS = 4
"""How many of those count: the rest say what these say."""


def radius_shares(radius: Tensor, radii_K: Tensor) -> tuple[Tensor, Tensor]:
    """Where a radius lies between known ones: index of the lower, and share of the upper; both of its shape."""
    radius = radius.clamp(0, float(radii_K[-1])).contiguous()
    lower = (torch.searchsorted(radii_K, radius, right=True) - 1).clamp(0, len(radii_K) - 2)
    return lower, (radius - radii_K[lower]) / (radii_K[lower + 1] - radii_K[lower])


def shares_of_radii(radius_B1hw: Tensor, radii_K: Tensor) -> Tensor:
    """Share of the cells with each of the known radii, ``(K,)``; a radius in between counts for both."""
    lower, share = (part.flatten() for part in radius_shares(radius_B1hw, radii_K))
    counts_K = torch.zeros_like(radii_K)
    return counts_K.index_add(0, lower, 1 - share).index_add(0, lower + 1, share) / len(share)


def log_likelihoods(logits_BKhw: Tensor, shares_K: Tensor) -> Tensor:
    """Log-likelihood of each radius in each cell, outliers allowed for; of the logits' shape.

    A network that was trained on cells of which few are much blurred answers so: dividing by how often it met each
    radius leaves what the cell itself says (scaled likelihoods, Bourlard and Morgan 1990). Over thousands of cells the
    habit would outweigh it.

    Args:
        logits_BKhw: Of the network.
        shares_K: Share of the cells in training with each radius.
    """
    habit_K = shares_K.clamp_min(LEAST_SHARE).log()
    likelihood_BKhw = (logits_BKhw.log_softmax(dim=1) - HABIT * habit_K.view(-1, 1, 1)).softmax(dim=1)
    return (likelihood_BKhw * (1 - OUTLIERS) + OUTLIERS / logits_BKhw.shape[1]).log()


def of_radius(table_BKhw: Tensor, radius_B1hw: Tensor, radii_K: Tensor) -> Tensor:
    """What a table of known radii says of one radius a cell, linear in between; ``(B, 1, h, w)``."""
    lower, share = radius_shares(radius_B1hw, radii_K)
    return (1 - share) * table_BKhw.gather(1, lower) + share * table_BKhw.gather(1, lower + 1)


def fit_lens(table_BKhw: Tensor, disparity_B1hw: Tensor, radii_K: Tensor) -> Tensor:
    """Blur radius in pixels to expect at each disparity from 0 to 1, ``(B, DISPARITIES)``.

    The mean over all focus planes and levels, each as likely as it makes the cells: where the photo leaves several
    open, that is less extreme than the likeliest of them, and a radius that is too large does harm.

    Args:
        table_BKhw: Of :func:`log_likelihoods`.
        disparity_B1hw: In [0, 1].
        radii_K: Growing from 0, pixels.
    """
    table_BKD = _by_disparity(table_BKhw, disparity_B1hw)
    device = table_BKD.device
    planes_P, levels_L = torch.linspace(0, 1, PLANES, device=device), torch.tensor(LEVELS, device=device)
    depth_D = torch.linspace(0, 1, DISPARITIES, device=device)
    radius_PLD = levels_L[:, None] * (depth_D - planes_P[:, None, None]).abs()
    lower, share = radius_shares(radius_PLD, radii_K)
    each = torch.arange(DISPARITIES, device=device)
    fit_BPL = ((1 - share) * table_BKD[:, lower, each] + share * table_BKD[:, lower + 1, each]).sum(-1)
    likely_BN = (fit_BPL / CELLS_ALIKE).flatten(1).softmax(dim=1)
    return likely_BN @ radius_PLD.flatten(0, 1)


def radius_at(curve_BD: Tensor, disparity_B1HW: Tensor) -> Tensor:
    """Blur radius at each pixel, ``(B, 1, H, W)``, of radii by disparity (`fit_lens`); linear in between."""
    place = disparity_B1HW.clamp(0, 1).flatten(1) * (DISPARITIES - 1)
    lower = place.long().clamp_max(DISPARITIES - 2)
    radius = torch.lerp(curve_BD.gather(1, lower), curve_BD.gather(1, lower + 1), place - lower)
    return radius.view_as(disparity_B1HW)


def _by_disparity(table_BKhw: Tensor, disparity_B1hw: Tensor) -> Tensor:
    """Sums over all cells of like disparity, ``(B, K, DISPARITIES)``: all that a fit needs to know of them."""
    index_B1n = (disparity_B1hw.clamp(0, 1) * (DISPARITIES - 1)).round().long().flatten(2)
    table_BKn = table_BKhw.flatten(2)
    sums = table_BKn.new_zeros(*table_BKn.shape[:2], DISPARITIES)
    return sums.scatter_add(2, index_B1n.expand_as(table_BKn), table_BKn)


def local_radius(table_BKhw: Tensor, radii_K: Tensor) -> Tensor:
    """Blur radius in pixels expected from each cell and its neighbours alone, ``(B, 1, h, w)``: depth plays no part.

    Args:
        table_BKhw: Log-probability of each radius in each cell; habits count, as nothing else is known.
        radii_K: Growing from 0, pixels.
    """
    margin = SMOOTHING // 2
    pooled = F.avg_pool2d(F.pad(table_BKhw, (margin,) * 4, mode="replicate"), SMOOTHING, stride=1)
    return ((NEIGHBOURS * pooled).softmax(dim=1) * radii_K.view(-1, 1, 1)).sum(dim=1, keepdim=True)
