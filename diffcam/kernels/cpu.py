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


def _run(
    rows_of_one: Callable[..., None],
    values: Tensor,
    radius: Tensor,
    strength: Tensor,
    aperture: Aperture,
    out: list[Tensor],
) -> None:
    """Run a compiled function over all images, each in as many bands of rows as torch has threads."""
    (height, width), threads = radius.shape[-2:], torch.get_num_threads()
    shape: Shape | None = None
    if aperture.blades or aperture.cat_eye:
        # Rows and columns of the table are offsets; negative ones count back from its end.
        reach = int(radius.abs().max()) + 1
        far_y, far_x = min(reach, height - 1), min(reach, width - 1)
        offset_y, offset_x = (torch.from_numpy(np.roll(np.arange(-far, far + 1), -far)) for far in (far_y, far_x))
        smallest = math.cos(math.pi / aperture.blades) if aperture.blades else 1.0
        shape = polygon_ratio(offset_y[:, None], offset_x, aperture).numpy(), smallest, aperture.cat_eye
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
        list(pool.map(lambda job: rows_of_one(*job), jobs))


def scatter(
    light_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture
) -> tuple[Tensor, Tensor]:
    """``functional.bokeh.scatter_discs`` on the CPU, float32, without autograd."""
    light, radius, strength = light_B3HW.contiguous(), radius_B1HW.contiguous(), strength_B1HW.contiguous()
    light_sum, weight_sum = torch.empty_like(light), torch.empty_like(radius)
    _run(scatter_rows, light, radius, strength, aperture, [light_sum, weight_sum[:, 0]])
    return light_sum, weight_sum


def gather(grad_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture) -> Tensor:
    """Gradient of :func:`scatter` with respect to the light, given the gradient with respect to the sum of light."""
    grad, radius, strength = grad_B3HW.contiguous(), radius_B1HW.contiguous(), strength_B1HW.contiguous()
    result = torch.empty_like(grad)
    _run(gather_rows, grad, radius, strength, aperture, [result])
    return result
