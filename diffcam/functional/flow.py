"""Rectified flow: paths, velocities, timesteps and sampling schedules (paper, eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_TIMESTEP = 1e-3
"""Least timestep that a velocity is divided by, so that it stays finite near 0; chosen."""

MAX_STEPS = 100
"""Most sampling steps that command and page take: more would only be a slip of the hand; chosen."""


def per_sample(scalar_B: Tensor, like: Tensor) -> Tensor:
    """Reshape ``(B,)`` so that it broadcasts over the trailing dimensions of ``like``."""
    return scalar_B.reshape(-1, *[1] * (like.ndim - 1))


def interpolate(clean: Tensor, noise: Tensor, timestep_B: Tensor) -> Tensor:
    """Point on the straight path, ``I^t = I + t v`` with ``v = noise - I`` (paper eq. 1).

    Args:
        clean: ``(B, ...)`` latents I.
        noise: Same shape, unit Gaussian.
        timestep_B: ``(B,)`` in [0, 1]; 0 is clean, 1 is noise.

    Examples:
        >>> interpolate(torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([0.25, 1.0])).flatten()
        tensor([0.2500, 1.0000])
    """
    return clean + per_sample(timestep_B, clean) * velocity(clean, noise)


def velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """Target of the flow loss, ``v = noise - I`` (paper eq. 1).

    Examples:
        >>> velocity(clean=torch.tensor([0.5]), noise=torch.tensor([2.0]))
        tensor([1.5000])
    """
    return noise - clean


def velocity_from_clean(noisy: Tensor, clean: Tensor, timestep_B: Tensor) -> Tensor:
    """Velocity that leads from a noisy latent to a clean one: ``v = (I^t - I) / t`` (eq. 1 solved for v).

    Args:
        noisy: ``(B, ...)`` latents I^t.
        clean: Same shape, the (predicted) clean latents.
        timestep_B: ``(B,)``; clamped from below at :data:`SMALLEST_TIMESTEP`.

    Examples:
        >>> noisy, clean = torch.tensor([[1.0]]), torch.tensor([[0.5]])
        >>> velocity_from_clean(noisy, clean, timestep_B=torch.tensor([0.25]))
        tensor([[2.]])
    """
    return (noisy - clean) / per_sample(timestep_B, noisy).clamp_min(SMALLEST_TIMESTEP)


def shift_timesteps(timestep: Tensor, shift: float) -> Tensor:
    """Resolution shift ``s t / (1 + (s - 1) t)`` of Stable Diffusion 3 (Esser et al. 2024, eq. 23).

    Args:
        timestep: Any shape, in [0, 1].
        shift: 1 changes nothing; larger values spend more time near pure noise.

    Examples:
        >>> shift_timesteps(torch.tensor([0.0, 0.5, 1.0]), shift=3.0)
        tensor([0.0000, 0.7500, 1.0000])
    """
    return shift * timestep / (1 + (shift - 1) * timestep)


def logit_normal_timesteps(
    count: int, generator: torch.Generator, mean: float = 0.0, std: float = 1.0, shift: float = 1.0
) -> Tensor:
    """Training timesteps ``sigmoid(N(mean, std))``, then shifted; ``(count,)`` in (0, 1) on the generator's device.

    Examples:
        >>> logit_normal_timesteps(100_000, torch.Generator().manual_seed(0)).median().round(decimals=2)
        tensor(0.5000)
    """
    normal = torch.randn(count, generator=generator, device=generator.device)
    return shift_timesteps(torch.sigmoid(mean + std * normal), shift)


def sampling_timesteps(steps: int, shift: float = 1.0) -> Tensor:
    """``(steps + 1,)`` timesteps from 1 (noise) down to 0 (clean), evenly spaced and then shifted.

    Raises:
        ValueError: If ``steps`` is not positive.

    Examples:
        >>> sampling_timesteps(4)
        tensor([1.0000, 0.7500, 0.5000, 0.2500, 0.0000])
        >>> sampling_timesteps(2, shift=3.0)
        tensor([1.0000, 0.7500, 0.0000])
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    return shift_timesteps(torch.linspace(1.0, 0.0, steps + 1), shift)
