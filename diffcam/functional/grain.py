"""A photo's grain: measured where there is no texture, and made again where blur has washed it out.

H rows and W columns of pixels, N tiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.functional.camera_pipeline import gaussian_blur

TILE, TILES = 128, 8
"""Side of the tiles in pixels, and how many at least along each side a large photo is measured in; chosen."""

BLOCK = 16
"""Side of the blocks in which deviations are measured, pixels; chosen."""

FINE, COARSE = 2.0, 6.0
"""Deviations of the Gaussians whose differences are the grain's octaves and those in which only texture is strong."""

TEXTURE = 0.15
"""Variance of the coarse octaves relative to the fine ones from which a block has texture: noise has 0.02; chosen."""

QUANTILE, LOUDEST = 0.05, 1.5
"""Quantile of the blocks' variances up to which grain goes, as noise is everywhere; and how many times as much of it a
block of grain may have; chosen."""

LEAST, MOST = 0.75 / 255, 12 / 255
"""Deviation below which there is no grain (rounding to 8 bits has 0.29 / 255), and from which it is texture; chosen."""

LEAST_BLOCKS = 0.02
"""Share of quiet blocks without texture that is needed; chosen."""


@dataclass(frozen=True)
class Grain:
    """Noise of a photo.

    Args:
        mixing: ``(3, 3)``: from independent noise of deviation 1 to that of the channels, display values.
        size: Deviation in pixels of the Gaussian that the noise is smoothed by; 0: every pixel has its own.
    """

    mixing: Tensor
    size: float

    def draw(self, height: int, width: int, generator: torch.Generator) -> Tensor:
        """Noise of this kind, ``(3, height, width)``."""
        noise_3HW = gaussian_blur(torch.randn(3, height, width, generator=generator), self.size)
        return torch.einsum("oc,chw->ohw", self.mixing, noise_3HW / noise_3HW.std().clamp_min(1e-6))


def measure_grain(photo_3HW: Tensor) -> Grain | None:
    """The grain of a photo; None where none is found, as in clean photos and where compression has flattened it.

    It is what a Gaussian of ``FINE`` pixels takes away, in blocks where little is left up to ``COARSE`` pixels: texture
    is as strong there, noise is not. Only blocks about as quiet as the quietest are taken: noise is everywhere. A
    neighbour's correlation r tells the size: noise smoothed by a Gaussian of deviation s has ``r = exp(-1 / (4 s^2))``.

    Args:
        photo_3HW: Display values in [0, 1].

    Examples:
        >>> noisy = 0.5 + 4 / 255 * torch.randn(3, 256, 256, generator=torch.Generator().manual_seed(0))
        >>> grain = measure_grain(noisy)
        >>> (grain.mixing.square().sum(1).sqrt() * 255).round()  # of each channel
        tensor([4., 4., 4.])
    """
    tiles_N3HW = _tiles(photo_3HW)
    if min(tiles_N3HW.shape[-2:]) < BLOCK:
        return None
    smooth_N3HW = gaussian_blur(tiles_N3HW, FINE)
    fine_N3HW = tiles_N3HW - smooth_N3HW
    coarse_N3HW = smooth_N3HW - gaussian_blur(smooth_N3HW, COARSE)
    fine, coarse = (F.avg_pool2d(part.square().mean(1), BLOCK) for part in (fine_N3HW, coarse_N3HW))
    brightness = F.avg_pool2d(tiles_N3HW.mean(1), BLOCK)
    exposed = (brightness > 0.05) & (brightness < 0.95)
    if not exposed.any():
        return None
    floor = float(fine[exposed].quantile(QUANTILE))
    quiet = exposed & (coarse <= TEXTURE * fine) & (fine <= LOUDEST * floor)
    if not LEAST <= math.sqrt(floor) <= MOST or float(quiet.float().mean()) < LEAST_BLOCKS:
        return None
    variance = float(fine[quiet].mean())
    blocks = fine_N3HW.unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK).movedim(1, 3)[quiet]  # (M, 3, BLOCK, BLOCK)
    channels_3N = blocks.movedim(1, 0).flatten(1)
    covariance_33 = channels_3N @ channels_3N.T / channels_3N.shape[1]
    covariance_33 = covariance_33 * (3 * variance / covariance_33.trace()) + 1e-10 * torch.eye(3)
    products = [(blocks[..., 1:] * blocks[..., :-1]).mean(), (blocks[..., 1:, :] * blocks[..., :-1, :]).mean()]
    correlation = float(sum(products) / 2 / blocks.square().mean())
    size = 1 / (2 * math.sqrt(-math.log(min(correlation, 0.9)))) if correlation > 0.02 else 0.0
    return Grain(torch.linalg.cholesky(covariance_33), size)


def add_grain(
    result_3HW: Tensor, photo_3HW: Tensor, kept_1HW: Tensor, grain: Grain, generator: torch.Generator
) -> Tensor:
    """The result with as much grain as its blur took away; pixels that are the photo's own stay, to the last bit.

    Where a share k of the photo's detail is kept, grain of ``sqrt(1 - k^2)`` times the photo's is added.

    Args:
        result_3HW: Display values in [0, 1].
        photo_3HW: The photo that it is made of.
        kept_1HW: Share of the photo's finest detail that the result has; from 1 on nothing is added.
        grain: Of the photo.
        generator: Of the noise.
    """
    own_1HW = ((result_3HW - photo_3HW).abs() < 0.5 / 255).all(0, keepdim=True)
    strength_1HW = (1 - kept_1HW.clamp(0, 1).square()).sqrt()
    noise_3HW = grain.draw(result_3HW.shape[-2], result_3HW.shape[-1], generator)
    return torch.where(own_1HW, result_3HW, (result_3HW + strength_1HW * noise_3HW).clamp(0, 1))


def _tiles(photo_3HW: Tensor) -> Tensor:
    """Evenly placed squares of a large photo, ``(N, 3, TILE, TILE)``; a small one as it is."""
    height, width = photo_3HW.shape[-2:]
    if min(height, width) < TILE:
        return photo_3HW[None]
    steps = (max(TILE, (side - TILE) // (TILES - 1)) for side in (height, width))
    down, right = steps
    return photo_3HW.unfold(1, TILE, down).unfold(2, TILE, right).movedim(0, 2).flatten(0, 1)
