"""What a camera does between the light on its sensor and the file: noise, tone, sharpening and compression.

Light and display values are float tensors ``(..., H, W)``; pictures have three channels before the last two axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

MIDDLE_GREY = 0.18
"""Light of a surface that displays as a middle grey, relative to white."""

SHOT_SHARE = 0.9
"""Of the noise's variance at middle grey that grows with light; the rest is read-out noise."""

LUMINANCE_TABLE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Quantisation steps of brightness at quality 50 (ITU-T T.81, table K.1)."""

CHROMINANCE_TABLE = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *[99] * 32,
)  # fmt: skip
"""Quantisation steps of colour at quality 50 (ITU-T T.81, table K.2)."""

YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
"""Rows: brightness and the two colour differences of display values (ITU-R BT.601, as JFIF takes it)."""


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian of this deviation in pixels, the border's values going on outside; 0 leaves the image."""
    if sigma <= 0:
        return image
    reach = math.ceil(3 * sigma)
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma).square())
    shares = (weights / weights.sum()).tolist()
    height, width = image.shape[-2:]
    planes_1NHW = image.reshape(1, -1, height, width)
    padded_1NHW = F.pad(planes_1NHW, (0, 0, reach, reach), mode="replicate")
    # A sum of shifted pictures: a convolution of single channels takes several times as long.
    rows_1NHW = torch.stack([share * padded_1NHW[:, :, n : n + height] for n, share in enumerate(shares)]).sum(0)
    padded_1NHW = F.pad(rows_1NHW, (reach, reach, 0, 0), mode="replicate")
    both_1NHW = torch.stack([share * padded_1NHW[..., n : n + width] for n, share in enumerate(shares)]).sum(0)
    return both_1NHW.view(image.shape)


def sensor_noise(light: Tensor, deviation: float, grain: float, generator: torch.Generator) -> Tensor:
    """Add noise of which ``SHOT_SHARE`` grows with the light.

    Args:
        light: Linear, 1 is white.
        deviation: Standard deviation of the light's noise at ``MIDDLE_GREY``.
        grain: Deviation in pixels of a Gaussian that the noise is smoothed by, as demosaicing and resizing do; the
            noise keeps its deviation. 0: every pixel has its own.
        generator: Of the noise.

    Returns:
        The light with noise; may be negative.
    """
    noise = torch.randn(light.shape, generator=generator)
    if grain > 0:
        impulse = torch.zeros(1, 1, 2 * math.ceil(3 * grain) + 1, 2 * math.ceil(3 * grain) + 1)
        impulse[..., impulse.shape[-2] // 2, impulse.shape[-1] // 2] = 1
        noise = gaussian_blur(noise, grain) / gaussian_blur(impulse, grain).square().sum().sqrt()
    variance = SHOT_SHARE * light.clamp_min(0) / MIDDLE_GREY + 1 - SHOT_SHARE
    return light + deviation * variance.sqrt() * noise


def light_deviation(deviation: float, gamma: float) -> float:
    """Deviation of the light at ``MIDDLE_GREY`` that shows as this one of display values ``light^(1 / gamma)``."""
    slope = MIDDLE_GREY ** (1 / gamma - 1) / gamma
    return deviation / slope


def tone_curve(light: Tensor, gamma: float, contrast: float = 0.0) -> Tensor:
    """Light as display values: clipped to white, a power, then an S-curve.

    ``y = clip(light)^(1 / gamma)``; the result is ``y + contrast (3 y^2 - 2 y^3 - y)``.

    Args:
        light: Linear, 1 is white.
        gamma: Exponent of the display, 1 or more.
        contrast: -1 to 1; 0 leaves the power alone.
    """
    display = light.clamp(0, 1) ** (1 / gamma)
    if contrast == 0:
        return display
    return display + contrast * (display.square() * (3 - 2 * display) - display)


def sharpen(display: Tensor, amount: float, sigma: float) -> Tensor:
    """Unsharp masking: ``amount`` times what a Gaussian of ``sigma`` pixels takes away is added; clipped to [0, 1]."""
    return (display + amount * (display - gaussian_blur(display, sigma))).clamp(0, 1)


def quantisation_steps(table: Sequence[int], quality: int) -> Tensor:
    """Steps of the 8x8 cosine coefficients at a quality of 1 to 100, as the Independent JPEG Group scales them."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(table, dtype=torch.float32) * scale + 50) / 100).floor().clamp(1, 255).view(8, 8)


def cosine_basis() -> Tensor:
    """Orthonormal cosines of length 8, a row each."""
    frequency, place = torch.arange(8.0)[:, None], torch.arange(8.0)
    basis = torch.cos(math.pi / 8 * frequency * (place + 0.5)) / 2
    basis[0] /= math.sqrt(2)
    return basis


def _quantise(plane_HW: Tensor, steps: Tensor) -> Tensor:
    """Round the cosine coefficients of 8x8 blocks to whole steps; sides must be multiples of 8."""
    height, width = plane_HW.shape
    basis = cosine_basis()
    blocks = plane_HW.view(height // 8, 8, width // 8, 8).transpose(1, 2)
    blocks = (basis.T @ ((basis @ blocks @ basis.T / steps).round() * steps) @ basis).round()
    return blocks.transpose(1, 2).reshape(height, width)


def jpeg(display_3HW: Tensor, quality: int, subsampled: bool = True, shift: tuple[int, int] = (0, 0)) -> Tensor:
    """What a JPEG file keeps of a picture: rounded cosine coefficients of 8x8 blocks, entropy coding left out.

    Args:
        display_3HW: Display values in [0, 1].
        quality: 1 to 100, as the Independent JPEG Group counts.
        subsampled: Colour at half the size (4:2:0), or at full size.
        shift: Rows and columns by which the blocks' grid lies before the picture's corner, 0 to 15 each.

    Returns:
        Display values of 8 bits, in [0, 1].
    """
    height, width = display_3HW.shape[-2:]
    down, right = -(height + shift[0]) % 16, -(width + shift[1]) % 16
    pixels_3HW = (display_3HW.clamp(0, 1) * 255).round()
    padded_3HW = F.pad(pixels_3HW[None], (shift[1], right, shift[0], down), mode="replicate")[0]
    matrix = torch.tensor(YCBCR)
    ycbcr_3HW = torch.einsum("oc,chw->ohw", matrix, padded_3HW).round()
    brightness_HW = _quantise(ycbcr_3HW[0] - 128, quantisation_steps(LUMINANCE_TABLE, quality)) + 128
    colour_2HW, steps = ycbcr_3HW[1:], quantisation_steps(CHROMINANCE_TABLE, quality)
    if subsampled:
        colour_2HW = F.avg_pool2d(colour_2HW[None], 2)[0]
    colour_2HW = torch.stack([_quantise(plane_HW, steps) for plane_HW in colour_2HW])
    if subsampled:
        size = brightness_HW.shape
        colour_2HW = F.interpolate(colour_2HW[None], size, mode="bilinear", align_corners=False)[0]
    decoded_3HW = torch.einsum("oc,chw->ohw", matrix.inverse(), torch.cat([brightness_HW[None], colour_2HW]))
    crop_3HW = decoded_3HW[:, shift[0] : shift[0] + height, shift[1] : shift[1] + width]
    return crop_3HW.round().clamp(0, 255) / 255
