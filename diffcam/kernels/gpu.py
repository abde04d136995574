"""The renderer's GPU backend: Triton kernels in which every pixel gathers, so that no two write to the same place.

O(radius^2) weights per pixel, but no atomic additions, contiguous reads and one order of summation, so that a result
does not change from run to run. One kernel serves both directions. Scattering, a pixel looks at each source around it
and takes what that source's disc sends it; gathering (the adjoint), it looks at each receiver around it and takes what
its own disc covers. Each tile of pixels looks no further than the discs that can reach it, or that it has. Runs on CPU
tensors too under ``TRITON_INTERPRET=1``.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from diffcam.camera import Aperture
from diffcam.functional.bokeh import polygon_ratio
from diffcam.functional.disc import EDGE_SLOPE

TILE = 16
"""Side in pixels of the square that one Triton program computes; chosen."""

TILES_AT_ONCE = 256
"""Tiles whose reach a program loads in one step, while it looks for discs that reach its own tile; chosen."""


@triton.jit
def _disc_weight(  # type: ignore[no-untyped-def]
    signed,
    dy,
    dx,
    source_y,
    source_x,
    ratio,
    table,
    height,
    width,
    cut_scale,
    slope: tl.constexpr,
    polygon: tl.constexpr,
    cut: tl.constexpr,
):
    """Weight at an offset from a source of signed radius ``signed``, for strength 1."""
    size = tl.abs(signed)
    distance = tl.sqrt((dy * dy + dx * dx).to(tl.float32))
    inset = size - distance
    if polygon:
        inset = size * tl.load(ratio + (dy + table) * (2 * table + 1) + dx + table) - distance
    if cut:
        from_y = dy - signed * cut_scale * (source_y + 0.5 - height * 0.5)
        from_x = dx - signed * cut_scale * (source_x + 0.5 - width * 0.5)
        inset = tl.minimum(inset, size - tl.sqrt(from_y * from_y + from_x * from_x))
    reached = tl.maximum(tl.abs(dy), tl.abs(dx)) <= size.to(tl.int32) + 1
    return tl.where(reached, tl.sigmoid(2 * slope * inset), 0.0)


@triton.jit
def _farthest(  # type: ignore[no-untyped-def]
    reaches, tile_y, tile_x, tall, wide, tile: tl.constexpr, at_once: tl.constexpr
):
    """Longest reach, pixels, among the tiles whose discs can reach this one."""
    farthest = tl.max(tl.zeros((at_once,), tl.int32), axis=0)
    for first in range(0, tall * wide, at_once):
        other = first + tl.arange(0, at_once)
        apart = tl.maximum(tl.abs(other // wide - tile_y), tl.abs(other % wide - tile_x))
        reach = tl.load(reaches + other, mask=other < tall * wide, other=0)
        comes = reach > (apart - 1) * tile
        farthest = tl.maximum(farthest, tl.max(tl.where(comes, reach, 0), axis=0))
    return farthest


@triton.jit
def _disc_kernel(  # type: ignore[no-untyped-def]
    values,  # (B, 3, H, W) light, or gradient of the light sum
    radius,  # (B, 1, H, W) signed
    strength,  # (B, 1, H, W)
    reaches,  # (B, tall, wide) farthest offset that any disc of a tile reaches
    ratio,  # (2 table + 1, 2 table + 1) polygon's ratio by offset from the source
    result,  # (B, 3, H, W)
    weights,  # (B, 1, H, W), scatter alone
    height,
    width,
    tall,  # tiles
    wide,
    table,
    cut_scale,  # cat-eye per pixel from the image centre
    slope: tl.constexpr,
    polygon: tl.constexpr,
    cut: tl.constexpr,
    adjoint: tl.constexpr,
    tile: tl.constexpr,
    at_once: tl.constexpr,
):
    """Sum over the discs around a tile's pixels; the source is the neighbour, or the pixel itself for the adjoint."""
    image, tile_y, tile_x = tl.program_id(2).to(tl.int64), tl.program_id(1), tl.program_id(0)
    pixel = tl.arange(0, tile * tile)
    y, x = tile_y * tile + pixel // tile, tile_x * tile + pixel % tile
    plane = height * width
    channel = tl.arange(0, 4)[:, None]  # three colours, and 1 to sum up the weights
    inside, here = (y < height) & (x < width), y * width + x
    reaches += image * tall * wide
    if adjoint:
        limit = tl.load(reaches + tile_y * wide + tile_x)
    else:
        limit = _farthest(reaches, tile_y, tile_x, tall, wide, tile, at_once)
    sums = tl.zeros((4, tile * tile), tl.float32)
    signed = tl.load(radius + image * plane + here, mask=inside, other=0.0)
    scale = tl.load(strength + image * plane + here, mask=inside, other=0.0)
    top = tile_y * tile
    for step_y in range(tl.maximum(-limit, 1 - tile - top), tl.minimum(limit, height - 1 - top) + 1):
        for step_x in range(-limit, limit + 1):
            # From positions, not from the steps: those are plain integers in the interpreter.
            at_y, at_x = y + step_y, x + step_x
            near = inside & (at_y >= 0) & (at_y < height) & (at_x >= 0) & (at_x < width)
            there = at_y * width + at_x
            if adjoint:
                source_y, source_x, dy, dx = y, x, at_y - y, at_x - x
            else:
                source_y, source_x, dy, dx = at_y, at_x, y - at_y, x - at_x
                signed = tl.load(radius + image * plane + there, mask=near, other=0.0)
                scale = tl.load(strength + image * plane + there, mask=near, other=0.0)
            weight = scale * _disc_weight(
                signed, dy, dx, source_y, source_x, ratio, table, height, width, cut_scale, slope, polygon, cut
            )
            place = values + (image * 3 + channel) * plane + there[None, :]
            value = tl.load(place, mask=near[None, :] & (channel < 3), other=1.0)
            sums += tl.where(near, weight, 0.0)[None, :] * value
    place = (image * 3 + channel) * plane + here[None, :]
    tl.store(result + place, sums, mask=inside[None, :] & (channel < 3))
    if not adjoint:
        total = tl.sum(tl.where(channel == 3, sums, 0.0), axis=0)
        tl.store(weights + image * plane + here, total, mask=inside)


def _launch(
    values: Tensor, radius: Tensor, strength: Tensor, aperture: Aperture, adjoint: bool
) -> tuple[Tensor, Tensor]:
    """Run the kernel over a batch: sums of light and of weights; of the adjoint, the second is undefined."""
    batch, _, height, width = values.shape
    values, radius, strength = values.contiguous(), radius.contiguous(), strength.contiguous()
    height_t, width_t = triton.cdiv(height, TILE), triton.cdiv(width, TILE)
    farthest = F.max_pool2d(radius.abs() * (strength != 0), TILE, ceil_mode=True)
    reaches = (farthest.to(torch.int32) + 1).clamp_max(max(height, width) - 1)
    table = int(reaches.max()) if aperture.blades else 0
    offsets = torch.arange(-table, table + 1)
    ratio = polygon_ratio(offsets[:, None], offsets, aperture).to(values)
    result, weights = torch.empty_like(values), torch.empty_like(radius)
    _disc_kernel[(width_t, height_t, batch)](
        values,
        radius,
        strength,
        reaches,
        ratio,
        result,
        weights,
        height,
        width,
        height_t,
        width_t,
        table,
        aperture.cat_eye * 2 / math.hypot(height, width),
        slope=EDGE_SLOPE,
        polygon=aperture.blades > 0,
        cut=aperture.cat_eye > 0,
        adjoint=adjoint,
        tile=TILE,
        at_once=TILES_AT_ONCE,
    )
    return result, weights


def scatter(
    light_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture
) -> tuple[Tensor, Tensor]:
    """``functional.bokeh.scatter_discs`` on the GPU, float32, without autograd."""
    return _launch(light_B3HW, radius_B1HW, strength_B1HW, aperture, adjoint=False)


def gather(grad_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture) -> Tensor:
    """Gradient of :func:`scatter` with respect to the light, given the gradient with respect to the sum of light."""
    return _launch(grad_B3HW, radius_B1HW, strength_B1HW, aperture, adjoint=True)[0]
