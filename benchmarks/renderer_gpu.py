"""Time the renderer's GPU kernel against a plain scatter with atomic additions: ``renderer.py --device cuda``.

Both are Triton, of the same definition, in one run. In the kernel of ``diffcam.kernels.gpu`` every pixel gathers; in
the scatter every source adds to the pixels that its own disc reaches, as a plain CUDA renderer does.

Operations and bytes are counted before anything is timed. The limit is what the definition needs: its operations at the
speed of a float32 matrix product, or its images read and written once at the speed of a copy, whichever takes longer;
both speeds are measured in the same run. A kernel's share of the limit is the limit's time over its own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from diffcam.camera import Aperture
from diffcam.functional.bokeh import defocus_radius, display_to_linear
from diffcam.functional.disc import EDGE_SLOPE, disc_strength
from diffcam.kernels.gpu import TILE, scatter

FLOPS_A_PAIR = 3 + 1 + 1 + 1 + 3 + 1 + 7
"""Of a source and a pixel that it reaches: squared distance, root, inset, slope, sigmoid, strength, four sums."""

BYTES_A_PIXEL = 4 * (3 + 1 + 1 + 3 + 1)
"""Light, radius and strength read, light and weights written, once each."""

ATOMIC_ADDS_A_PAIR = 4

BLOCK = 128
"""Pixels of a row that a program of the plain scatter takes."""


@triton.jit
def _splat_kernel(  # type: ignore[no-untyped-def]
    light,  # (B, 3, H, W)
    radius,  # (B, 1, H, W) signed
    strength,  # (B, 1, H, W)
    light_sum,  # (B, 3, H, W), zero before
    weight_sum,  # (B, 1, H, W), zero before
    height,
    width,
    slope: tl.constexpr,
    block: tl.constexpr,
):
    """Sources of a row add to every pixel of their squares; a program goes as far as the largest of its own."""
    image, y, x = tl.program_id(2).to(tl.int64), tl.program_id(1), tl.program_id(0) * block + tl.arange(0, block)
    plane, inside, here = height * width, x < width, y * width + x
    size = tl.abs(tl.load(radius + image * plane + here, mask=inside, other=0.0))
    scale = tl.load(strength + image * plane + here, mask=inside, other=0.0)
    red = tl.load(light + image * 3 * plane + here, mask=inside, other=0.0)
    green = tl.load(light + (image * 3 + 1) * plane + here, mask=inside, other=0.0)
    blue = tl.load(light + (image * 3 + 2) * plane + here, mask=inside, other=0.0)
    reach = size.to(tl.int32) + 1
    limit = tl.max(tl.where(inside, reach, 0), axis=0)
    for step_y in range(tl.maximum(-limit, -y), tl.minimum(limit, height - 1 - y) + 1):
        for step_x in range(-limit, limit + 1):
            at_y, at_x = y + step_y, x + step_x
            dy, dx = at_y - y, at_x - x
            reached = inside & (at_x >= 0) & (at_x < width) & (tl.maximum(tl.abs(dy), tl.abs(dx)) <= reach)
            distance = tl.sqrt((dy * dy + dx * dx).to(tl.float32))
            weight = scale * tl.sigmoid(2 * slope * (size - distance))
            there = at_y * width + at_x
            tl.atomic_add(light_sum + image * 3 * plane + there, weight * red, mask=reached)
            tl.atomic_add(light_sum + (image * 3 + 1) * plane + there, weight * green, mask=reached)
            tl.atomic_add(light_sum + (image * 3 + 2) * plane + there, weight * blue, mask=reached)
            tl.atomic_add(weight_sum + image * plane + there, weight, mask=reached)


def splat(light_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor) -> tuple[Tensor, Tensor]:
    """As ``diffcam.kernels.gpu.scatter`` through a round opening, by atomic additions."""
    batch, _, height, width = light_B3HW.shape
    light_sum, weight_sum = torch.zeros_like(light_B3HW), torch.zeros_like(radius_B1HW)
    tensors = (light_B3HW.contiguous(), radius_B1HW.contiguous(), strength_B1HW.contiguous(), light_sum, weight_sum)
    grid = (triton.cdiv(width, BLOCK), height, batch)
    _splat_kernel[grid](*tensors, height, width, slope=EDGE_SLOPE, block=BLOCK)
    return light_sum, weight_sum


@dataclass(frozen=True)
class Work:
    """Pairs of a source and a pixel: those that the definition needs, and those that each kernel looks at."""

    needed: int
    gathered: int
    splatted: int

    @classmethod
    def count(cls, radius_1HW: Tensor) -> Work:
        """Of one image with these signed radii."""
        height, width = radius_1HW.shape[1:]
        reach = radius_1HW[0].abs().cpu().long() + 1
        rows = _overlap(torch.arange(height)[:, None], reach, height)
        columns = _overlap(torch.arange(width), reach, width)
        lanes = torch.nn.functional.pad(reach, (0, -width % BLOCK)).unflatten(1, (-1, BLOCK))
        blocks = lanes.amax(2, keepdim=True).expand_as(lanes).flatten(1)[:, :width]
        splatted = _overlap(torch.arange(height)[:, None], blocks, height) * (2 * blocks + 1)
        return cls(int((rows * columns).sum()), _gathered(reach), int(splatted.sum()))

    def limit(self, pixels: int, flops: float, bandwidth: float) -> float:
        """Seconds that the definition takes at these speeds."""
        return max(self.needed * FLOPS_A_PAIR / flops, pixels * BYTES_A_PIXEL / bandwidth)


def _gathered(reach_HW: Tensor) -> int:
    """Pairs that the gather looks at: each tile goes as far as the longest disc that comes from any tile to it."""
    height, width = reach_HW.shape
    padded = torch.nn.functional.pad(reach_HW, (0, -width % TILE, 0, -height % TILE))
    of_tile = padded.unflatten(0, (-1, TILE)).unflatten(2, (-1, TILE)).amax((1, 3)).clamp_max(max(height, width) - 1)
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in of_tile.shape), indexing="ij")
    pairs = 0
    for row, column in itertools.product(*(range(side) for side in of_tile.shape)):
        apart = torch.maximum((rows - row).abs(), (columns - column).abs())
        farthest = int(torch.where(of_tile > (apart - 1) * TILE, of_tile, 0).max())
        first, last = max(-farthest, 1 - TILE - row * TILE), min(farthest, height - 1 - row * TILE)
        pairs += (last - first + 1) * (2 * farthest + 1) * TILE**2
    return pairs


def _overlap(place: Tensor, reach: Tensor, length: int) -> Tensor:
    """How many of the places 0 to length - 1 lie within reach."""
    return (place + reach).clamp_max(length - 1) - (place - reach).clamp_min(0) + 1


def seconds(run: Callable[[], object], device: torch.device, repeat: int) -> float:
    """Shortest time of several runs, after one that compiles."""
    run()
    times = []
    for _ in range(repeat):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - started)
    return min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ceilings(device: torch.device, side: int, repeat: int) -> tuple[float, float]:
    """Operations a second of a float32 matrix product, and bytes a second of a copy, read and written."""
    left, right = torch.rand(2, side, side, device=device)
    source, copy = torch.rand(2, 16 * side * side, device=device)
    flops = 2 * side**3 / seconds(lambda: left @ right, device, repeat)
    return flops, 2 * source.nbytes / seconds(lambda: copy.copy_(source), device, repeat)


def measure(
    scene: tuple[Tensor, Tensor, Tensor], levels: Sequence[float], device: torch.device, repeat: int, side: int = 8192
) -> None:
    """Print work and times of one image at some levels.

    Args:
        scene: Image, disparity and focus disparity.
        levels: Radii in pixels per unit of disparity.
        device: What is measured.
        repeat: Runs of each; the shortest counts.
        side: Of the matrices of the ceiling.
    """
    image, disparity, focus = (tensor.to(device) for tensor in scene)
    light, pixels = display_to_linear(image, 4.0), image.shape[2] * image.shape[3]
    radii = {level: defocus_radius(disparity, focus, torch.tensor([level], device=device)) for level in levels}
    works = {level: Work.count(radius[0]) for level, radius in radii.items()}
    print(
        f"{image.shape[2]}x{image.shape[3]}, counted: {FLOPS_A_PAIR} operations a pair, {BYTES_A_PIXEL} bytes a pixel"
    )
    print("   K  pairs M  gather looks at  scatter at  GFLOP  MB once  atomic adds M")
    for level, work in works.items():
        print(
            f"{level:4.0f} {work.needed / 1e6:8.1f} {work.gathered / 1e6:16.1f} {work.splatted / 1e6:11.1f} "
            f"{work.needed * FLOPS_A_PAIR / 1e9:6.2f} {pixels * BYTES_A_PIXEL / 1e6:8.2f} "
            f"{work.needed * ATOMIC_ADDS_A_PAIR / 1e6:14.1f}",
            flush=True,
        )
    flops, bandwidth = ceilings(device, side, repeat)
    print(f"ceilings: {flops / 1e12:.2f} TFLOP/s, {bandwidth / 1e12:.3f} TB/s; best of {repeat}, ms")
    print("   K   gather  scatter  ratio  share of the limit: gather  scatter  greatest difference")
    for level, radius in radii.items():
        strength = disc_strength(radius)
        runs = (partial(scatter, light, radius, strength, Aperture()), partial(splat, light, radius, strength))
        gather, scattered = (seconds(run, device, repeat) for run in runs)
        first, second = (light_sum / weight_sum for light_sum, weight_sum in (run() for run in runs))
        limit = works[level].limit(pixels, flops, bandwidth)
        print(
            f"{level:4.0f} {gather * 1e3:8.3f} {scattered * 1e3:8.3f} {scattered / gather:6.2f} "
            f"{limit / gather:27.1%} {limit / scattered:8.1%} {float((first - second).abs().max()):20.1e}",
            flush=True,
        )
