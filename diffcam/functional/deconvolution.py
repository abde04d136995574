"""Undoing a known blur of light: accelerated Richardson-Lucy iterations."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

LEAST_LIGHT = 1e-5
"""Below any light that 8 bits show at an exponent of 2.2; keeps quotients finite."""

MOMENTUM_LIMIT = 0.95
"""Of the step along the last change: the acceleration may not run ahead without end."""

LinearMap = Callable[[Tensor], Tensor]


def richardson_lucy_steps(blurred_BCHW: Tensor, blur: LinearMap, adjoint: LinearMap) -> Iterator[Tensor]:
    """Light that, blurred, gives what was seen, by multiplicative steps from the blurred light itself.

    Richardson 1972, Lucy 1974: ``x <- x * A'(y / A x) / A' 1``, the most likely x where noise grows with light, as that
    of rounded display values nearly does. Accelerated by Biggs and Andrews 1997: each step starts further along the
    last change, by the share that successive steps agree in; ten steps then do what thirty plain ones do. Few steps
    are the regularisation: noise comes last.

    Args:
        blurred_BCHW: The light y that was seen, not negative.
        blur: The linear map A.
        adjoint: Its transpose.

    Yields:
        The light after each step, ``(B, C, H, W)``, not negative; without end.
    """
    norm_BCHW = adjoint(torch.ones_like(blurred_BCHW)).clamp_min(LEAST_LIGHT)
    current = before = blurred_BCHW.clamp_min(LEAST_LIGHT)
    step = last_step = torch.zeros_like(current)
    while True:
        momentum = (step * last_step).sum((1, 2, 3)) / last_step.square().sum((1, 2, 3)).clamp_min(LEAST_LIGHT**2)
        momentum_B111 = momentum.clamp(0, MOMENTUM_LIMIT).view(-1, 1, 1, 1)
        start = (current + momentum_B111 * (current - before)).clamp_min(LEAST_LIGHT)
        ratio = blurred_BCHW / blur(start).clamp_min(LEAST_LIGHT)
        before, current = current, start * adjoint(ratio) / norm_BCHW
        step, last_step = current - start, step
        yield current
