"""Output parametrisations: what the transformer's output means. The loss is always eq. 1, on the velocity."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from diffcam.functional.blur_stack import band_energies, blur_bands, mix_bands
from diffcam.functional.flow import velocity_from_clean
from diffcam.functional.tokens import patchify, unpatchify
from diffcam.models.codec import Codec, token_channels


class Parametrisation(Protocol):
    """Turns the transformer's output tokens into a velocity."""

    def channels(self, codec: Codec) -> int:
        """Output channels of a token: by default those of the token."""
        return token_channels(codec)

    def basis(self, reference_BCHW: Tensor) -> Tensor:
        """What the output works on, computed once a photo, ``(B, ...)``: the reference latents by default."""
        return reference_BCHW

    @property
    def cue_channels(self) -> int:
        """Channels of :meth:`cues`: by default there are none."""
        return 0

    def cues(self, basis: Tensor, codec: Codec) -> Tensor | None:
        """What the basis shows of the reference that its tokens show badly, ``(B, N, cue_channels)``."""
        return None

    def velocity(
        self, output_BNC: Tensor, noisy_BCHW: Tensor, basis: Tensor, timestep_B: Tensor, codec: Codec
    ) -> Tensor:
        """Velocity latents ``(B, C, H, W)``.

        Args:
            output_BNC: ``(B, N, channels)`` transformer output.
            noisy_BCHW: Noisy latents I^t.
            basis: Result of :meth:`basis`, ``(B, ...)``.
            timestep_B: t in [0, 1].
            codec: Between tokens and latents.
        """
        ...


class VelocityOutput(Parametrisation):
    """The output is the velocity itself: the paper's, and FLUX's."""

    def velocity(
        self, output_BNC: Tensor, noisy_BCHW: Tensor, basis: Tensor, timestep_B: Tensor, codec: Codec
    ) -> Tensor:
        """The output, unchanged."""
        return codec.unpack(output_BNC, *noisy_BCHW.shape[-2:])


class ResidualOutput(Parametrisation):
    """The output is what the clean image adds to the reference: ``I = I_r + output``.

    Pixel tokens wider than the model cannot carry noise through it, so a direct velocity fails there; this cannot.
    """

    def velocity(
        self, output_BNC: Tensor, noisy_BCHW: Tensor, basis: Tensor, timestep_B: Tensor, codec: Codec
    ) -> Tensor:
        """``(I^t - I) / t``."""
        clean_BCHW = basis + codec.unpack(output_BNC, *noisy_BCHW.shape[-2:])
        return velocity_from_clean(noisy_BCHW, clean_BCHW, timestep_B)


class BlurStackOutput(Parametrisation):
    """The output says how much of each blur band to keep, and a residual: ``I = I_r + sum_k gain_k B_k + residual``.

    ``B_k`` is what a disc blur of radius ``RADII[k]`` takes away from the one before it. A gain of -1 removes a band,
    as defocus does; a positive one raises it, as the undoing of defocus does. Gains are one map a band, ``GRID`` x
    ``GRID`` values a token, interpolated in between, so that there are no borders; the residual adds what no local
    blur explains. Its cues are the bands' energies, which tell how blurred the reference is where: a linear embedding
    does not show them, nor what layer norm leaves of it.
    """

    RADII = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
    """In latent pixels."""
    GRID = 2

    def channels(self, codec: Codec) -> int:
        """The gains, then the channels of a token."""
        return len(self.RADII) * self.GRID**2 + token_channels(codec)

    def basis(self, reference_BCHW: Tensor) -> Tensor:
        """The reference and its bands, ``(B, 1 + K, C, H, W)``."""
        bands_BKCHW = blur_bands(reference_BCHW, self.RADII)
        return torch.cat([reference_BCHW.float()[:, None], bands_BKCHW], dim=1)

    @property
    def cue_channels(self) -> int:
        """One energy a band and grid cell."""
        return len(self.RADII) * self.GRID**2

    def cues(self, basis: Tensor, codec: Codec) -> Tensor | None:
        """Energies of the bands."""
        return patchify(band_energies(basis[:, 1:], codec.patch // self.GRID), self.GRID)

    def velocity(
        self, output_BNC: Tensor, noisy_BCHW: Tensor, basis: Tensor, timestep_B: Tensor, codec: Codec
    ) -> Tensor:
        """``(I^t - I) / t``."""
        height, width = noisy_BCHW.shape[-2:]
        gains_BNC, residual_BNC = output_BNC.split([len(self.RADII) * self.GRID**2, token_channels(codec)], dim=-1)
        gains_BKhw = unpatchify(
            gains_BNC, self.GRID, height // codec.patch * self.GRID, width // codec.patch * self.GRID
        )
        clean_BCHW = basis[:, 0] + mix_bands(basis[:, 1:], gains_BKhw) + codec.unpack(residual_BNC, height, width)
        return velocity_from_clean(noisy_BCHW, clean_BCHW, timestep_B)
