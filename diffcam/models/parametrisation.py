"""Output parametrisations: what the transformer's output means. The loss is always eq. 1, on the velocity."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from diffcam.functional.flow import velocity_from_clean


class Parametrisation(Protocol):
    """Turns the transformer's output tokens into a velocity."""

    outputs: int
    """Output channels per token channel."""

    def velocity(self, output_BNC: Tensor, noisy_BNC: Tensor, reference_BNC: Tensor, timestep_B: Tensor) -> Tensor:
        """Velocity tokens ``(B, N, C)``.

        Args:
            output_BNC: ``(B, N, outputs * C)`` transformer output.
            noisy_BNC: Noisy tokens I^t.
            reference_BNC: Reference tokens I_r.
            timestep_B: t in [0, 1].
        """
        ...


class VelocityOutput:
    """The output is the velocity itself: the paper's, and FLUX's."""

    outputs = 1

    def velocity(self, output_BNC: Tensor, noisy_BNC: Tensor, reference_BNC: Tensor, timestep_B: Tensor) -> Tensor:
        """The output, unchanged."""
        return output_BNC


class ResidualOutput:
    """The output is what the clean image adds to the reference: ``I = I_r + output``.

    Pixel tokens wider than the model cannot carry noise through it, so a direct velocity fails there; this cannot.
    """

    outputs = 1

    def velocity(self, output_BNC: Tensor, noisy_BNC: Tensor, reference_BNC: Tensor, timestep_B: Tensor) -> Tensor:
        """``(I^t - I) / t``."""
        return velocity_from_clean(noisy_BNC, reference_BNC + output_BNC, timestep_B)


class TransferOutput:
    """The output is a transfer function for the reference and a residual: ``I = (1 + gain) I_r + residual``.

    On tokens that hold frequencies, defocus (and its undoing) multiplies each by the ratio of two lens transfer
    functions: the model has only to name that ratio, and the residual adds what comes from across the patch border.
    """

    outputs = 2

    def velocity(self, output_BNC: Tensor, noisy_BNC: Tensor, reference_BNC: Tensor, timestep_B: Tensor) -> Tensor:
        """``(I^t - I) / t``."""
        gain_BNC, residual_BNC = output_BNC.chunk(2, dim=-1)
        clean_BNC = (1 + gain_BNC) * reference_BNC + residual_BNC
        return velocity_from_clean(noisy_BNC, clean_BNC, timestep_B)
