from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from skimage.data import astronaut
from skimage.restoration import richardson_lucy as plain_richardson_lucy
from torch import Tensor

from diffcam.functional.deconvolution import LinearMap, richardson_lucy_steps

KERNEL = np.outer([1.0, 2.0, 4.0, 3.0, 1.0], [2.0, 3.0, 3.0, 1.0, 1.0])
KERNEL /= KERNEL.sum()


def _filter(kernel: np.ndarray) -> Callable[[Tensor], Tensor]:
    """Correlation with a kernel on a picture that is continued by zeros."""

    def run(image: Tensor) -> Tensor:
        planes = [convolve(plane.double().numpy(), kernel, mode="constant") for plane in image.flatten(0, 1)]
        return torch.from_numpy(np.stack(planes)).to(image.dtype).view_as(image)

    return run


blur, adjoint = _filter(KERNEL), _filter(KERNEL[::-1, ::-1])


def richardson_lucy(seen: Tensor, blur: LinearMap, adjoint: LinearMap, iterations: int) -> Tensor:
    return next(islice(richardson_lucy_steps(seen, blur, adjoint), iterations - 1, None))


def _light() -> Tensor:
    return torch.from_numpy(astronaut()[100:164, 180:244].astype(np.float64) / 255).permute(2, 0, 1)[None]


def test_first_two_steps_equal_plain_richardson_lucy() -> None:
    """Up to the second step nothing is accelerated; scikit-image pads alike and starts from a flat picture."""
    seen = blur(_light())
    found = richardson_lucy(seen, blur, adjoint, 2)
    norm = adjoint(torch.ones_like(seen))
    expected = seen
    for _ in range(2):
        expected = expected * adjoint(seen / blur(expected)) / norm
    torch.testing.assert_close(found, expected)


def test_without_a_blur_nothing_changes() -> None:
    light = _light()
    torch.testing.assert_close(richardson_lucy(light, torch.clone, torch.clone, 3), light, atol=2e-5, rtol=0)


def test_ten_steps_do_more_than_twenty_plain_ones() -> None:
    light = _light()
    seen = blur(light)

    def error(found: np.ndarray | Tensor) -> float:
        inner = (..., slice(8, -8), slice(8, -8))
        return float((torch.as_tensor(found)[inner] - light[0][inner]).square().mean())

    plain = np.stack(
        [
            plain_richardson_lucy(plane.numpy(), KERNEL, num_iter=20, clip=False, filter_epsilon=None)
            for plane in seen[0]
        ]
    )
    ours = richardson_lucy(seen, blur, adjoint, 10)
    assert error(ours[0]) < error(plain) < error(seen[0])
    assert bool((ours >= 0).all())


def test_samples_of_a_batch_are_independent() -> None:
    light = torch.cat([_light(), _light().flip(-1) * 0.1])
    seen = blur(light)
    together = richardson_lucy(seen, blur, adjoint, 5)
    alone = torch.cat([richardson_lucy(one, blur, adjoint, 5) for one in seen.split(1)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_black_stays_black(dtype: torch.dtype) -> None:
    found = richardson_lucy(torch.zeros(1, 3, 16, 16, dtype=dtype), blur, adjoint, 4)
    assert found.dtype == dtype
    assert float(found.max()) < 1e-3
