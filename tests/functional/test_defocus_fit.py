from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffcam.functional.defocus_fit import fit_lens, local_radius, log_likelihood, radius_shares

RADII = torch.tensor([0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0])


def _logits(radius_B1hw: Tensor, certainty: float = 4.0) -> Tensor:
    """Logits that peak at given radii."""
    distance = (RADII.view(-1, 1, 1) - radius_B1hw).abs() / (0.3 + 0.2 * radius_B1hw)
    return -certainty * distance


def test_shares_give_the_radius_back() -> None:
    radius = torch.tensor([0.0, 0.2, 1.0, 4.4, 19.9, 20.0, 31.0])
    lower, share = radius_shares(radius, RADII)
    found = (1 - share) * RADII[lower] + share * RADII[lower + 1]
    torch.testing.assert_close(found, radius.clamp_max(20.0))


@pytest.mark.parametrize(("plane", "level"), [(0.2, 9.0), (0.75, 15.0), (1.0, 4.0)])
def test_plane_and_level_are_found_among_outliers(plane: float, level: float, generator: torch.Generator) -> None:
    disparity = torch.rand(1, 1, 24, 24, generator=generator)
    radius = level * (disparity - plane).abs()
    wrong = torch.rand(radius.shape, generator=generator) < 0.2
    logits = _logits(torch.where(wrong, 20 * torch.rand(radius.shape, generator=generator), radius))
    found_plane, found_level = fit_lens(logits, disparity, RADII)
    assert float(found_plane) == pytest.approx(plane, abs=0.026)
    assert float(found_level) == pytest.approx(level, rel=0.08)


def test_the_fit_is_the_best_of_all_planes_and_levels(generator: torch.Generator) -> None:
    """By likelihood, tried one by one."""
    disparity = torch.rand(1, 1, 6, 6, generator=generator)
    logits = torch.randn(1, len(RADII), 6, 6, generator=generator)
    plane, level = fit_lens(logits, disparity, RADII)

    def score(at: float, levels: float) -> float:
        return float(log_likelihood(logits, levels * (disparity - at).abs(), RADII).sum())

    best = max(score(p, x) for p in torch.linspace(0, 1, 41).tolist() for x in (0.0, 0.5, 3.0, 5.5, 6.0, 11.0, 24.0))
    assert score(float(plane), float(level)) >= best - 1e-4


def test_samples_of_a_batch_have_lenses_of_their_own(generator: torch.Generator) -> None:
    disparity = torch.rand(2, 1, 16, 16, generator=generator)
    planes, levels = torch.tensor([0.1, 0.9]), torch.tensor([5.0, 14.0])
    radius = levels.view(-1, 1, 1, 1) * (disparity - planes.view(-1, 1, 1, 1)).abs()
    found = fit_lens(_logits(radius), disparity, RADII)
    torch.testing.assert_close(found[0], planes, atol=0.026, rtol=0)
    torch.testing.assert_close(found[1], levels, atol=0, rtol=0.1)


def test_without_depth_neighbours_decide() -> None:
    radius = torch.full((1, 1, 12, 12), 3.0)
    radius[..., 6:] = 8.0
    spiked = _logits(radius)
    spiked[..., 2, 2] = _logits(torch.full((1, 1, 1, 1), 20.0))[..., 0, 0]
    found = local_radius(spiked, RADII)
    assert float(found[..., 2, 2]) == pytest.approx(3.0, abs=0.7)
    assert float(found[..., 6, 11]) == pytest.approx(8.0, abs=0.7)
