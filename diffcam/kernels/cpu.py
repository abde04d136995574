"""The renderer's CPU backend: compiled span loops over torch tensors, on several threads.

The compiled functions run on one thread each, without the GIL, and ``torch.get_num_threads()`` of them share an image's
rows. No thread outlives a call, so a process may fork between calls; a DataLoader worker, where torch has one thread,
starts none. (numba's own threads, and OpenMP's, do not survive a fork.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from diffcam.camera import Aperture
from diffcam.functional.bokeh import polygon_ratio
from diffcam.kernels.spans import EDGE, Shape, gather_rows, scatter_rows


def _shape(aperture: Aperture, radius: Tensor) -> Shape | None:
    """What ``scatter_rows`` wants to know of an opening; rows and columns of the table count back from its end."""
    if aperture.blades == 0 and aperture.cat_eye == 0:
        return None
    reach, (height, width) = int(radius.abs().max()) + 1, radius.shape[-2:]
    far_y, far_x = min(reach, height - 1), min(reach, width - 1)
    offset_y, offset_x = (np.roll(np.arange(-far, far + 1), -far) for far in (far_y, far_x))
    ratio = polygon_ratio(torch.from_numpy(offset_y)[:, None], torch.from_numpy(offset_x), aperture).numpy()
    smallest = math.cos(math.pi / aperture.blades) if aperture.blades else 1.0
    return ratio, smallest, aperture.cat_eye


def _run(
    rows_of_one: Callable[..., None],
    values: Tensor,
    radius: Tensor,
    strength: Tensor,
    aperture: Aperture,
    out: list[Tensor],
) -> None:
    """Run a compiled function over all images, each in as many bands of rows as torch has threads."""
    height, threads, shape = radius.shape[-2], torch.get_num_threads(), _shape(aperture, radius)
    edges = np.linspace(0, height, min(threads, height) + 1).astype(int).tolist()
    sources, radii, strengths = values.numpy(), radius.numpy(), strength.numpy()
    results = [tensor.numpy() for tensor in out]
    jobs = [
        (sources[b], radii[b, 0], strengths[b, 0], EDGE, shape, first, last, *(result[b] for result in results))
        for b in range(len(radii))
        for first, last in itertools.pairwise(edges)
    ]
    if threads == 1:
        for job in jobs:
            rows_of_one(*job)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda job: rows_of_one(*job), jobs):
            pass


def scatter(
    light_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture
) -> tuple[Tensor, Tensor]:
    """As ``functional.bokeh.scatter_discs`` on the CPU, float32, without autograd."""
    light, radius, strength = light_B3HW.contiguous(), radius_B1HW.contiguous(), strength_B1HW.contiguous()
    light_sum, weight_sum = torch.empty_like(light), torch.empty_like(radius)
    _run(scatter_rows, light, radius, strength, aperture, [light_sum, weight_sum[:, 0]])
    return light_sum, weight_sum


def gather(grad_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture) -> Tensor:
    """Gradient of ``scatter`` with respect to its light, from that of its light sum."""
    grad, radius, strength = grad_B3HW.contiguous(), radius_B1HW.contiguous(), strength_B1HW.contiguous()
    result = torch.empty_like(grad)
    _run(gather_rows, grad, radius, strength, aperture, [result])
    return result
