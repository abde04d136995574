"""Choosing all-in-focus photographs: one blurred region is enough to reject a photo (paper, section 3.1).

The paper thresholds one Laplacian number an image, which an unsharp corner of a detailed photo passes. Here each tile
is judged by how much contrast it has at its finest scale against the next coarser ones. Blur takes the finest first,
while a tile without contrast, such as sky, says nothing either way and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.functional.sharpness import laplacian, luminance

ANALYSIS_SHORT_SIDE = 512
"""Photos are judged at this size, the size that training sees: sharpness beyond it does not matter."""

DEFAULT_THRESHOLD = 0.2
"""Least sharpness of a tile: 95 % of tiles under a Gaussian blur of 1.5 pixels lie below 0.185 (``docs/log.md``)."""


@dataclass(frozen=True)
class Sharpness:
    """What was measured on one photo.

    Args:
        score: The sharpness of its least sharp tile that has any contrast; 0 if no tile has.
        tiles: ``(rows, columns)`` sharpness of each tile, NaN where there is no contrast.
        tile: Side of a tile as a share of the photo's short side.
    """

    score: float
    tiles: Tensor
    tile: float

    @property
    def textured(self) -> float:
        """The share of tiles that have contrast."""
        return float((~self.tiles.isnan()).float().mean())


def tile_sharpness(image_3HW: Tensor, tile: int = 64, contrast: float = 0.003) -> Tensor:
    """Sharpness of each tile: contrast at the finest scale over contrast two octaves coarser.

    Args:
        image_3HW: ``(3, H, W)`` in [0, 1].
        tile: Side of a tile in pixels, the photo's short side if that is smaller; what is left over at the lower and
            right edge is not judged.
        contrast: Least standard deviation of the coarse Laplacian for a tile to be judged. Strong blur takes coarse
            contrast too, so that a larger value lets strongly blurred regions pass for sky.

    Returns:
        ``(H // tile, W // tile)``, NaN for tiles without contrast.
    """
    tile = min(tile, *image_3HW.shape[1:]) // 4 * 4
    if tile == 0:  # a photo of fewer than 4 pixels has no coarser scale
        return torch.full((1, 1), torch.nan)
    gray_B1HW = luminance(image_3HW[None])
    fine = _tile_deviation(laplacian(gray_B1HW), tile)
    coarse = _tile_deviation(laplacian(F.avg_pool2d(gray_B1HW, 4)), tile // 4)
    rows, columns = min(fine.shape[0], coarse.shape[0]), min(fine.shape[1], coarse.shape[1])
    fine, coarse = fine[:rows, :columns], coarse[:rows, :columns]
    return torch.where(coarse >= contrast, fine / coarse.clamp(min=1e-9), torch.nan)


def _tile_deviation(response_B1HW: Tensor, tile: int) -> Tensor:
    mean_square = F.avg_pool2d(response_B1HW**2, tile) - F.avg_pool2d(response_B1HW, tile) ** 2
    return mean_square[0, 0].clamp(min=0).sqrt()


def measure_sharpness(image_3HW: Tensor, *, tile: int = 64, contrast: float = 0.003) -> Sharpness:
    """Sharpness of a photo ``(3, H, W)`` in [0, 1], judged at a 512-pixel short side; see :func:`tile_sharpness`."""
    scale = ANALYSIS_SHORT_SIDE / min(image_3HW.shape[1:])
    if scale < 1:
        size = [round(side * scale) for side in image_3HW.shape[1:]]
        image_3HW = F.interpolate(image_3HW[None], size, mode="bilinear", antialias=True)[0]
    tiles = tile_sharpness(image_3HW, tile, contrast)
    judged = tiles[~tiles.isnan()]
    score = float(judged.min()) if judged.numel() else 0.0
    return Sharpness(score, tiles, min(1.0, tile / min(image_3HW.shape[1:])))
