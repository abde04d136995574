"""RefocusModel: codec and transformer as one network X of paper eq. 1, and its sampling."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from diffcam.camera import CameraBatch
from diffcam.functional.flow import sampling_timesteps
from diffcam.models.codec import Codec, token_channels, token_pixels
from diffcam.models.conditions import CameraConditions, PhotoConditions, PhotoTokens
from diffcam.models.transformer import Channels, RefocusTransformer

StepHook = Callable[[int, Tensor], Tensor | None]
"""Called after each sampling step with its number and the latents; may return others to go on with."""


class RefocusModel(nn.Module):
    """Predicts velocities of refocused photos, and samples them: the paper's model, whose output is the velocity.

    Args:
        codec: Images to latents and tokens.
        transformer: The network over tokens.
        shift: Resolution shift of the timesteps, in training and in sampling (1: none).
        short_side: Short side in pixels of the pictures that the model is given; a bokeh level is ``short_side / 512``
            pixels of blur radius there.

    Raises:
        ValueError: If the transformer's channels do not fit the codec and the model.

    Examples:
        >>> RefocusModel.channels(diffcam.models.PatchCodec(patch=16))
        Channels(tokens=768, output=768, cues=0, defocus=0)
    """

    draws_apertures = False
    """Whether a camera's aperture shapes what is blurred; otherwise it is taken for round."""

    def __init__(
        self, codec: Codec, transformer: RefocusTransformer, shift: float = 1.0, short_side: int = 512
    ) -> None:
        super().__init__()
        wanted = self.channels(codec)
        if transformer.channels != wanted:
            raise ValueError(f"the transformer has {transformer.channels}, {type(self).__name__} needs {wanted}")
        self.codec = codec
        self.transformer = transformer
        self.shift = shift
        self.short_side = short_side
        self.offload_device: torch.device | None = None  # on which the parts take turns, if they do

    @staticmethod
    def channels(codec: Codec) -> Channels:
        """Channels that the model's transformer must have."""
        return Channels(token_channels(codec), token_channels(codec))

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.offload_device or next(self.transformer.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """In which tokens are computed."""
        return self.transformer.dtype

    @property
    def token_pixels(self) -> int:
        """Image sides must be multiples of this many pixels."""
        return token_pixels(self.codec)

    def offload(self, device: torch.device) -> None:
        """Keep codec and transformer in main memory; each moves to the device when it is its turn."""
        self.offload_device = device

    def _onload(self, part: Any, other: Any) -> None:
        """Where they are offloaded, move codec or transformer to the device and the other one back."""
        if self.offload_device is not None:
            other.to("cpu")
            part.to(self.offload_device)

    def encode_photo(
        self, reference_B3HW: Tensor, disparity_B1HW: Tensor, own_radius_B1HW: Tensor | None = None
    ) -> PhotoConditions:
        """Encode what all cameras and steps of these photos share.

        Args:
            reference_B3HW: Display values in [0, 1]; sides multiples of :attr:`token_pixels`.
            disparity_B1HW: In [0, 1]; the zero map where depth is unknown.
            own_radius_B1HW: Signed blur radius of the photos in pixels, positive in front of the focus plane; None: not
                known.
        """
        self._onload(self.codec, self.transformer)
        latent = self.codec.encode(reference_B3HW)
        tokens = self._photo_tokens(latent, disparity_B1HW)
        return PhotoConditions(
            tokens, latent, torch.zeros_like(disparity_B1HW) if own_radius_B1HW is None else own_radius_B1HW
        )

    def _photo_tokens(self, latent_BCHW: Tensor, disparity_B1HW: Tensor, cues_BNF: Tensor | None = None) -> PhotoTokens:
        """What the transformer needs of photos, from their latents; brings the transformer to its device."""
        disparity = self.codec.encode(disparity_B1HW.expand(-1, 3, -1, -1))
        self._onload(self.transformer, self.codec)
        rows, columns = (side // self.codec.patch for side in latent_BCHW.shape[-2:])
        packed = self.codec.pack(latent_BCHW), self.codec.pack(disparity)
        return self.transformer.encode_photo_tokens(*packed, (rows, columns), cues_BNF)

    def encode_cameras(self, cameras: CameraBatch, photo: PhotoConditions) -> CameraConditions:
        """Encode what all steps of these cameras share.

        Args:
            cameras: ``(B * K,)``, K cameras a photo, photo-major.
            photo: Of B photos.
        """
        return CameraConditions(cameras)

    def predict(
        self, noisy_BCHW: Tensor, timestep_B: Tensor, photo: PhotoConditions, cameras: CameraConditions
    ) -> Tensor:
        """The transformer's output tokens ``(B * K, N, output channels)``, float32; arguments as :meth:`velocity`."""
        self._onload(self.transformer, self.codec)
        noisy_BNC = self.codec.pack(noisy_BCHW)
        return self.transformer(noisy_BNC, timestep_B, cameras.cameras, photo.tokens, cameras.defocus_cues).float()

    def velocity_of(
        self,
        output_BNC: Tensor,
        noisy_BCHW: Tensor,
        timestep_B: Tensor,
        photo: PhotoConditions,
        cameras: CameraConditions,
    ) -> Tensor:
        """The velocity that output tokens stand for, latents of the noisy ones' shape: here they are the velocity."""
        return self.codec.unpack(output_BNC, *noisy_BCHW.shape[-2:])

    def velocity(
        self, noisy_BCHW: Tensor, timestep_B: Tensor, photo: PhotoConditions, cameras: CameraConditions
    ) -> Tensor:
        """The network X of paper eq. 1, on latents.

        Args:
            noisy_BCHW: ``(B * K, C, h, w)`` noisy latents, K cameras a photo, photo-major.
            timestep_B: ``(B * K,)`` in [0, 1]; 1 is noise.
            photo: Of B photos, see :meth:`encode_photo`.
            cameras: See :meth:`encode_cameras`.

        Returns:
            Velocity latents of the same shape, float32.
        """
        output_BNC = self.predict(noisy_BCHW, timestep_B, photo, cameras)
        return self.velocity_of(output_BNC, noisy_BCHW, timestep_B, photo, cameras)

    def noise(self, photo: PhotoConditions, cameras: int, generator: torch.Generator) -> Tensor:
        """Unit Gaussian latents ``(cameras, C, h, w)`` in the size of these photos."""
        shape = (cameras, *photo.latent.shape[1:])
        return torch.randn(shape, generator=generator, device=generator.device).to(photo.latent.device)

    @torch.no_grad()
    def sample(
        self,
        cameras: CameraBatch,
        photo: PhotoConditions,
        noise_BCHW: Tensor,
        steps: int,
        on_step: StepHook | None = None,
    ) -> Tensor:
        """Refocused latents: Euler steps from noise to data along the predicted velocities.

        Args:
            cameras: ``(B * K,)``, K cameras a photo, photo-major.
            photo: Of B photos.
            noise_BCHW: Starting latents, see :meth:`noise`.
            steps: Number of network evaluations.
            on_step: See :data:`StepHook`.

        Returns:
            ``(B * K, C, h, w)``, for :meth:`decode`.
        """
        latent, asked = noise_BCHW, self.encode_cameras(cameras, photo)
        timesteps = sampling_timesteps(steps, self.shift).to(latent.device)
        for step, (now, following) in enumerate(pairwise(timesteps)):
            velocity = self.velocity(latent, now.expand(len(latent)), photo, asked)
            latent = latent + (following - now) * velocity
            if on_step is not None:
                replaced = on_step(step, latent)
                latent = latent if replaced is None else replaced
        return latent

    @torch.no_grad()
    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """Images of latents, ``(B, 3, H, W)`` display values in [0, 1]."""
        self._onload(self.codec, self.transformer)
        return self.codec.decode(latent_BCHW)
