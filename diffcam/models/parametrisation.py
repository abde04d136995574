"""Output parametrisations: what the transformer's output means. The loss is always eq. 1, on the velocity."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from diffcam.functional.blur_stack import band_energies, band_losses, blur_bands, mix_bands
from diffcam.functional.flow import velocity_from_clean
from diffcam.functional.tokens import patchify, unpatchify
from diffcam.kernels import render_bokeh
from diffcam.models.codec import Codec, token_channels, token_pixels


class Parametrisation(Protocol):
    """Turns the transformer's output tokens into a velocity."""

    def channels(self, codec: Codec) -> int:
        """Output channels of a token: by default those of the token."""
        return token_channels(codec)

    def basis(self, reference_BCHW: Tensor, restored_BCHW: Tensor) -> Tensor:
        """What the output works on, computed once a photo, ``(B, ...)``: the reference latents by default.

        Args:
            reference_BCHW: Latents of the reference.
            restored_BCHW: Latents of what `DefocusRemoval` makes of it; without one, of the reference itself.
        """
        return reference_BCHW

    @property
    def cue_channels(self) -> int:
        """Channels of :meth:`cues`: by default there are none."""
        return 0

    def cues(self, basis: Tensor, radius_B1HW: Tensor, codec: Codec) -> Tensor | None:
        """What is known of the reference that its tokens show badly, ``(B, N, cue_channels)``.

        Args:
            basis: Result of :meth:`basis`.
            radius_B1HW: Blur radius that `DefocusRemoval` finds in the reference, pixels; without one, 0.
            codec: Between tokens and latents.
        """
        return None

    @property
    def defocus_channels(self) -> int:
        """Channels of :meth:`defocus_cues`: by default there are none, as in the paper."""
        return 0

    def defocus_cues(self, radius_B1HW: Tensor, codec: Codec) -> Tensor | None:
        """What a camera asks for where, ``(B, N, defocus_channels)``.

        Args:
            radius_B1HW: Signed blur radius in pixels, positive in front of the focus plane.
            codec: Between tokens and latents.
        """
        return None

    def retaken(
        self, restored_B3HW: Tensor, disparity_B1HW: Tensor, focus_disparity_B: Tensor, bokeh_B: Tensor
    ) -> Tensor | None:
        """What a lens alone would make of the restored photos, ``(B, 3, H, W)``: by default nobody asks.

        Args:
            restored_B3HW: Photos without their own blur, display values in [0, 1].
            disparity_B1HW: In [0, 1].
            focus_disparity_B: Disparity in focus.
            bokeh_B: Pixels of blur radius per unit of disparity.
        """
        return None

    def velocity(
        self,
        output_BNC: Tensor,
        noisy_BCHW: Tensor,
        basis: Tensor,
        retaken_BCHW: Tensor | None,
        timestep_B: Tensor,
        codec: Codec,
    ) -> Tensor:
        """Velocity latents ``(B, C, H, W)``.

        Args:
            output_BNC: ``(B, N, channels)`` transformer output.
            noisy_BCHW: Noisy latents I^t.
            basis: Result of :meth:`basis`, ``(B, ...)``.
            retaken_BCHW: Latents of the result of :meth:`retaken`.
            timestep_B: t in [0, 1].
            codec: Between tokens and latents.
        """
        ...


class VelocityOutput(Parametrisation):
    """The output is the velocity itself: the paper's, and FLUX's."""

    def velocity(
        self,
        output_BNC: Tensor,
        noisy_BCHW: Tensor,
        basis: Tensor,
        retaken_BCHW: Tensor | None,
        timestep_B: Tensor,
        codec: Codec,
    ) -> Tensor:
        """The output, unchanged."""
        return codec.unpack(output_BNC, *noisy_BCHW.shape[-2:])


class ResidualOutput(Parametrisation):
    """The output is what the clean image adds to the reference: ``I = I_r + output``.

    Pixel tokens wider than the model cannot carry noise through it, so a direct velocity fails there; this cannot.
    """

    def velocity(
        self,
        output_BNC: Tensor,
        noisy_BCHW: Tensor,
        basis: Tensor,
        retaken_BCHW: Tensor | None,
        timestep_B: Tensor,
        codec: Codec,
    ) -> Tensor:
        """``(I^t - I) / t``."""
        clean_BCHW = basis + codec.unpack(output_BNC, *noisy_BCHW.shape[-2:])
        return velocity_from_clean(noisy_BCHW, clean_BCHW, timestep_B)


class LensOutput(Parametrisation):
    """The output corrects what a lens alone would make of the photo without its blur.

    ``I = S + (1 + trust) (G - S) + sum_k gain_k B_k + residual``. S is the photo without the blur that
    `DefocusRemoval` finds in it, G what the renderer makes of S for the asked camera and the known depth, and ``B_k``
    what a disc blur of radius ``RADII[k]`` takes away from S after the one before it. An output of zeros is G: a lens
    by paper eq. 7, right as far as depth and S are. Where depth is unknown G is S, and gains of -1 remove bands, as
    defocus does. Gains are one map a band, ``GRID`` x ``GRID`` values a token, interpolated in between, so that there
    are no borders; the residual adds what no local blur explains.

    Its cues are the energies of the bands and the shares of them that the photo's own blur has taken away: a linear
    embedding does not show them, nor what layer norm leaves of it. Its defocus cues are the shares that the asked blur
    takes away, where depth is known: a network that subtracts disparities read off tokens is less exact.

    Args:
        gamma: Light is ``image ** gamma``, as in the renderer of what is trained on.
    """

    RADII = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
    """In latent pixels."""
    GRID = 2

    def __init__(self, gamma: float = 2.2) -> None:
        self.gamma = gamma

    def channels(self, codec: Codec) -> int:
        """The trust and the gains of the bands, then the channels of a token."""
        return self._gains + token_channels(codec)

    @property
    def _gains(self) -> int:
        return (1 + len(self.RADII)) * self.GRID**2

    def basis(self, reference_BCHW: Tensor, restored_BCHW: Tensor) -> Tensor:
        """The restored photo and its bands, ``(B, 1 + K, C, H, W)``."""
        return torch.cat([restored_BCHW.float()[:, None], blur_bands(restored_BCHW, self.RADII)], dim=1)

    @property
    def cue_channels(self) -> int:
        """An energy and a share a band and grid cell."""
        return 2 * len(self.RADII) * self.GRID**2

    def cues(self, basis: Tensor, radius_B1HW: Tensor, codec: Codec) -> Tensor | None:
        """Energies of the bands, and shares of them that the photo's own blur has taken away."""
        energies = band_energies(basis[:, 1:], codec.patch // self.GRID)
        return torch.cat([patchify(energies, self.GRID), self._losses(radius_B1HW, codec)], dim=-1)

    @property
    def defocus_channels(self) -> int:
        """One share a band, side of the focus plane and grid cell."""
        return 2 * len(self.RADII) * self.GRID**2

    def defocus_cues(self, radius_B1HW: Tensor, codec: Codec) -> Tensor | None:
        """Shares of the bands that the asked blur takes from what is near, then what is far; zeros without depth."""
        return torch.cat([self._losses(radius_B1HW, codec), self._losses(-radius_B1HW, codec)], dim=-1)

    def _losses(self, radius_B1HW: Tensor, codec: Codec) -> Tensor:
        return patchify(band_losses(radius_B1HW, self.RADII, token_pixels(codec) // self.GRID), self.GRID)

    def retaken(
        self, restored_B3HW: Tensor, disparity_B1HW: Tensor, focus_disparity_B: Tensor, bokeh_B: Tensor
    ) -> Tensor | None:
        """The renderer's picture of the restored photo."""
        return render_bokeh(restored_B3HW, disparity_B1HW, focus_disparity_B, bokeh_B, self.gamma)

    def velocity(
        self,
        output_BNC: Tensor,
        noisy_BCHW: Tensor,
        basis: Tensor,
        retaken_BCHW: Tensor | None,
        timestep_B: Tensor,
        codec: Codec,
    ) -> Tensor:
        """``(I^t - I) / t``."""
        if retaken_BCHW is None:
            raise ValueError("the output corrects a retaken photo, and there is none")
        height, width = noisy_BCHW.shape[-2:]
        gains_BNC, residual_BNC = output_BNC.split([self._gains, token_channels(codec)], dim=-1)
        gains_BKhw = unpatchify(
            gains_BNC, self.GRID, height // codec.patch * self.GRID, width // codec.patch * self.GRID
        )
        change_BCHW = retaken_BCHW.float() - basis[:, 0]
        parts_BKCHW = torch.cat([change_BCHW[:, None], basis[:, 1:]], dim=1)
        clean_BCHW = retaken_BCHW + mix_bands(parts_BKCHW, gains_BKhw) + codec.unpack(residual_BNC, height, width)
        return velocity_from_clean(noisy_BCHW, clean_BCHW, timestep_B)
