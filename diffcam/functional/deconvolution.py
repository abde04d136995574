"""Non-blind deconvolution: accelerated Richardson-Lucy iterations for a known linear blur of light."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

LIGHT_FLOOR = 1e-5
"""Least linear light, so that quotients stay finite: twice the light of grey level 1 of 255 at a gamma of 2.2."""

MOMENTUM_LIMIT = 0.95
"""Largest share of the last change that the acceleration extrapolates by; chosen: below 1, so that it stays stable."""

LinearMap = Callable[[Tensor], Tensor]
"""A linear map of images ``(B, C, H, W)``."""


def richardson_lucy_steps(blurred_BCHW: Tensor, blur: LinearMap, adjoint: LinearMap) -> Iterator[Tensor]:
    """Richardson-Lucy iterations from the blurred light itself, accelerated by vector extrapolation.

    Richardson 1972, Lucy 1974: ``x <- x * A'(y / A x) / A' 1``, which converges to the most likely x under Poisson
    noise. Biggs and Andrews 1997: each step starts from a point further along the last change, by the correlation of
    successive steps; ten steps then do what thirty plain ones do. Stopping early is the regularisation.

    Args:
        blurred_BCHW: Observed linear light y, not negative.
        blur: The linear map A.
        adjoint: Its transpose A'.

    Yields:
        The estimate x after each step, ``(B, C, H, W)``, not negative; without end.
    """
    norm_BCHW = adjoint(torch.ones_like(blurred_BCHW)).clamp_min(LIGHT_FLOOR)
    current = before = blurred_BCHW.clamp_min(LIGHT_FLOOR)
    step = last_step = torch.zeros_like(current)
    while True:
        momentum = (step * last_step).sum((1, 2, 3)) / last_step.square().sum((1, 2, 3)).clamp_min(LIGHT_FLOOR**2)
        momentum_B111 = momentum.clamp(0, MOMENTUM_LIMIT).view(-1, 1, 1, 1)
        start = (current + momentum_B111 * (current - before)).clamp_min(LIGHT_FLOOR)
        ratio = blurred_BCHW / blur(start).clamp_min(LIGHT_FLOOR)
        before, current = current, start * adjoint(ratio) / norm_BCHW
        step, last_step = current - start, step
        yield current
