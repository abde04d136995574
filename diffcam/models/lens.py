"""LensRefocusModel: the embedded model, which starts from what a lens makes of the photo without its own blur."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.camera import Aperture, CameraBatch, reference_scale
from diffcam.functional.blur_stack import band_energies, band_losses, blur_bands, mix_bands
from diffcam.functional.bokeh import DISPLAY_GAMMA
from diffcam.functional.flow import velocity_from_clean
from diffcam.functional.highlights import raise_highlights
from diffcam.functional.tokens import patchify, unpatchify
from diffcam.kernels import render_bokeh
from diffcam.models.codec import Codec, token_channels
from diffcam.models.conditions import CameraConditions, LensCameraConditions, LensPhotoConditions, PhotoConditions
from diffcam.models.refocus import RefocusModel
from diffcam.models.restoration import DefocusRemoval, Restored
from diffcam.models.transformer import Channels, RefocusTransformer

RADII = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
"""Radii of the discs between blur bands, latent pixels; 20 is the paper's strongest level at a short side of 512."""

UNDONE_RADII = (1.5, 4.0)
"""Pixels: without a map, places whose own blur is less are corrected in full, those of more not at all.

Corrections everywhere take back half of what is restored; chosen on eight of the 32 stacks (``docs/log.md``).
"""

GRID = 2
"""Gains, energies and shares have this many values along each side of a token."""

GAINS = (1 + len(RADII)) * GRID**2
"""Output channels of a token for gains: one map for the lens's change and one for each band."""

BAND_SHARES = len(RADII) * GRID**2
"""Cue channels of a token for one share, or one energy, of each band."""


class LensRefocusModel(RefocusModel):
    """The transformer's output corrects what a lens alone would make of the photo without its blur.

    ``I = S + (1 + trust) (G - S) + sum_k gain_k B_k + residual``. S is the photo without the blur that
    `DefocusRemoval` finds in it, G what the renderer makes of S for the asked camera and the known depth, and ``B_k``
    what a disc blur of radius ``RADII[k]`` takes away from S after the one before it. An output of zeros is G: a lens
    by paper eq. 7, right as far as depth and S are. Where depth is unknown G is S, and gains of -1 remove bands, as
    defocus does; there, where the photo's own blur was undone, the output counts less, see ``UNDONE_RADII``. Gains are
    one map a band, ``GRID`` x ``GRID`` values a token, interpolated in between, so that there are no borders; the
    residual adds what no local blur explains.

    Cues of the photo are the energies of the bands and the shares of them that its own blur has taken away: a linear
    embedding does not show them, nor what layer norm leaves of it. Cues of the camera are the shares that the asked
    blur takes away, where depth is known: a network that subtracts disparities read off tokens is less exact.

    Args:
        codec, transformer, shift, short_side: See :class:`RefocusModel`.
        restoration: Estimates and undoes the photo's own blur, and is not trained here; None: photos are taken to be
            sharp.
        gamma: Light is ``image ** gamma``, as in the renderer of what is trained on.
        mode: Of the renderer, see :func:`diffcam.kernels.render_bokeh`.
        trusts_maps: Whether a known map is taken as it is: the output then corrects only photos without one.

    Examples:
        >>> model, settings = diffcam.models.load_model(diffcam.models.checkpoint.packaged("diffcam-tiny"))
        >>> photo = model.encode_photo(torch.rand(1, 3, 64, 96), torch.zeros(1, 1, 64, 96))
        >>> noise = model.noise(photo, 1, torch.Generator().manual_seed(0))
        >>> latent = model.sample(CameraBatch.from_cameras([diffcam.Camera((0.5, 0.5), 0)]), photo, noise, steps=2)
        >>> model.decode(latent).shape
        torch.Size([1, 3, 64, 96])
    """

    draws_apertures = True

    def __init__(
        self,
        codec: Codec,
        transformer: RefocusTransformer,
        shift: float = 1.0,
        short_side: int = 512,
        restoration: DefocusRemoval | None = None,
        gamma: float = DISPLAY_GAMMA,
        mode: str = "occlusion",
        trusts_maps: bool = False,
    ) -> None:
        super().__init__(codec, transformer, shift, short_side)
        self.restoration = restoration.eval().requires_grad_(False) if restoration is not None else None
        self.gamma = gamma
        self.mode = mode
        self.trusts_maps = trusts_maps

    @staticmethod
    def channels(codec: Codec) -> Channels:
        """Gains go before the residual's channels of a token."""
        tokens = token_channels(codec)
        return Channels(tokens, GAINS + tokens, cues=2 * BAND_SHARES, defocus=2 * BAND_SHARES)

    def offload(self, device: torch.device) -> None:
        """As :meth:`RefocusModel.offload`; what undoes blur is small and stays on the device."""
        super().offload(device)
        if self.restoration is not None:
            self.restoration.to(device)

    def encode_photo(
        self, reference_B3HW: Tensor, disparity_B1HW: Tensor, own_radius_B1HW: Tensor | None = None
    ) -> LensPhotoConditions:
        """As :meth:`RefocusModel.encode_photo`: also undo the photo's own blur, and take the result apart in bands."""
        self._onload(self.codec, self.transformer)
        restored = latent = self.codec.encode(reference_B3HW)
        told = torch.zeros_like(disparity_B1HW) if own_radius_B1HW is None else own_radius_B1HW
        found = Restored(reference_B3HW, told)
        if self.restoration is not None:
            found = self.restoration(reference_B3HW, disparity_B1HW, own_radius_B1HW)
            restored = self.codec.encode(found.image)
        bands = blur_bands(restored, RADII)
        energies = patchify(band_energies(bands, self.codec.patch // GRID), GRID)
        cues = torch.cat([energies, self._band_shares(found.radius.abs())], dim=-1)
        tokens = self._photo_tokens(latent, disparity_B1HW, cues)
        basis = torch.cat([restored.float()[:, None], bands], dim=1)
        return LensPhotoConditions(tokens, latent, found.radius, disparity_B1HW, found.image, basis)

    @torch.no_grad()
    def encode_cameras(self, cameras: CameraBatch, photo: PhotoConditions) -> LensCameraConditions:
        """As :meth:`RefocusModel.encode_cameras`: where blur is asked for, and the renderer's picture with it.

        Clipped lamps are given more light than white first, see `raise_highlights`; in focus they are white again.
        """
        assert isinstance(photo, LensPhotoConditions)
        times = len(cameras.bokeh) // len(photo.disparity)
        bright = raise_highlights(photo.restored, self.gamma)
        bright, disparity = (part.repeat_interleave(times, 0) for part in (bright, photo.disparity))
        scale = reference_scale(self.short_side, self.short_side)
        radius = cameras.defocus(disparity) * scale
        cues = torch.cat([self._band_shares(radius), self._band_shares(-radius)], dim=-1)  # near, then far
        focus, bokeh = cameras.focus_disparity(disparity), cameras.bokeh * scale

        def take(chosen: slice, aperture: Aperture) -> Tensor:
            given = bright[chosen], disparity[chosen], focus[chosen], bokeh[chosen]
            return render_bokeh(*given, self.gamma, aperture=aperture, mode=self.mode).clamp_max(1)

        if cameras.apertures:
            rendered = torch.cat([take(slice(n, n + 1), aperture) for n, aperture in enumerate(cameras.apertures)])
        else:
            rendered = take(slice(None), Aperture())
        self._onload(self.codec, self.transformer)
        return LensCameraConditions(cameras, cues, rendered=self.codec.encode(rendered))

    def _band_shares(self, radius_B1HW: Tensor) -> Tensor:
        """Shares of the bands that a blur of these radii in pixels takes away, ``(B, N, BAND_SHARES)``."""
        return patchify(band_losses(radius_B1HW, RADII, self.token_pixels // GRID), GRID)

    def velocity_of(
        self,
        output_BNC: Tensor,
        noisy_BCHW: Tensor,
        timestep_B: Tensor,
        photo: PhotoConditions,
        cameras: CameraConditions,
    ) -> Tensor:
        """``(I^t - I) / t`` with the I that the output makes of the lens's picture."""
        assert isinstance(photo, LensPhotoConditions)
        assert isinstance(cameras, LensCameraConditions)
        basis = photo.basis.repeat_interleave(len(noisy_BCHW) // len(photo.basis), 0)
        restored, bands = basis[:, 0], basis[:, 1:]
        gains_BNC, residual_BNC = output_BNC.split([GAINS, token_channels(self.codec)], dim=-1)
        rows, columns = photo.tokens.grid
        gains = unpatchify(gains_BNC, GRID, rows * GRID, columns * GRID)
        change = cameras.rendered.float() - restored
        correction = mix_bands(torch.cat([change[:, None], bands], dim=1), gains)
        residual = self.codec.unpack(residual_BNC, *noisy_BCHW.shape[-2:])
        # Without a map, what was blurred and is undone must not be blurred again on suspicion.
        known_B111 = photo.disparity.flatten(1).any(1)[:, None, None, None]
        slight, strong = UNDONE_RADII
        height, width = noisy_BCHW.shape[-2:]
        radius_B1HW = F.adaptive_avg_pool2d(photo.own_radius.abs(), (height, width))
        shares_B1HW = ((strong - radius_B1HW) / (strong - slight)).clamp(0, 1)
        shares_B1HW = torch.where(known_B111, 0.0 if self.trusts_maps else 1.0, shares_B1HW)
        correction = (correction + residual) * shares_B1HW.repeat_interleave(len(correction) // len(shares_B1HW), 0)
        return velocity_from_clean(noisy_BCHW.float(), cameras.rendered + correction, timestep_B)
