"""Estimate of the focus plane and bokeh level of a photo from local likelihoods of its blur radius (paper eq. 7).

Shapes: B photos, K blur radii on the grid of the likelihoods, D disparities, h x w cells (squares) of a photo.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PLANES = 41
"""Focus planes on the grid of the fit, evenly spaced from 0 to 1; chosen: steps of 0.025."""

LEVELS = (0.0, *(0.5 * 1.08**number for number in range(51)))
"""Bokeh levels on the grid of the fit, pixels of radius per unit of disparity; chosen: 0 and 0.5 to 23.5, by 8 %."""

DISPARITY_BINS = 81
"""Disparities, evenly spaced from 0 to 1, that cells are rounded to; chosen: half the step of the planes."""

OUTLIER_SHARE = 0.05
"""Probability that a cell's likelihoods are wrong (shadows, soft textures, depth edges); chosen."""

PRIOR_POWER = 0.25
"""Power of the training shares of the radii that a network's answers are divided by; measured: docs/log.md, sixth
edition, "A lower power of the shares"."""

SHARE_FLOOR = 1e-3
"""Least training share that answers are divided by, so that rare radii are not exaggerated; chosen."""

CELLS_PER_OBSERVATION = 100
"""Cells that count as one independent observation, as neighbours share texture and errors; measured: docs/log.md, third
edition, "The mean of all lenses"."""

NEIGHBOURHOOD = 5
"""Side in cells of the square that a local estimate averages over; chosen."""

NEIGHBOURHOOD_OBSERVATIONS = 4
"""Independent observations that such a square counts as; measured: docs/log.md, fourth edition, "Without depth"."""


def interpolation_weights(radius: Tensor, radii_K: Tensor) -> tuple[Tensor, Tensor]:
    """Linear interpolation between known radii: index of the lower one, and weight of the upper; both of its shape."""
    radius = radius.clamp(0, float(radii_K[-1])).contiguous()
    lower = (torch.searchsorted(radii_K, radius, right=True) - 1).clamp(0, len(radii_K) - 2)
    return lower, (radius - radii_K[lower]) / (radii_K[lower + 1] - radii_K[lower])


def radius_histogram(radius_B1hw: Tensor, radii_K: Tensor) -> Tensor:
    """Share of the cells at each of the known radii, ``(K,)``; a radius between two is divided between them."""
    lower, share = (part.flatten() for part in interpolation_weights(radius_B1hw, radii_K))
    counts_K = torch.zeros_like(radii_K)
    return counts_K.index_add(0, lower, 1 - share).index_add(0, lower + 1, share) / len(share)


def log_likelihoods(logits_BKhw: Tensor, shares_K: Tensor) -> Tensor:
    """Log-likelihood of each radius in each cell, mixed with a uniform one for outliers; of the logits' shape.

    A network answers with posteriors, which hold the prior that it was trained with: few cells are strongly blurred.
    Posteriors over priors are likelihoods up to a factor (scaled likelihoods, Bourlard and Morgan 1990); summed over
    thousands of cells the prior would outweigh them.

    Args:
        logits_BKhw: Of the network.
        shares_K: The prior: share of the training cells at each radius.
    """
    prior_K = shares_K.clamp_min(SHARE_FLOOR).log()
    likelihood_BKhw = (logits_BKhw.log_softmax(dim=1) - PRIOR_POWER * prior_K.view(-1, 1, 1)).softmax(dim=1)
    return (likelihood_BKhw * (1 - OUTLIER_SHARE) + OUTLIER_SHARE / logits_BKhw.shape[1]).log()


def interpolate_at(table_BKhw: Tensor, radius_B1hw: Tensor, radii_K: Tensor) -> Tensor:
    """Values of a table over known radii at one radius a cell, interpolated linearly; ``(B, 1, h, w)``."""
    lower, share = interpolation_weights(radius_B1hw, radii_K)
    return (1 - share) * table_BKhw.gather(1, lower) + share * table_BKhw.gather(1, lower + 1)


def radius_curve(table_BKhw: Tensor, disparity_B1hw: Tensor, radii_K: Tensor) -> Tensor:
    """Expected blur radius in pixels at each disparity from 0 to 1, ``(B, DISPARITY_BINS)``.

    The posterior mean over a grid of focus planes and levels with a uniform prior. Where a photo leaves several lenses
    open it is less extreme than the most likely one, and deconvolution suffers most from radii that are too large.

    Args:
        table_BKhw: Of :func:`log_likelihoods`.
        disparity_B1hw: In [0, 1].
        radii_K: Growing from 0, pixels.
    """
    # Sums over all cells of one disparity are all that the fit needs of the cells.
    bin_B1n = (disparity_B1hw.clamp(0, 1) * (DISPARITY_BINS - 1)).round().long().flatten(2)
    table_BKn = table_BKhw.flatten(2)
    table_BKD = table_BKn.new_zeros(*table_BKn.shape[:2], DISPARITY_BINS)
    table_BKD = table_BKD.scatter_add(2, bin_B1n.expand_as(table_BKn), table_BKn)
    device = table_BKD.device
    planes_P, levels_L = torch.linspace(0, 1, PLANES, device=device), torch.tensor(LEVELS, device=device)
    depth_D = torch.linspace(0, 1, DISPARITY_BINS, device=device)
    radius_PLD = levels_L[:, None] * (depth_D - planes_P[:, None, None]).abs()
    lower, share = interpolation_weights(radius_PLD, radii_K)
    each = torch.arange(DISPARITY_BINS, device=device)
    fit_BPL = ((1 - share) * table_BKD[:, lower, each] + share * table_BKD[:, lower + 1, each]).sum(-1)
    posterior_BN = (fit_BPL / CELLS_PER_OBSERVATION).flatten(1).softmax(dim=1)
    return posterior_BN @ radius_PLD.flatten(0, 1)


def radius_at(curve_BD: Tensor, disparity_B1HW: Tensor) -> Tensor:
    """Blur radius at each pixel, ``(B, 1, H, W)``, of a curve of :func:`radius_curve`, interpolated linearly."""
    place = disparity_B1HW.clamp(0, 1).flatten(1) * (DISPARITY_BINS - 1)
    lower = place.long().clamp_max(DISPARITY_BINS - 2)
    radius = torch.lerp(curve_BD.gather(1, lower), curve_BD.gather(1, lower + 1), place - lower)
    return radius.view_as(disparity_B1HW)


def local_radius(table_BKhw: Tensor, radii_K: Tensor) -> Tensor:
    """Expected blur radius in pixels of each cell, from its neighbourhood and without depth, ``(B, 1, h, w)``.

    Args:
        table_BKhw: Log-posterior of each radius in each cell: the prior is kept, as nothing else is known.
        radii_K: Growing from 0, pixels.
    """
    margin = NEIGHBOURHOOD // 2
    pooled = F.avg_pool2d(F.pad(table_BKhw, (margin,) * 4, mode="replicate"), NEIGHBOURHOOD, stride=1)
    return ((NEIGHBOURHOOD_OBSERVATIONS * pooled).softmax(dim=1) * radii_K.view(-1, 1, 1)).sum(dim=1, keepdim=True)
