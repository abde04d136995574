"""The paper's grid of renditions and the benchmark's sub-tasks: 21 focus planes x 20 bokeh levels (appendix D)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

PLANES = tuple(step / 20 for step in range(21))
"""Focus disparities of the grid: 0 to 1 in steps of 0.05 (paper, appendix D)."""

LEVELS = tuple(range(1, 21))
"""Bokeh levels of the grid (paper, appendix D)."""

FOCUS_TOLERANCE = 0.025
"""Eta of the in-focus set ``|d - d_f| < eta`` in disparity, which the paper leaves open: half the step of planes."""

SUBTASKS = ("refocus", "add_bokeh", "remove_bokeh")
"""What the benchmark asks for (paper, section 4.1)."""


def choose(count: int, generator: Generator) -> int:
    """One of the numbers 0 to ``count - 1``, all equally likely."""
    return int(torch.randint(count, (), generator=generator))


def pixel_centre(pixel: int, disparity_1HW: Tensor) -> tuple[float, float]:
    """X and y of a pixel, counted row by row, as fractions of the width and height of ``(1, H, W)``."""
    height, width = disparity_1HW.shape[1:]
    return (pixel % width + 0.5) / width, (pixel // width + 0.5) / height


def draw_in_focus(
    disparity_1HW: Tensor, focus_disparity: float, generator: Generator, *, tolerance: float = FOCUS_TOLERANCE
) -> int | None:
    """A pixel of the in-focus set ``{(x, y): |d(x, y) - d_f| < tolerance}``, all equally likely (paper, appendix D).

    Args:
        disparity_1HW: ``(1, H, W)`` in [0, 1].
        focus_disparity: ``d_f``, the plane in focus.
        generator: Source of the draw.
        tolerance: Eta.

    Returns:
        The pixel, counted row by row, see :func:`pixel_centre`; None where nothing lies in the plane.

    Examples:
        >>> draw_in_focus(torch.tensor([[[0.0, 0.5, 1.0]]]), 0.5, torch.Generator().manual_seed(0))
        1
    """
    inside = ((disparity_1HW[0] - focus_disparity).abs() < tolerance).flatten().nonzero()[:, 0]
    return int(inside[choose(len(inside), generator)]) if len(inside) else None
