"""The blur disc against its formula in numpy and against what the renderer leaves of a point of light."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffcam.functional.bokeh import render_bokeh_reference
from diffcam.functional.disc import disc_kernel, disc_strength


@pytest.mark.parametrize("radius", [0.0, 0.7, 1.0, 3.25])
def test_weights_are_those_of_the_formula(radius: float) -> None:
    offsets = np.arange(-int(radius) - 1, int(radius) + 2)
    expected = 0.5 + 0.5 * np.tanh(4 * (radius - np.hypot(offsets[:, None], offsets)))
    np.testing.assert_allclose(disc_kernel(radius, dtype=torch.float64).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("radius", [0.6, 3.0, 7.4])
def test_a_point_of_light_becomes_a_disc(radius: float) -> None:
    point = torch.full((1, 3, 31, 31), 0.0)
    point[..., 15, 15] = 1
    disparity = torch.ones(1, 1, 31, 31)
    spread = render_bokeh_reference(point, disparity, torch.zeros(1), torch.tensor([radius]), gamma=1.0)[0, 0]
    kernel = disc_kernel(radius)
    reach = len(kernel) // 2
    inner = spread[15 - reach : 16 + reach, 15 - reach : 16 + reach]
    torch.testing.assert_close(inner / inner.sum(), kernel / kernel.sum(), atol=2e-4, rtol=0)


def test_strength_is_one_over_the_squared_radius() -> None:
    assert disc_strength(torch.tensor([0.0, 2.0])).tolist() == pytest.approx([5, 1 / 4.2])
