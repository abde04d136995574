"""The bokeh renderer in plain torch: the reference that every faster implementation is tested against.

Shapes: B images, 3 channels, H rows, W columns. Radii are float pixels and are never rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from diffcam.camera import Aperture
from diffcam.functional.disc import disc_strength, soft_edge

PAPER_GAMMA = 4.0
"""Exponent from display values to the light that blur spreads, of the paper's data: BokehMe's default. The default of
renderers and of what simulates data."""

DISPLAY_GAMMA = 2.2
"""Exponent from display values to light that a screen really has (sRGB is near it): of real lenses, the ray tracer, the
embedded model and the open benchmark."""


def check_bokeh_inputs(
    image_B3HW: Tensor, disparity_B1HW: Tensor, focus_disparity_B: Tensor, bokeh_B: Tensor, gamma: float
) -> None:
    """Raise a ValueError if a shape, a dtype or a number of the arguments that all renderers share does not fit."""
    if image_B3HW.dim() != 4 or image_B3HW.shape[1] != 3 or not image_B3HW.is_floating_point():
        raise ValueError(f"image must be a (B, 3, H, W) float tensor, got {image_B3HW.dtype} {tuple(image_B3HW.shape)}")
    batch, _, height, width = image_B3HW.shape
    if disparity_B1HW.shape != (batch, 1, height, width):
        raise ValueError(f"disparity must be {(batch, 1, height, width)}, got {tuple(disparity_B1HW.shape)}")
    if focus_disparity_B.shape != (batch,) or bokeh_B.shape != (batch,):
        raise ValueError(
            f"focus_disparity and bokeh must be ({batch},), got "
            f"{tuple(focus_disparity_B.shape)} and {tuple(bokeh_B.shape)}"
        )
    if not 1.0 <= gamma <= 5.0:
        raise ValueError(f"gamma must lie in [1, 5], got {gamma}")


def defocus_radius(disparity_B1HW: Tensor, focus_disparity_B: Tensor, bokeh_B: Tensor) -> Tensor:
    """Signed blur radius in pixels, positive in front of the focus plane (paper eq. 7).

    It is ``bokeh * (disparity - focus_disparity)``, with ``bokeh`` in pixels per unit of disparity.

    Raises:
        ValueError: If a radius is not finite or ``bokeh`` is negative.

    Examples:
        >>> disparity = torch.tensor([[[[0.0, 0.5, 1.0]]]])
        >>> defocus_radius(disparity, torch.tensor([0.5]), torch.tensor([12.0])).flatten()
        tensor([-6.,  0.,  6.])
    """
    if bool((bokeh_B < 0).any()):
        raise ValueError(f"bokeh must not be negative, got {bokeh_B.tolist()}")
    radius_B1HW = bokeh_B.view(-1, 1, 1, 1) * (disparity_B1HW - focus_disparity_B.view(-1, 1, 1, 1))
    if not bool(torch.isfinite(radius_B1HW).all()):
        raise ValueError("disparity, focus_disparity and bokeh must be finite")
    return radius_B1HW


def boost_highlights(image_B3HW: Tensor, disparity_B1HW: Tensor, focus_disparity_B: Tensor) -> Tensor:
    """Brighten what is bright and out of focus by up to 40 %, to imitate clipped highlights (BokehMe's formula).

    It is ``image * (1 + 0.4 m1 m2)``; m1 is on away from the focus plane, m2 above 220/255 in each channel.

    Examples:
        >>> white, near = torch.ones(1, 3, 1, 1), torch.ones(1, 1, 1, 1)
        >>> boost_highlights(white, near, torch.tensor([0.2])).flatten()
        tensor([1.3517, 1.3517, 1.3517])
    """
    distance_B1HW = disparity_B1HW - focus_disparity_B.view(-1, 1, 1, 1)
    defocused_B1HW = torch.tanh(200 * (distance_B1HW.square() - 0.01)).clamp(0, 1)
    bright_B3HW = torch.tanh(10 * (image_B3HW - 220 / 255)).clamp(0, 1)
    return image_B3HW * (1 + 0.4 * defocused_B1HW * bright_B3HW)


def display_to_linear(image: Tensor, gamma: float) -> Tensor:
    """Display values to the light that is spread: ``image ** gamma``; values below 0 count as 0."""
    image = image.clamp_min(0)
    # Two squares take a tenth of the time of a power.
    return image.square().square() if gamma == 4 else image**gamma


def linear_to_display(light: Tensor, gamma: float) -> Tensor:
    """Inverse of ``display_to_linear``; where there is no light its gradient is 0, not infinite."""
    light = light.clamp_min(torch.finfo(light.dtype).tiny)
    return light.sqrt().sqrt() if gamma == 4 else light ** (1 / gamma)


def polygon_ratio(dy: Tensor, dx: Tensor, aperture: Aperture) -> Tensor:
    """Radius of the opening in the direction of an offset, relative to a round opening's: 1 or less.

    A polygon of n blades: ``sin b / sin(theta + b)`` with ``a = 2 pi / n``, ``b = pi / 2 - pi / n`` and
    ``theta = |atan2(dy, dx) + rotation| mod a``.
    """
    dy, dx = torch.broadcast_tensors(dy.double(), dx.double())
    if aperture.blades == 0:
        return torch.ones_like(dy)
    base = math.pi / 2 - math.pi / aperture.blades
    theta = torch.remainder((torch.atan2(dy, dx) + aperture.rotation).abs(), 2 * math.pi / aperture.blades)
    return math.sin(base) / torch.sin(theta + base)


def cat_eye_shift(radius_B1HW: Tensor, cat_eye: float) -> tuple[Tensor, Tensor]:
    """Mechanical vignetting: displacement of the second disc, of the same radius, that clips each blur disc.

    Only the intersection of both discs passes the lens barrel. The second one is displaced along the line through the
    image centre by ``cat_eye * R`` in a corner and in proportion elsewhere: inward behind the focus plane, where blur
    is upside down, and outward in front of it.

    Args:
        radius_B1HW: Signed radius in pixels; so are the displacements in y and in x.
        cat_eye: 0 (no cut) to 1 (the displacement in a corner is the radius).
    """
    height, width = radius_B1HW.shape[-2:]
    half_diagonal = math.hypot(height, width) / 2
    y_H1 = (torch.arange(height).to(radius_B1HW) + 0.5 - height / 2)[:, None] / half_diagonal
    x_W = (torch.arange(width).to(radius_B1HW) + 0.5 - width / 2) / half_diagonal
    return cat_eye * radius_B1HW * y_H1, cat_eye * radius_B1HW * x_W


def scatter_discs(
    light_BCHW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture
) -> tuple[Tensor, Tensor]:
    """Spread every pixel over its blur disc and sum colours and weights per receiving pixel; depth order plays no part.

    A source of radius R reaches a square of half-width ``trunc(R) + 1``; at distance r its weight is ``strength`` times
    :func:`diffcam.functional.disc.soft_edge` of ``R - r``.

    Args:
        light_BCHW: Linear light.
        radius_B1HW: Signed radius in pixels.
        strength_B1HW: Weight inside the disc; 0 for a source that is left out.

    Returns:
        Sum of weighted light ``(B, C, H, W)`` and sum of weights ``(B, 1, H, W)``.
    """
    height, width = light_BCHW.shape[-2:]
    size_B1HW = radius_B1HW.abs()
    reach_B1HW = size_B1HW.detach().trunc() + 1
    shift_y, shift_x = cat_eye_shift(radius_B1HW, aperture.cat_eye)
    light_sum, weight_sum = torch.zeros_like(light_BCHW), torch.zeros_like(radius_B1HW)
    limit = int(reach_B1HW.max())
    offsets = torch.arange(-limit, limit + 1)
    ratio = polygon_ratio(offsets[:, None], offsets, aperture).tolist()
    for dy in range(-min(limit, height - 1), min(limit, height - 1) + 1):
        for dx in range(-min(limit, width - 1), min(limit, width - 1) + 1):
            # Sources, and receivers dy rows below and dx columns right of them, that both lie inside the image.
            source = (..., slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx)))
            receiver = (..., slice(max(0, dy), height + min(0, dy)), slice(max(0, dx), width + min(0, dx)))
            inset = size_B1HW[source] * ratio[dy + limit][dx + limit] - math.hypot(dy, dx)
            if aperture.cat_eye > 0:
                from_cut = torch.hypot(dy - shift_y[source], dx - shift_x[source])
                inset = torch.minimum(inset, size_B1HW[source] - from_cut)
            weight = soft_edge(inset) * strength_B1HW[source]
            weight = weight * (reach_B1HW[source] >= max(abs(dy), abs(dx)))
            light_sum[receiver] += weight * light_BCHW[source]
            weight_sum[receiver] += weight
    return light_sum, weight_sum


Scatter = Callable[[Tensor, Tensor, Tensor, Aperture], tuple[Tensor, Tensor]]
"""Type of :func:`scatter_discs` and of its faster implementations."""


def average_discs(light_B3HW: Tensor, radius_B1HW: Tensor, aperture: Aperture, scatter: Scatter) -> Tensor:
    """Light at each pixel as the mean of the discs that reach it, near or far: BokehMe's classical renderer.

    Arguments and result as :func:`diffcam.functional.occlusion.composite_layers`.
    """
    light_sum, weight_sum = scatter(light_B3HW, radius_B1HW, disc_strength(radius_B1HW), aperture)
    return light_sum / weight_sum


def render_bokeh_reference(
    image_B3HW: Tensor,
    disparity_B1HW: Tensor,
    focus_disparity_B: Tensor,
    bokeh_B: Tensor,
    gamma: float = PAPER_GAMMA,
    aperture: Aperture | None = None,
    highlights: bool = False,
    spread: Callable[[Tensor, Tensor, Aperture, Scatter], Tensor] = average_discs,
    scatter: Scatter = scatter_discs,
) -> Tensor:
    """Blur an all-in-focus image; O(pixels * radius^2).

    Args:
        image_B3HW: Display values in [0, 1], float.
        disparity_B1HW: Disparity in [0, 1], 1 nearest; nothing is normalised inside.
        focus_disparity_B: Disparity in focus.
        bokeh_B: Pixels (of this tensor) of blur radius per unit of disparity.
        gamma: 1 to 5; light is ``image ** gamma``.
        aperture: Shape of the opening; None is round.
        highlights: Brighten what is bright and out of focus first; the result is clipped to 1 then.
        spread: :func:`average_discs`, or ``functional.occlusion.composite_layers`` with near surfaces before far ones.
        scatter: :func:`scatter_discs` or a faster implementation.

    Returns:
        Display values in [0, 1], ``(B, 3, H, W)``.

    Raises:
        ValueError: If a shape, a dtype or a number does not fit.

    Examples:
        >>> point = torch.zeros(1, 3, 1, 5).index_fill_(3, torch.tensor(2), 1.0)
        >>> near, far, radius = torch.ones(1, 1, 1, 5), torch.zeros(1), torch.ones(1)
        >>> render_bokeh_reference(point, near, far, radius, gamma=1.0)[0, 0].round(decimals=2)
        tensor([[0.0000, 0.2500, 0.5000, 0.2500, 0.0000]])
    """
    check_bokeh_inputs(image_B3HW, disparity_B1HW, focus_disparity_B, bokeh_B, gamma)
    radius_B1HW = defocus_radius(disparity_B1HW, focus_disparity_B, bokeh_B)
    if highlights:
        image_B3HW = boost_highlights(image_B3HW, disparity_B1HW, focus_disparity_B)
    light_B3HW = spread(display_to_linear(image_B3HW, gamma), radius_B1HW, aperture or Aperture(), scatter)
    result_B3HW = linear_to_display(light_B3HW, gamma)
    return result_B3HW.clamp_max(1) if highlights else result_B3HW
