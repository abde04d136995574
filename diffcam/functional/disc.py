"""The blur disc of the classical renderer: what a point out of focus leaves of radius R, in pixels, never rounded."""

from __future__ import annotations

import torch
from torch import Tensor

EDGE_SLOPE = 4.0
"""Steepness of the soft edge, per pixel: the weight falls from 0.98 to 0.02 within one pixel (BokehMe's renderer)."""

AREA_OFFSET = 0.2
"""Added to R^2, so that a pixel in focus has a finite weight (BokehMe's renderer)."""


def soft_edge(inset: Tensor) -> Tensor:
    """Weight at an inset ``R - r`` from the disc's edge, pixels: ``0.5 + 0.5 tanh(4 (R - r))``, 1 far inside."""
    return 0.5 + 0.5 * torch.tanh(EDGE_SLOPE * inset)


def disc_kernel(radius: float, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights of a round disc at the pixels that it reaches, ``(n, n)`` with ``n = 2 (trunc(R) + 1) + 1``."""
    reach = int(radius) + 1
    offset = torch.arange(-reach, reach + 1, device=device, dtype=dtype)
    return soft_edge(radius - torch.hypot(offset[:, None], offset))


def disc_strength(radius: Tensor) -> Tensor:
    """Factor that makes discs of all radii equally bright: one over the area, ``1 / (R^2 + 0.2)``."""
    return 1 / (radius.square() + AREA_OFFSET)
