"""Pictures that a lens takes of whole layers: surfaces that go on where something nearer hides them.

Light that leaves a point out of focus fills a disc. Of a layer whose colours, coverage and depth are known everywhere,
also where it is hidden, colours and coverage are spread alike, and what lies behind shows by the share that is left:
``picture = spread(colour * coverage) + (1 - spread(coverage)) * picture behind``, in linear light, from far to near.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffcam.camera import Aperture
from diffcam.functional.bokeh import polygon_ratio

SUPERSAMPLING = 4
"""Points along a pixel's side at which a disc is evaluated: the area of a disc of 1 px comes out to 1 %."""

RADIUS_STEP = 1.0
"""Pixels between the discs that a surface of varying radius is spread with; in between, two discs are mixed."""

Disc = Callable[[float], Tensor]
"""From a signed radius in pixels to what a point of light leaves: ``(2 n + 1, 2 n + 1)``, sum 1."""


def lens_disc(
    radius: float,
    edge: float = 1.0,
    rim: float = 0.0,
    aperture: Aperture | None = None,
    cut: tuple[float, float] = (0, 0),
    falloff: float = 0.0,
) -> Tensor:
    """What a lens leaves of a point of light.

    Args:
        radius: Signed, in pixels, positive in front of the focus plane.
        edge: Pixels over which brightness falls from full to none at the disc's border, at least 0.
        rim: Spherical aberration, -1 to 1: behind the focus plane the border is brighter than the mean by this share
            and the middle darker; in front of it the other way round.
        aperture: Blades and rotation of the opening; its ``cat_eye`` is not read: where in the picture the disc lies
            is not known here.
        cut: Displacement (down, right), in radii, of a second disc outside which the barrel takes the light.
        falloff: Exponent ``p`` of ``(1 - (d / R)^2)^p``, the brightness at a distance ``d``, with ``R`` larger than
            ``|radius|`` by ``sqrt(1 + p / 2)``: the disc's second moment stays. 0: even.

    Returns:
        Weights ``(2 n + 1, 2 n + 1)`` with the point in the middle, sum 1.
    """
    size = abs(radius) * math.sqrt(1 + falloff / 2)
    reach = math.ceil(size + edge / 2)
    count = (2 * reach + 1) * SUPERSAMPLING
    offsets = (torch.arange(count, dtype=torch.float64) + 0.5) / SUPERSAMPLING - reach - 0.5
    dy, dx = offsets[:, None], offsets[None, :]
    distance = torch.hypot(dy, dx)
    inset = size * polygon_ratio(dy, dx, aperture or Aperture()) - distance
    if cut != (0, 0):
        inset = torch.minimum(inset, size - torch.hypot(dy - cut[0] * radius, dx - cut[1] * radius))
    # Points of the supersampled grid stand for squares of this side: a hard border is as wide.
    weight = (inset / max(edge, 1 / SUPERSAMPLING) + 0.5).clamp(0, 1)
    towards_border = (distance / max(size, 0.5)).clamp_max(1).square()
    weight = weight * (1 + (rim if radius <= 0 else -rim) * (2 * towards_border - 1))
    if falloff:
        weight = weight * (1 - towards_border) ** falloff
    cells = weight.view(2 * reach + 1, SUPERSAMPLING, 2 * reach + 1, SUPERSAMPLING).sum((1, 3))
    total = cells.sum()
    if not total > 0:  # a disc that falls between the points of the grid
        cells[reach, reach] = total = torch.ones((), dtype=torch.float64)
    return (cells / total).float()


def response(kernel: Tensor, height: int, width: int) -> Tensor:
    """Transfer function of a kernel with an odd side on a periodic frame, ``(height, width // 2 + 1)``."""
    reach = kernel.shape[-1] // 2
    if 2 * reach + 1 > min(height, width):
        raise ValueError(f"a kernel of side {2 * reach + 1} does not fit into a frame of {height}x{width}")
    frame = kernel.new_zeros(height, width)
    frame[: 2 * reach + 1, : 2 * reach + 1] = kernel
    return torch.fft.rfft2(frame.roll((-reach, -reach), (0, 1)))


def spread(light_CHW: Tensor, radius_1HW: Tensor, disc: Disc) -> Tensor:
    """Every point's light over its disc; light that leaves the frame comes back on the other side.

    Args:
        light_CHW: Linear light.
        radius_1HW: Signed radius in pixels.
        disc: What a point leaves. Radii between multiples of ``RADIUS_STEP`` mix two discs, unless all are the same.

    Returns:
        ``(C, H, W)``; its sum is that of the light.
    """
    height, width = light_CHW.shape[-2:]
    low, high = float(radius_1HW.min()), float(radius_1HW.max())
    steps = max(1, math.ceil((high - low) / RADIUS_STEP))
    if high - low < 1e-3:
        return torch.fft.irfft2(torch.fft.rfft2(light_CHW) * response(disc(low), height, width), s=(height, width))
    place_1HW = (radius_1HW - low) / (high - low) * steps
    total = torch.zeros(len(light_CHW), height, width // 2 + 1, dtype=torch.complex64)
    for step in range(steps + 1):
        share_1HW = (1 - (place_1HW - step).abs()).clamp_min(0)
        kernel = disc(low + (high - low) * step / steps)
        total += torch.fft.rfft2(light_CHW * share_1HW) * response(kernel, height, width)
    return torch.fft.irfft2(total, s=(height, width))


@dataclass(frozen=True)
class Layer:
    """A surface with all of it, also what nearer ones hide.

    Args:
        light_3HW: Linear light; may exceed 1.
        coverage_1HW: Share of each pixel that it covers, 0 to 1; ones everywhere for the farthest layer.
        radius_1HW: Signed blur radius in pixels, positive in front of the focus plane.
    """

    light_3HW: Tensor
    coverage_1HW: Tensor
    radius_1HW: Tensor


def photograph(layers: Sequence[Layer], disc: Disc) -> Tensor:
    """The lens picture of layers.

    Args:
        layers: From far to near; the first one must cover the frame.
        disc: What a point of light leaves.

    Returns:
        Linear light ``(3, H, W)``; within a radius of the frame's border it is not that of a larger scene.
    """
    picture_3HW = torch.zeros_like(layers[0].light_3HW)
    for number, layer in enumerate(layers):
        shown_4HW = torch.cat([layer.light_3HW * layer.coverage_1HW, layer.coverage_1HW])
        shown_4HW = spread(shown_4HW, layer.radius_1HW, disc).clamp_min(0)
        light_3HW, coverage_1HW = shown_4HW[:3], shown_4HW[3:]
        if number == 0:  # discs of a slanted ground lie denser in some places than in others
            picture_3HW = light_3HW / coverage_1HW.clamp_min(1e-6)
        else:
            light_3HW = light_3HW / coverage_1HW.clamp_min(1)
            picture_3HW = light_3HW + (1 - coverage_1HW.clamp_max(1)) * picture_3HW
    return picture_3HW


def all_in_focus(layers: Sequence[Layer]) -> tuple[Tensor, Tensor]:
    """The same layers through a pinhole.

    Returns:
        Linear light ``(3, H, W)`` and the radius of the nearest layer that covers half of a pixel, ``(1, H, W)``.
    """
    picture_3HW, radius_1HW = layers[0].light_3HW, layers[0].radius_1HW
    for layer in layers[1:]:
        picture_3HW = torch.lerp(picture_3HW, layer.light_3HW, layer.coverage_1HW)
        radius_1HW = torch.where(layer.coverage_1HW >= 0.5, layer.radius_1HW, radius_1HW)
    return picture_3HW, radius_1HW
