"""Time the renderer against a plain form of the same definition, both in one run.

On the CPU the plain form is a brute force on as many threads; on a GPU (``--device cuda``, see ``renderer_gpu.py``) it
is a scatter with atomic additions.

Threads that wait for one another sleep here instead of spinning (``OMP_WAIT_POLICY``), for both contestants: on a
machine that does other work too, spinning threads take the processor from the ones they wait for.

Usage: ``python benchmarks/renderer.py [--device cpu] [--size 512] [--threads 2] [--repeat 3]``
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable
from functools import partial

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when OpenMP is loaded, that is with torch and numba

import numba
import numpy as np
import torch
from torch import Tensor

from diffcam.camera import Aperture
from diffcam.kernels import render_bokeh

LEVELS = (5.0, 10.0, 20.0, 30.0, 40.0)


@numba.njit(parallel=True, fastmath=True)
def scatter_brute_force(
    light: np.ndarray, radius: np.ndarray, light_sum: np.ndarray, weight_sum: np.ndarray, threads: int
) -> None:
    """Every source visits every pixel of its square; each thread has sums of its own, so that none waits."""
    _, height, width = light.shape
    sums = np.zeros((threads, height, width, 4), np.float32)
    half, slope = np.float32(0.5), np.float32(4)
    for thread in numba.prange(threads):
        for y in range(thread * height // threads, (thread + 1) * height // threads):
            for x in range(width):
                size = abs(radius[y, x])
                reach, scale = int(size) + 1, 1 / (size * size + np.float32(0.2))
                for to_y in range(max(0, y - reach), min(height, y + reach + 1)):
                    for to_x in range(max(0, x - reach), min(width, x + reach + 1)):
                        distance = math.sqrt(np.float32((to_y - y) ** 2 + (to_x - x) ** 2))
                        weight = (half + half * math.tanh(slope * (size - distance))) * scale
                        sums[thread, to_y, to_x, 0] += weight * light[0, y, x]
                        sums[thread, to_y, to_x, 1] += weight * light[1, y, x]
                        sums[thread, to_y, to_x, 2] += weight * light[2, y, x]
                        sums[thread, to_y, to_x, 3] += weight
    for y in numba.prange(height):
        for x in range(width):
            for thread in range(threads):
                for channel in range(3):
                    light_sum[channel, y, x] += sums[thread, y, x, channel]
                weight_sum[y, x] += sums[thread, y, x, 3]


def render_brute_force(image: Tensor, disparity: Tensor, focus: Tensor, bokeh: Tensor, threads: int) -> Tensor:
    """``render_bokeh`` at gamma 4 for one image, the plain way."""
    light = (image[0] ** 4).numpy()
    radius = (bokeh * (disparity[0, 0] - focus)).numpy()
    light_sum, weight_sum = np.zeros_like(light), np.zeros_like(radius)
    scatter_brute_force(light, radius, light_sum, weight_sum, threads)
    return torch.from_numpy(light_sum / weight_sum)[None] ** 0.25


def make_scene(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """A textured image, a receding ground with two objects before it, and the focus disparity between them."""
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 3, size // 4, size // 4, generator=generator)
    image = torch.nn.functional.interpolate(texture, size=(size, size), mode="bicubic").clamp(0, 1)
    y, x = torch.meshgrid(torch.arange(size) / size, torch.arange(size) / size, indexing="ij")
    disparity = 0.1 + 0.3 * y
    disparity = torch.where((x - 0.3) ** 2 + (y - 0.5) ** 2 < 0.04, 0.85, disparity)
    disparity = torch.where((x - 0.7) ** 2 + (y - 0.3) ** 2 < 0.02, 0.55 + 0.2 * x, disparity)
    return image, disparity[None, None], torch.tensor([0.5])


def best_seconds(function: Callable[[], object], repeat: int) -> tuple[float, float]:
    """Shortest wall time and shortest processor time (of all threads) of several runs, after one that compiles."""
    function()
    wall, processor = [], []
    for _ in range(repeat):
        start = time.perf_counter(), time.process_time()
        function()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return min(wall), min(processor)


def decibels(first: Tensor, second: Tensor) -> float:
    """PSNR between two images with values in [0, 1]."""
    return float(-10 * torch.log10((first - second).square().mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.device.type == "cuda":
        from renderer_gpu import measure  # triton comes with the CUDA builds of torch alone

        measure(make_scene(arguments.size), LEVELS, arguments.device, arguments.repeat)
    else:
        measure_cpu(arguments)


def measure_cpu(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    numba.set_num_threads(arguments.threads)
    image, disparity, focus = make_scene(arguments.size)

    print(f"{arguments.size}x{arguments.size}, {arguments.threads} threads, gamma 4, best of {arguments.repeat}, ms")
    print("   K  mean R  spans  (cpu)   brute   (cpu)  ratio  (cpu)  PSNR dB")
    seconds = []
    for level in LEVELS:
        bokeh = torch.tensor([level])
        fast = partial(render_bokeh, image, disparity, focus, bokeh)
        slow = partial(render_brute_force, image, disparity, focus, bokeh, arguments.threads)
        (wall, processor), (slow_wall, slow_processor) = (best_seconds(f, arguments.repeat) for f in (fast, slow))
        seconds.append(processor)
        radius = level * float((disparity - focus).abs().mean())
        print(
            f"{level:4.0f} {radius:7.1f} {wall * 1e3:6.1f} {processor * 1e3:6.1f} {slow_wall * 1e3:7.1f} "
            f"{slow_processor * 1e3:7.1f} {slow_wall / wall:6.1f} {slow_processor / processor:6.1f} "
            f"{decibels(fast(), slow()):8.1f}"
        )
    slope, offset = np.polyfit(LEVELS, seconds, 1)
    fit = np.corrcoef(LEVELS, seconds)[0, 1] ** 2
    print(f"processor time = {offset * 1e3:.1f} + {slope * 1e3:.2f} K ms, R^2 = {fit:.4f}")

    print("other openings, the occlusion mode and the gradient, K = 20, wall ms (cpu)")
    bokeh, leaf = torch.tensor([20.0]), image.clone().requires_grad_()
    for aperture in (Aperture(), Aperture(blades=6), Aperture(cat_eye=0.7)):
        fast = partial(render_bokeh, image, disparity, focus, bokeh, aperture=aperture)
        wall, processor = best_seconds(fast, arguments.repeat)
        print(f"  {aperture}: {wall * 1e3:.1f} ({processor * 1e3:.1f})")
    wall, processor = best_seconds(
        partial(render_bokeh, image, disparity, focus, bokeh, mode="occlusion"), arguments.repeat
    )
    print(f"  occlusion mode: {wall * 1e3:.1f} ({processor * 1e3:.1f})")
    wall, processor = best_seconds(
        lambda: render_bokeh(leaf, disparity, focus, bokeh).sum().backward(), arguments.repeat
    )
    print(f"  forward and backward: {wall * 1e3:.1f} ({processor * 1e3:.1f})")


if __name__ == "__main__":
    main()
