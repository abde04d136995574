"""A photo decomposed into bands: differences between it and copies of it blurred by discs of growing radius.

Where depth is constant, defocus is such a disc blur: the photo with another defocus is close to a sum of these bands
with weights that vary slowly over the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.functional.disc import disc_kernel

ENERGY_FLOOR = 1e-6
"""Added to mean squares of display values; about the variance of rounding to 8 bits, 1 / (12 * 255^2)."""

DETAIL_RADII = (1.0, 2.0, 4.0)
"""Radii of the bands that count as fine detail, pixels; chosen (docs/log.md, sixth edition, "Detail")."""

DETAIL_CELL = 16
"""Side in pixels of the squares over which the energy of detail is averaged; chosen (as above)."""


def disc_blur(image_BCHW: Tensor, radius: float) -> Tensor:
    """Mean over a disc around every pixel, float32; the renderer's result for one radius everywhere and gamma 1.

    The radius is in pixels, positive; the disc's edge is the renderer's; what lies outside the frame is left out.
    """
    height, width = image_BCHW.shape[-2:]
    reach = int(radius) + 1
    disc = disc_kernel(radius, image_BCHW.device)
    size = (height + 2 * reach, width + 2 * reach)
    inside = torch.ones(1, 1, height, width, device=image_BCHW.device)
    summed, covered = (
        torch.fft.irfft2(torch.fft.rfft2(plane, s=size) * torch.fft.rfft2(disc, s=size), s=size)
        [..., reach : reach + height, reach : reach + width]
        for plane in (image_BCHW.float(), inside)
    )  # fmt: skip
    return summed / covered


def blur_bands(image_BCHW: Tensor, radii: Sequence[float]) -> Tensor:
    """Differences between successive copies of an image, each blurred by a larger disc; the first is the image itself.

    Radii grow, in pixels. ``(B, len(radii), C, H, W)``; the image minus all bands is the image blurred by the last one.
    """
    stack = [image_BCHW.float(), *(disc_blur(image_BCHW, radius) for radius in radii)]
    return torch.stack([sharper - softer for sharper, softer in pairwise(stack)], dim=1)


def band_energies(bands_BKCHW: Tensor, cell: int) -> Tensor:
    """Local energy of each band: sharp places have energy in the fine bands, defocus removes it.

    Averaged over squares of ``cell`` pixels, for bands in [-1, 1]; ``(B, K, H / cell, W / cell)``:
    ``log(mean square, summed over channels) / 3 + 2``, in [-2.6, 2.4].
    """
    energy_BKHW = bands_BKCHW.square().sum(2)
    return (F.avg_pool2d(energy_BKHW, cell) + ENERGY_FLOOR).log() / 3 + 2


def detail_difference(image_BCHW: Tensor, wanted_BCHW: Tensor) -> Tensor:
    """Difference in the local amount of fine detail between two pictures, whatever the detail is; a scalar.

    Where detail is uncertain, the squared error is least for the mean of all possible details, which is smooth. This
    difference, mean and absolute, of :func:`band_energies` is least for a picture that is as sharp in each place as the
    wanted one; it is 0.23 where one picture has twice the energy of the other.
    """
    one, other = (band_energies(blur_bands(x, DETAIL_RADII), DETAIL_CELL) for x in (image_BCHW, wanted_BCHW))
    return (one - other).abs().mean()


def normalise_contrast(bands_BKHW: Tensor, cell: int) -> Tensor:
    """Local contrast normalisation: bands divided by their root mean square (over bands) nearby; of the same shape.

    Mean squares are taken over squares of ``cell`` pixels and interpolated bilinearly between them.
    """
    energy_B1hw = F.avg_pool2d(bands_BKHW.square().sum(1, keepdim=True), cell) + ENERGY_FLOOR
    energy = F.interpolate(energy_B1hw, size=bands_BKHW.shape[-2:], mode="bilinear", align_corners=False)
    return bands_BKHW / energy.sqrt()


def band_losses(radius_B1HW: Tensor, radii: Sequence[float], cell: int) -> Tensor:
    """Share of each band that a blur removes: 0 up to the band's lower radius, 1 from its upper one, linear between.

    Args:
        radius_B1HW: Radius of the blur, in the unit of ``radii``; negative ones count as 0.
        radii: Of the bands, growing.
        cell: Side of the squares that shares are averaged over, in pixels.

    Returns:
        ``(B, K, H / cell, W / cell)`` in [0, 1].
    """
    radius_K11 = torch.tensor([0.0, *radii], device=radius_B1HW.device).view(-1, 1, 1)
    share_BKHW = ((radius_B1HW - radius_K11[:-1]) / radius_K11.diff(dim=0)).clamp(0, 1)
    return F.avg_pool2d(share_BKHW, cell)


def mix_bands(bands_BKCHW: Tensor, gains_BKhw: Tensor) -> Tensor:
    """Sum of the bands, each weighted by its own coarse map, interpolated bilinearly; ``(B, C, H, W)``."""
    gains = F.interpolate(gains_BKhw, size=bands_BKCHW.shape[-2:], mode="bilinear", align_corners=False)
    return torch.einsum("bkchw,bkhw->bchw", bands_BKCHW, gains)
