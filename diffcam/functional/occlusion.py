"""Occlusion-aware bokeh: near surfaces cover far ones, and what they hide shows through their blurred rims.

Three ideas, all linear in the light:

*Coverage.* A source of radius R spreads an opacity of 1 over its disc, so that the discs of a closed surface add up to
1 wherever it is seen, however they differ in radius.

*Order.* Sources are composited in layers from near to far; each layer covers at most what those before it leave open.
Coverages add, they do not multiply: neighbouring layers of one sloping surface then meet without a seam. So a sharp
subject blocks the blurred light behind it, and a blurred near object is translucent at its rim.

*Hidden surfaces.* What an object hides close to its outline is assumed to continue what is visible beside it.

B images, H rows, W columns. Radii are signed pixels, positive in front of the focus plane.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffcam.camera import Aperture
from diffcam.functional.bokeh import Scatter, cat_eye_shift, polygon_ratio
from diffcam.functional.disc import EDGE_SLOPE, soft_edge

MAX_LAYERS = 16
"""Most layers of depth, none thinner than a pixel of radius; measured: 8 to 32 differ by 0.04 dB (docs/log.md)."""

OUTLINE_STEP = 2.0
"""Step of the radius at an outline, pixels, above which the near surface hides the far one; measured: docs/log.md."""


def disc_weight(radius_B1HW: Tensor, aperture: Aperture) -> Tensor:
    """Sum of a disc's soft weights over the pixels; its inverse is the strength with which opacities add up to 1.

    Below 8 pixels of radius it is the sum over the pixel grid, above the area of the soft disc.
    """
    size, steps, tabled = radius_B1HW.abs(), 64, 8
    radius_R11 = torch.arange(tabled * steps + 1, dtype=torch.float64)[:, None, None] / steps
    offset = torch.arange(-tabled - 1, tabled + 2)
    inset = radius_R11 * polygon_ratio(offset[:, None], offset, aperture) - torch.hypot(
        offset[:, None].double(), offset
    )
    reached = radius_R11.trunc() + 1 >= torch.maximum(offset.abs()[:, None], offset.abs())
    table = (soft_edge(inset) * reached).sum((1, 2)).to(size)
    # The integral of 2 pi r over the soft edge adds pi^3 / (12 * EDGE_SLOPE^2) to pi R^2.
    area = math.pi * (size.square() + (math.pi / EDGE_SLOPE) ** 2 / 12)
    if aperture.blades:
        area = area * (aperture.blades / (2 * math.pi) * math.sin(2 * math.pi / aperture.blades))
    weight = torch.where(size < tabled, table[(size.clamp_max(tabled) * steps).round().long()], area)
    if aperture.cat_eye:
        # Two discs of radius R, their centres 2 R t apart, share (2 / pi) (acos t - t sqrt(1 - t^2)) of their area.
        t = torch.hypot(*cat_eye_shift(radius_B1HW, aperture.cat_eye)) / (2 * size).clamp_min(1e-6)
        weight = weight * (2 / math.pi) * (torch.acos(t) - t * (1 - t.square()).sqrt())
    return weight


def inside_share(size_B: Tensor, length: int) -> Tensor:
    """Share of a disc of radius ``size`` in a strip ``length`` pixels wide, by its centre's pixel; ``(B, length)``."""
    centre = torch.arange(length, dtype=size_B.dtype, device=size_B.device) + 0.5
    t = torch.stack([centre, length - centre])[:, None] / size_B.clamp_min(0.5)[:, None]
    t = t.clamp_max(1)
    return (torch.asin(t) + t * (1 - t.square()).sqrt()).sum(0) / math.pi


def _last_outline(radius_B1HW: Tensor, axis: int) -> Tensor:
    """Position along an axis of the last outline before each pixel where a nearer surface begins; -1: there is none.

    It is two pixels before the step of the radius, clear of the outline's antialiased pixel. Shape ``(B, 1, H, W)``.
    """
    length = radius_B1HW.shape[axis]
    ahead = torch.arange(length, device=radius_B1HW.device)
    one, two = (radius_B1HW.index_select(axis, (ahead + k).clamp_max(length - 1)) - radius_B1HW for k in (1, 2))
    position = ahead[:, None] if axis == -2 else ahead
    return torch.where((two > OUTLINE_STEP) & (one <= OUTLINE_STEP), position, -1).cummax(axis).values


def _nearest_outside(radius_B1HW: Tensor, axis: int, backwards: bool) -> tuple[Tensor, Tensor]:
    """Flat index and distance (infinite: nothing is hidden) of the pixel just outside the nearest outline one way."""
    height, width = radius_B1HW.shape[-2:]
    along = torch.arange(radius_B1HW.shape[axis], device=radius_B1HW.device)
    along = along[:, None] if axis == -2 else along
    if backwards:
        found = _last_outline(radius_B1HW.flip(axis), axis).flip(axis)
        found = torch.where(found >= 0, radius_B1HW.shape[axis] - 1 - found, -1)
    else:
        found = _last_outline(radius_B1HW, axis)
    flat = torch.arange(height * width, device=radius_B1HW.device).view(height, width)
    index = flat + (found.clamp_min(0) - along) * (width if axis == -2 else 1)
    there = radius_B1HW.flatten(1).gather(1, index.flatten(1)).view_as(radius_B1HW)
    distance = (found - along).abs().to(radius_B1HW)
    # Farther in, the object's rim is opaque and the blur behind it does not reach out.
    reach = torch.maximum(radius_B1HW.abs(), there.abs()) + 3
    hidden = (found >= 0) & (radius_B1HW - there > OUTLINE_STEP) & (distance <= reach)
    return index, torch.where(hidden, distance, math.inf)


def hidden_surface(light_B3HW: Tensor, radius_B1HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Light and radius behind an object close to its outline: those of the farther surface beside it.

    The surfaces outside the nearest outlines in the four directions of the grid are looked up; those whose radius
    agrees with the closest one's are averaged with weights 1 / distance^2.

    Returns:
        Light ``(B, 3, H, W)`` and radius ``(B, 1, H, W)`` of the hidden surface, and where there is one (bool).
    """
    found = [_nearest_outside(radius_B1HW, axis, backwards) for axis in (-2, -1) for backwards in (False, True)]
    index_4BN, distance_4BN = (torch.stack(tensors).flatten(2) for tensors in zip(*found, strict=True))
    has_hidden = distance_4BN.amin(0) < math.inf
    # From here on only the M pixels that hide something.
    batch, place = has_hidden.nonzero(as_tuple=True)
    index_4M, distance_4M = index_4BN[:, batch, place], distance_4BN[:, batch, place]
    radius_4M = radius_B1HW.flatten(1)[batch, index_4M]
    agrees = (radius_4M - radius_4M.gather(0, distance_4M.argmin(0, keepdim=True))).abs() < OUTLINE_STEP
    weight_4M = torch.where(agrees, 1 / distance_4M.square(), 0)
    weight_4M = weight_4M / weight_4M.sum(0)
    light_BN3 = light_B3HW.flatten(2).mT
    hidden_BN3, hidden_BN = torch.zeros_like(light_BN3), torch.zeros_like(radius_B1HW).flatten(1)
    hidden_BN3[batch, place] = (weight_4M[..., None] * light_BN3[batch, index_4M]).sum(0)
    hidden_BN[batch, place] = (weight_4M * radius_4M).sum(0)
    shape = radius_B1HW.shape
    return hidden_BN3.mT.unflatten(2, shape[-2:]), hidden_BN.view(shape), has_hidden.view(shape)


def composite_layers(light_B3HW: Tensor, radius_B1HW: Tensor, aperture: Aperture, scatter: Scatter) -> Tensor:
    """Spread the light layer by layer and composite the layers from near to far.

    A pixel whose coverages add up to less than 1 is divided by their sum.

    Args:
        light_B3HW: Linear light as seen through the centre of the lens.
        radius_B1HW: Signed radius in pixels.
        aperture: Shape of the opening.
        scatter: ``functional.bokeh.scatter_discs`` or a faster implementation.

    Returns:
        Linear light ``(B, 3, H, W)``.
    """
    height, width = radius_B1HW.shape[-2:]
    hidden_light, hidden_radius, has_hidden = hidden_surface(light_B3HW, radius_B1HW)
    nearest = radius_B1HW.amax((1, 2, 3), keepdim=True)
    depth = (nearest - radius_B1HW.amin((1, 2, 3), keepdim=True)).clamp_min(1e-6)
    layers = min(MAX_LAYERS, max(1, math.ceil(float(depth.max()))))
    layer_of, hidden_layer = (
        ((nearest - radius) / depth * layers).long().clamp(0, layers - 1) for radius in (radius_B1HW, hidden_radius)
    )
    strength, hidden_strength = (1 / disc_weight(radius, aperture) for radius in (radius_B1HW, hidden_radius))
    still_open, result = torch.ones_like(radius_B1HW), torch.zeros_like(light_B3HW)
    for layer in range(layers):
        seen, hidden = layer_of == layer, has_hidden & (hidden_layer == layer)
        light_sum, opacity = scatter(
            torch.where(seen, light_B3HW, hidden_light),
            torch.where(seen, radius_B1HW, hidden_radius),
            torch.where(seen, strength, hidden_strength * hidden),
            aperture,
        )
        # Near the frame's edge discs from outside are missing: opacity is divided by the share of discs inside.
        size_B = (nearest - (layer + 0.5) / layers * depth).abs().flatten()
        share = inside_share(size_B, height)[:, None, :, None] * inside_share(size_B, width)[:, None, None, :]
        covered = torch.minimum(opacity / share, still_open)
        result = result + light_sum * (covered / opacity.clamp_min(1e-12))
        still_open = still_open - covered
    return result / (1 - still_open)
