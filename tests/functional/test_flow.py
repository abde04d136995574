"""Rectified flow against its definition, by hand."""

from __future__ import annotations

import pytest
import torch

from diffcam.functional.flow import (
    interpolate,
    logit_normal_timesteps,
    sampling_timesteps,
    shift_timesteps,
    velocity,
    velocity_from_clean,
)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, 2, 4, 4, generator=generator), torch.randn(3, 2, 4, 4, generator=generator)


def test_path_runs_from_image_to_noise(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    clean, noise = pair
    assert torch.equal(interpolate(clean, noise, torch.zeros(3)), clean)
    torch.testing.assert_close(interpolate(clean, noise, torch.ones(3)), noise)
    timestep = torch.tensor([0.25, 0.5, 0.75])
    by_hand = torch.stack([(1 - t) * c + t * n for t, c, n in zip(timestep, clean, noise, strict=True)])
    torch.testing.assert_close(interpolate(clean, noise, timestep), by_hand)


def test_clean_image_and_velocity_determine_each_other(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    clean, noise = pair
    timestep = torch.tensor([0.1, 0.6, 1.0])
    noisy = interpolate(clean, noise, timestep)
    torch.testing.assert_close(
        velocity_from_clean(noisy, clean, timestep), velocity(clean, noise), rtol=1e-4, atol=1e-4
    )


def test_logit_normal_timesteps_have_the_asked_logits() -> None:
    timesteps = logit_normal_timesteps(200_000, torch.Generator().manual_seed(1), mean=0.7, std=1.3)
    logits = torch.logit(timesteps.double())
    assert abs(logits.mean() - 0.7) < 0.01
    assert abs(logits.std() - 1.3) < 0.01


def test_shift_adds_its_logarithm_to_the_logit() -> None:
    timestep = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    expected = torch.sigmoid(torch.logit(timestep) + torch.log(torch.tensor(3.0, dtype=torch.float64)))
    torch.testing.assert_close(shift_timesteps(timestep, 3.0), expected)


def test_sampling_timesteps_end_at_zero_and_refuse_no_steps() -> None:
    torch.testing.assert_close(sampling_timesteps(4), torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]))
    with pytest.raises(ValueError, match="at least 1"):
        sampling_timesteps(0)
