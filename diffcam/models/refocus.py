"""RefocusModel: codec, transformer and output parametrisation as one network X of paper eq. 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from diffcam.camera import CameraBatch, reference_scale
from diffcam.functional.flow import sampling_timesteps
from diffcam.models.codec import Codec, token_channels, token_pixels
from diffcam.models.parametrisation import Parametrisation, VelocityOutput
from diffcam.models.restoration import DefocusRemoval, Restored
from diffcam.models.transformer import Conditions, RefocusTransformer

StepHook = Callable[[int, Tensor], Tensor | None]
"""Called after each sampling step with its number and the latents; may return others to go on with."""


@dataclass(frozen=True)
class Asked:
    """What cameras ask of photos, the same in every step.

    Args:
        cues: ``(B, N, F)`` defocus cues of the output parametrisation, or None.
        retaken: ``(B, C, h, w)`` latents of what a lens alone would make of the restored photos, or None.
    """

    cues: Tensor | None
    retaken: Tensor | None


class RefocusModel(nn.Module):
    """Predicts velocities of refocused photos, and samples them.

    Args:
        codec: Images to latents and tokens.
        transformer: The network over tokens.
        parametrisation: What the network's output means; default: the velocity itself, as in the paper.
        shift: Resolution shift of the timesteps, in training and in sampling (1: none).
        restoration: Undoes a photo's own blur, for parametrisations that work on the result; it is never trained here.

    Raises:
        ValueError: If the transformer's channels do not fit the codec and the parametrisation.
    """

    def __init__(
        self,
        codec: Codec,
        transformer: RefocusTransformer,
        parametrisation: Parametrisation | None = None,
        shift: float = 1.0,
        restoration: DefocusRemoval | None = None,
    ) -> None:
        super().__init__()
        self.codec = codec
        self.transformer = transformer
        self.restoration = restoration.eval().requires_grad_(False) if restoration is not None else None
        self.parametrisation = parametrisation if parametrisation is not None else VelocityOutput()
        self.shift = shift
        self.pixels_per_level = 1.0
        self._worker: torch.device | None = None
        output = self.parametrisation
        wanted = (token_channels(codec), output.channels(codec), output.cue_channels, output.defocus_channels)
        projectors = (transformer.cue_projector, transformer.defocus_projector)
        cues = (projector.in_features if projector is not None else 0 for projector in projectors)
        found = (transformer.base.config.in_channels, transformer.base.out_channels, *cues)
        if found != wanted:
            raise ValueError(
                f"the transformer has (in, out, cue, defocus) channels {found}, codec and parametrisation need {wanted}"
            )

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._worker or next(self.transformer.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """In which tokens are computed."""
        return self.transformer.dtype

    def solve_at(self, short_side: int) -> None:
        """Say how large pictures are, short side in pixels: what pixels of blur radius a bokeh level is follows."""
        self.pixels_per_level = reference_scale(short_side, short_side)

    def offload(self, device: torch.device) -> None:
        """Keep codec and transformer in main memory; each moves to the device when it is its turn.

        What undoes a photo's own blur is small and stays on the device.
        """
        self._worker = device
        if self.restoration is not None:
            self.restoration.to(device)

    def _bring(self, part: Any, other: Any) -> None:
        if self._worker is not None:
            other.to("cpu")
            part.to(self._worker)

    @property
    def token_pixels(self) -> int:
        """Image sides must be multiples of this many pixels."""
        return token_pixels(self.codec)

    def conditions(self, reference_B3HW: Tensor, disparity_B1HW: Tensor) -> Conditions:
        """Encode what all cameras and steps of these photos share.

        Args:
            reference_B3HW: Display values in [0, 1]; sides multiples of :attr:`token_pixels`.
            disparity_B1HW: In [0, 1]; the zero map where depth is unknown.
        """
        height, width = reference_B3HW.shape[-2:]
        side = self.token_pixels
        self._bring(self.codec, self.transformer)
        latents = [self.codec.encode(image) for image in (reference_B3HW, disparity_B1HW.expand(-1, 3, -1, -1))]
        restored, found = latents[0], Restored(reference_B3HW, torch.zeros_like(disparity_B1HW))
        if self.restoration is not None:
            found = self.restoration(reference_B3HW, disparity_B1HW)
            restored = self.codec.encode(found.image)
        reference_BNC, disparity_BNC = (self.codec.pack(latent) for latent in latents)
        self._bring(self.transformer, self.codec)
        basis = self.parametrisation.basis(latents[0], restored)
        cues = self.parametrisation.cues(basis, found.radius, self.codec)
        conditions = self.transformer.conditions(reference_BNC, disparity_BNC, (height // side, width // side), cues)
        return replace(
            conditions, latent=latents[0], basis=basis, disparity_map=disparity_B1HW, restored=found.image,
            own_radius=found.radius,
        )  # fmt: skip

    def velocity(
        self,
        noisy_BCHW: Tensor,
        timestep_B: Tensor,
        cameras: CameraBatch,
        conditions: Conditions,
        asked: Asked | None = None,
    ) -> Tensor:
        """The network X of paper eq. 1, on latents.

        Args:
            noisy_BCHW: ``(B * K, C, h, w)`` noisy latents, K cameras a photo, photo-major.
            timestep_B: ``(B * K,)``.
            cameras: ``(B * K,)``.
            conditions: Of B photos.
            asked: Result of :meth:`asked`, where it is at hand.

        Returns:
            Velocity latents of the same shape, float32.
        """
        asked = asked if asked is not None else self.asked(cameras, conditions)
        return self._velocity(noisy_BCHW, timestep_B, cameras, conditions, asked)

    @torch.no_grad()
    def starting_velocity(self, noisy_BCHW: Tensor, timestep_B: Tensor, conditions: Conditions, asked: Asked) -> Tensor:
        """What :meth:`velocity` would be if the transformer's output were zero."""
        channels = self.transformer.base.out_channels
        output_BNC = torch.zeros(len(noisy_BCHW), self.codec.pack(noisy_BCHW).shape[1], channels).to(noisy_BCHW.device)
        return self._from_output(output_BNC, noisy_BCHW, timestep_B, conditions, asked)

    @torch.no_grad()
    def asked(self, cameras: CameraBatch, conditions: Conditions) -> Asked:
        """What these cameras ask of the photos, which no step changes."""
        times = len(cameras.bokeh) // len(conditions.disparity_map)
        disparity_B1HW, restored_B3HW = (
            part.repeat_interleave(times, 0) for part in (conditions.disparity_map, conditions.restored)
        )
        output, scale = self.parametrisation, self.pixels_per_level
        cues_BNF = output.defocus_cues(cameras.defocus(disparity_B1HW) * scale, self.codec)
        focus_B, bokeh_B = cameras.focus_disparity(disparity_B1HW), cameras.bokeh * scale
        retaken_B3HW = output.retaken(restored_B3HW, disparity_B1HW, focus_B, bokeh_B)
        retaken_BCHW = None
        if retaken_B3HW is not None:
            self._bring(self.codec, self.transformer)
            retaken_BCHW = self.codec.encode(retaken_B3HW)
        self._bring(self.transformer, self.codec)
        return Asked(cues_BNF, retaken_BCHW)

    def _velocity(
        self, noisy_BCHW: Tensor, timestep_B: Tensor, cameras: CameraBatch, conditions: Conditions, asked: Asked
    ) -> Tensor:
        noisy_BNC = self.codec.pack(noisy_BCHW)
        output_BNC = self.transformer(noisy_BNC, timestep_B, cameras, conditions, asked.cues).float()
        return self._from_output(output_BNC, noisy_BCHW, timestep_B, conditions, asked)

    def _from_output(
        self, output_BNC: Tensor, noisy_BCHW: Tensor, timestep_B: Tensor, conditions: Conditions, asked: Asked
    ) -> Tensor:
        basis = conditions.basis.repeat_interleave(len(noisy_BCHW) // len(conditions.basis), 0)
        return self.parametrisation.velocity(
            output_BNC, noisy_BCHW.float(), basis, asked.retaken, timestep_B, self.codec
        )

    def noise(self, conditions: Conditions, cameras: int, generator: torch.Generator) -> Tensor:
        """Unit Gaussian latents ``(cameras, C, h, w)`` for photos of these conditions."""
        rows, columns = conditions.grid
        shape = (cameras, self.codec.channels, rows * self.codec.patch, columns * self.codec.patch)
        return torch.randn(shape, generator=generator, device=generator.device).to(conditions.reference.device)

    @torch.no_grad()
    def sample(
        self,
        cameras: CameraBatch,
        conditions: Conditions,
        noise_BCHW: Tensor,
        steps: int,
        on_step: StepHook | None = None,
    ) -> Tensor:
        """Refocused latents: Euler steps from noise to data along the predicted velocities.

        Args:
            cameras: ``(B * K,)``, K cameras a photo, photo-major.
            conditions: Of B photos.
            noise_BCHW: Starting latents, see :meth:`noise`.
            steps: Number of network evaluations.
            on_step: See :data:`StepHook`.

        Returns:
            ``(B * K, C, h, w)``, for :meth:`decode`.
        """
        latent, asked = noise_BCHW, self.asked(cameras, conditions)
        timesteps = sampling_timesteps(steps, self.shift).to(latent.device)
        for step, (now, following) in enumerate(pairwise(timesteps)):
            velocity = self._velocity(latent, now.expand(len(latent)), cameras, conditions, asked)
            latent = latent + (following - now) * velocity
            if on_step is not None:
                given = on_step(step, latent)
                latent = latent if given is None else given
        return latent

    @torch.no_grad()
    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """Images of latents, ``(B, 3, H, W)`` display values in [0, 1]."""
        self._bring(self.codec, self.transformer)
        return self.codec.decode(latent_BCHW)
