"""Wiener deconvolution by discs whose radius changes over the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.functional.layered_lens import lens_disc, response

LEAST_RADIUS = 0.5
"""Pixels: less blur than this is not undone."""

RADIUS_RATIO = 1.4
"""Of neighbouring radii that a picture is deconvolved by; in between, two results are mixed."""


def wiener_radii(largest: float) -> list[float]:
    """Radii from ``LEAST_RADIUS`` on, each ``RADIUS_RATIO`` times the last, up to ``largest`` or just beyond."""
    count = math.ceil(math.log(max(largest, LEAST_RADIUS) / LEAST_RADIUS) / math.log(RADIUS_RATIO)) + 1
    return [LEAST_RADIUS * RADIUS_RATIO**number for number in range(count)]


def smooth_side(side: int) -> int:
    """The least whole number from ``side`` on with no prime factor above 5: fast Fourier transforms like such."""
    while True:
        rest = side
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return side
        side += 1


def wiener_deconvolution(image_CHW: Tensor, radius_1HW: Tensor, noises: Sequence[float]) -> Tensor:
    """Undo blur by discs: ``conj(D) / (|D|^2 + noise)`` of each radius's disc D, mixed by the local radius.

    Args:
        image_CHW: What was blurred, in the light in which it was.
        radius_1HW: Blur radius in pixels; its sign does not matter.
        noises: Powers of the noise over that of the picture, at every frequency; a result for each.

    Returns:
        ``(N, C, H, W)``, the image itself where the radius is below ``LEAST_RADIUS``.
    """
    height, width = image_CHW.shape[-2:]
    size_1HW = radius_1HW.abs()
    radii = wiener_radii(float(size_1HW.max()))
    margin = math.ceil(radii[-1]) + 8
    rows, columns = smooth_side(height + 2 * margin), smooth_side(width + 2 * margin)
    sides = (margin, columns - width - margin, margin, rows - height - margin)
    padded_CHW = F.pad(image_CHW[None], sides, mode="replicate")[0]
    # Fading towards the mean, so that opposite borders meet.
    fade_HW = _ramp(rows, margin, rows - height - margin)[:, None] * _ramp(columns, margin, columns - width - margin)
    mean_C11 = image_CHW.mean((1, 2), keepdim=True)
    spectrum = torch.fft.rfft2((padded_CHW - mean_C11) * fade_HW.to(image_CHW))
    place_1HW = (size_1HW.clamp_min(1e-6) / LEAST_RADIUS).log() / math.log(RADIUS_RATIO)
    result_NCHW = (image_CHW * (-place_1HW).clamp(0, 1)).repeat(len(noises), 1, 1, 1)
    for number, radius in enumerate(radii):
        share_1HW = (1 - (place_1HW - number).abs()).clamp_min(0)
        if not bool(share_1HW.any()):
            continue
        inverse_N1HF = _inverses(radius, tuple(noises), rows, columns).to(spectrum)
        sharp_NCHW = torch.fft.irfft2(spectrum * inverse_N1HF, s=(rows, columns))
        sharp_NCHW = sharp_NCHW[..., margin : margin + height, margin : margin + width] + mean_C11
        result_NCHW += share_1HW * sharp_NCHW
    return result_NCHW


@lru_cache(maxsize=256)
def _inverses(radius: float, noises: tuple[float, ...], rows: int, columns: int) -> Tensor:
    """Transfer functions of the deconvolution by one disc, ``(N, 1, rows, columns // 2 + 1)``."""
    disc = response(lens_disc(radius), rows, columns)
    power = disc.abs().square()
    return torch.stack([disc.conj() * ((1 + noise) / (power + noise)) for noise in noises])[:, None]


def _ramp(side: int, before: int, after: int) -> Tensor:
    """Ones with half a cosine at each end."""
    rise = 0.5 - 0.5 * torch.cos(math.pi * (torch.arange(before) + 0.5) / max(before, 1))
    fall = 0.5 + 0.5 * torch.cos(math.pi * (torch.arange(after) + 0.5) / max(after, 1))
    return torch.cat([rise, torch.ones(side - before - after), fall])
