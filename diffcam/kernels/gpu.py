"""The renderer's GPU backend: Triton kernels in which every pixel gathers, so that no two write to the same place.

O(radius^2) weights per pixel, but no atomic additions, contiguous reads and one order of summation, so that a result
does not change from run to run. One kernel serves both directions. Scattering, a pixel looks at each source around it
and takes what that source's disc sends it; gathering (the adjoint), it looks at each receiver around it and takes what
its own disc covers. Runs on CPU tensors too under ``TRITON_INTERPRET=1``.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffcam.camera import Aperture
from diffcam.functional.bokeh import EDGE_SLOPE, polygon_ratio

BLOCK = 128
"""Pixels of a row per program."""


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
def _disc_kernel(  # type: ignore[no-untyped-def]
    values,  # (B, 3, H, W) light, or gradient of the light sum
    radius,  # (B, 1, H, W) signed
    strength,  # (B, 1, H, W)
    limits,  # (B,) farthest offset that any disc of the image reaches
    ratio,  # (2 table + 1, 2 table + 1) polygon's ratio by offset from the source
    result,  # (B, 3, H, W)
    weights,  # (B, 1, H, W), scatter alone
    height,
    width,
    table,
    cut_scale,  # cat-eye per pixel from the image centre
    slope: tl.constexpr,
    polygon: tl.constexpr,
    cut: tl.constexpr,
    adjoint: tl.constexpr,
    block: tl.constexpr,
):
    """Sum over the discs around a row's pixels; the source is the neighbour, or the pixel itself for the adjoint."""
    image, y, x = tl.program_id(2).to(tl.int64), tl.program_id(1), tl.program_id(0) * block + tl.arange(0, block)
    plane = height * width
    channel = tl.arange(0, 4)[:, None]  # three colours, and 1 to sum up the weights
    inside, here = x < width, y * width + x
    limit = tl.load(limits + image)
    sums = tl.zeros((4, block), tl.float32)
    signed = tl.load(radius + image * plane + here, mask=inside, other=0.0)
    scale = tl.load(strength + image * plane + here, mask=inside, other=0.0)
    for step_y in range(tl.maximum(-limit, -y), tl.minimum(limit, height - 1 - y) + 1):
        for step_x in range(-limit, limit + 1):
            # From positions, not from the steps: those are plain integers in the interpreter.
            at_y, at_x = y + step_y, x + step_x
            near, there = inside & (at_x >= 0) & (at_x < width), at_y * width + at_x
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
    """Run the kernel over a batch; the second tensor is left empty by the adjoint."""
    batch, _, height, width = values.shape
    values, radius, strength = values.contiguous(), radius.contiguous(), strength.contiguous()
    reach = (radius.abs() * (strength != 0)).amax((1, 2, 3)).to(torch.int32) + 1
    limits = reach.clamp_max(max(height, width) - 1)
    table = int(limits.max()) if aperture.blades else 0
    offsets = torch.arange(-table, table + 1)
    ratio = polygon_ratio(offsets[:, None], offsets, aperture).to(values)
    result, weights = torch.empty_like(values), torch.empty_like(radius)
    _disc_kernel[(triton.cdiv(width, BLOCK), height, batch)](
        values,
        radius,
        strength,
        limits,
        ratio,
        result,
        weights,
        height,
        width,
        table,
        aperture.cat_eye * 2 / math.hypot(height, width),
        slope=EDGE_SLOPE,
        polygon=aperture.blades > 0,
        cut=aperture.cat_eye > 0,
        adjoint=adjoint,
        block=BLOCK,
    )
    return result, weights


def scatter(
    light_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture
) -> tuple[Tensor, Tensor]:
    """As ``functional.bokeh.scatter_discs`` on the GPU, float32, without autograd."""
    return _launch(light_B3HW, radius_B1HW, strength_B1HW, aperture, adjoint=False)


def gather(grad_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture) -> Tensor:
    """Gradient of ``scatter`` with respect to its light, from that of its light sum."""
    return _launch(grad_B3HW, radius_B1HW, strength_B1HW, aperture, adjoint=True)[0]
