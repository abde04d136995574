"""The paper's grid and the draw of an in-focus point."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from diffcam.grid import FOCUS_TOLERANCE, LEVELS, PLANES, choose, draw_in_focus, pixel_centre


def test_the_grid_is_the_papers() -> None:
    assert len(PLANES) * len(LEVELS) + 1 == 421
    assert [f"{plane:.2f}" for plane in PLANES[:3]] == ["0.00", "0.05", "0.10"]
    assert (PLANES[-1], LEVELS[0], LEVELS[-1]) == (1.0, 1, 20)
    assert pytest.approx((PLANES[1] - PLANES[0]) / 2) == FOCUS_TOLERANCE


def test_focus_points_are_uniform_over_the_in_focus_set() -> None:
    disparity = torch.tensor([[[0.5, 0.52, 0.54, 0.6], [0.49, 0.0, 1.0, 0.5]]])
    source = torch.Generator().manual_seed(0)
    pixels = [draw_in_focus(disparity, 0.5, source, tolerance=0.03) for _ in range(2000)]
    points = Counter(pixel_centre(pixel, disparity) for pixel in pixels if pixel is not None)
    assert set(points) == {(0.125, 0.25), (0.375, 0.25), (0.125, 0.75), (0.875, 0.75)}
    assert all(abs(count - 500) < 90 for count in points.values())
    assert draw_in_focus(disparity, 0.8, source, tolerance=0.03) is None


def test_draws_are_the_generators() -> None:
    """What was drawn for a shard is drawn again, so that its bytes stay the same."""
    disparity = torch.linspace(0, 1, 48).view(1, 6, 8)
    source = torch.Generator().manual_seed(3)
    inside = [pixel for pixel in range(48) if abs(pixel / 47 - 0.4) < 0.1]
    expected = [inside[int(torch.randint(len(inside), (), generator=source))] for _ in range(5)]
    source.manual_seed(3)
    assert [draw_in_focus(disparity, 0.4, source, tolerance=0.1) for _ in range(5)] == expected
    assert {choose(3, source) for _ in range(50)} == {0, 1, 2}
