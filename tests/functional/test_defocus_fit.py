from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from diffcam.functional.defocus_fit import (
    CELLS_PER_OBSERVATION,
    LEVELS,
    OUTLIER_SHARE,
    PLANES,
    PRIOR_POWER,
    interpolate_at,
    interpolation_weights,
    local_radius,
    log_likelihoods,
    radius_at,
    radius_curve,
    radius_histogram,
)

RADII = torch.tensor([0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0])


EVEN = torch.full_like(RADII, 1 / len(RADII))


def _table(radius_B1hw: Tensor, certainty: float = 4.0) -> Tensor:
    """Likelihoods that peak at given radii."""
    distance = (RADII.view(-1, 1, 1) - radius_B1hw).abs() / (0.3 + 0.2 * radius_B1hw)
    return log_likelihoods(-certainty * distance, EVEN)


def test_interpolation_weights_reproduce_the_radius() -> None:
    radius = torch.tensor([0.0, 0.2, 1.0, 4.4, 19.9, 20.0, 31.0])
    lower, share = interpolation_weights(radius, RADII)
    found = (1 - share) * RADII[lower] + share * RADII[lower + 1]
    torch.testing.assert_close(found, radius.clamp_max(20.0))


def test_training_prior_is_divided_out() -> None:
    """Bayes' rule: answers are likelihood times share, to a power, and the likelihood comes back."""
    likelihood = torch.tensor([0.5, 0.2, 0.1, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01])
    shares = torch.tensor([0.4, 0.2, 0.1, 0.1, 0.08, 0.06, 0.03, 0.02, 0.01])
    answers = (likelihood * shares**PRIOR_POWER).log().view(1, -1, 1, 1)
    table = log_likelihoods(answers, shares)[0, :, 0, 0]
    torch.testing.assert_close(table, (likelihood * (1 - OUTLIER_SHARE) + OUTLIER_SHARE / len(RADII)).log())
    rare = shares.clone()
    rare[-1] = 0
    assert torch.isfinite(log_likelihoods(answers, rare)).all(), "a radius that was never met"


def test_radius_histogram() -> None:
    radius = torch.tensor([0.0, 0.25, 4.0, 30.0]).view(1, 1, 2, 2)
    found = radius_histogram(radius, RADII)
    torch.testing.assert_close(found, torch.tensor([1.5, 0.5, 0, 0, 0.5, 0.5, 0, 0, 1]) / 4)


@pytest.mark.parametrize(("plane", "level"), [(0.2, 9.0), (0.75, 15.0), (1.0, 4.0)])
def test_curve_is_fitted_in_spite_of_outliers(plane: float, level: float, generator: torch.Generator) -> None:
    disparity = torch.rand(1, 1, 64, 64, generator=generator)
    radius = level * (disparity - plane).abs()
    wrong = torch.rand(radius.shape, generator=generator) < 0.2
    table = _table(torch.where(wrong, 20 * torch.rand(radius.shape, generator=generator), radius))
    found = radius_at(radius_curve(table, disparity, RADII), disparity)
    assert float((found - radius).abs().mean()) < 0.08 * float(radius.mean())


def test_curve_is_the_posterior_mean_over_all_lenses(generator: torch.Generator) -> None:
    """Lens by lens, with each cell at a disparity that the sums know exactly."""
    disparity = torch.randint(0, 81, (1, 1, 5, 5), generator=generator) / 80
    table = log_likelihoods(30 * torch.randn(1, len(RADII), 5, 5, generator=generator), EVEN)
    total, expected = 0.0, torch.zeros_like(disparity)
    for plane in torch.linspace(0, 1, PLANES).tolist():
        for level in LEVELS:
            radius = level * (disparity - plane).abs()
            weight = math.exp(float(interpolate_at(table, radius, RADII).sum()) / CELLS_PER_OBSERVATION)
            total, expected = total + weight, expected + weight * radius
    found = radius_at(radius_curve(table, disparity, RADII), disparity)
    torch.testing.assert_close(found, expected / total, rtol=1e-3, atol=1e-3)


def test_radius_at_interpolates_linearly() -> None:
    curve = torch.linspace(0, 1, 81).square()[None] * 10
    disparity = torch.tensor([0.0, 0.5, 1.0, 0.50625])[None, None, None]
    expected = torch.tensor([0.0, 2.5, 10.0, (2.5 + 10 * 0.5125**2) / 2])
    torch.testing.assert_close(radius_at(curve, disparity)[0, 0, 0], expected)


def test_each_sample_of_a_batch_has_its_own_lens(generator: torch.Generator) -> None:
    disparity = torch.rand(2, 1, 64, 64, generator=generator)
    planes, levels = torch.tensor([0.1, 0.9]), torch.tensor([5.0, 14.0])
    radius = levels.view(-1, 1, 1, 1) * (disparity - planes.view(-1, 1, 1, 1)).abs()
    found = radius_at(radius_curve(_table(radius), disparity, RADII), disparity)
    torch.testing.assert_close(found, radius, atol=0.6, rtol=0.1)


def test_local_radius_averages_over_neighbours() -> None:
    radius = torch.full((1, 1, 12, 12), 3.0)
    radius[..., 6:] = 8.0
    spiked = _table(radius)
    spiked[..., 2, 2] = _table(torch.full((1, 1, 1, 1), 20.0))[..., 0, 0]
    found = local_radius(spiked, RADII)
    assert float(found[..., 2, 2]) == pytest.approx(3.0, abs=0.7)
    assert float(found[..., 6, 11]) == pytest.approx(8.0, abs=0.7)
