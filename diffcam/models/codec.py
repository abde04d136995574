"""Codecs: images to latents, latents to tokens, and back.

A codec has two halves. ``encode``/``decode`` go between display images and a latent grid; ``pack``/``unpack`` go
between the latent grid and the transformer's tokens. The stacking constraint blends on the latent grid.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from diffcam.functional.tokens import cosine_basis, patchify, unpatchify


class Codec(Protocol):
    """What the refocusing model asks of a codec."""

    channels: int
    """Channels of the latent grid."""
    downscale: int
    """Image pixels per latent pixel, along one side."""
    patch: int
    """Latent pixels per token, along one side."""

    def encode(self, image_B3HW: Tensor) -> Tensor:
        """Display values in [0, 1] to latents ``(B, channels, H / downscale, W / downscale)``."""

    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """Latents to display values in [0, 1]."""

    def pack(self, latent_BCHW: Tensor) -> Tensor:
        """Latents to tokens ``(B, N, channels * patch * patch)``."""

    def unpack(self, tokens_BNC: Tensor, height: int, width: int) -> Tensor:
        """Tokens to latents of ``height`` x ``width``."""


def token_pixels(codec: Codec) -> int:
    """Image pixels per token, along one side: sizes must be multiples of it.

    Examples:
        >>> token_pixels(PatchCodec(patch=16))
        16
    """
    return codec.downscale * codec.patch


def token_channels(codec: Codec) -> int:
    """Channels of one token.

    Examples:
        >>> token_channels(PatchCodec(patch=16))
        768
    """
    return codec.channels * codec.patch**2


class PatchCodec(ModelMixin, ConfigMixin):
    """Lossless codec of the embedded scale: latents are pixels, tokens are lapped cosine patches.

    Latents are ``2 x^gamma - 1``: near linear light, where defocus is a linear filter. Tokens hold the orthonormal
    time-domain lapped transform of the latents (a pre-filter across patch borders, then a DCT in each patch; Tran,
    Liang and Tu 2003), so that scaling a token's channels filters the picture without block edges, white noise stays
    white, and squared errors are the same on either side.

    Args:
        patch: Even side of a token in pixels.
        gamma: Exponent from display values to latents, not to light: 1.8 did best on disc blurs (docs/log.md).

    Examples:
        >>> codec = PatchCodec(patch=16)
        >>> image = torch.rand(1, 3, 32, 48)
        >>> codec.pack(codec.encode(image)).shape
        torch.Size([1, 6, 768])
    """

    channels = 3
    downscale = 1

    @register_to_config
    def __init__(self, patch: int = 16, gamma: float = 1.8) -> None:
        super().__init__()
        if patch < 2 or patch % 2:
            raise ValueError(f"patch must be even and at least 2, got {patch}")
        self.patch = patch
        self.gamma = gamma
        self.register_buffer("basis", cosine_basis(patch).float(), persistent=False)
        self.register_buffer("border", _lapping_filter(patch).float(), persistent=False)

    def encode(self, image_B3HW: Tensor) -> Tensor:
        """Display values in [0, 1] to latents in [-1, 1] of the same size."""
        return 2 * image_B3HW.clamp(0, 1) ** self.gamma - 1

    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """Latents to display values, clipped to [0, 1]."""
        return ((latent_BCHW + 1) / 2).clamp(0, 1) ** (1 / self.gamma)

    def pack(self, latent_BCHW: Tensor) -> Tensor:
        """Lapped transform of every patch; ``(B, N, 3 * patch * patch)``, channel-major, lowest frequency first."""
        lapped = self._lap(latent_BCHW, self.border)
        tokens_BNCyx = patchify(lapped, self.patch).unflatten(-1, (self.channels, self.patch, self.patch))
        return (self.basis @ tokens_BNCyx @ self.basis.T).flatten(2)

    def unpack(self, tokens_BNC: Tensor, height: int, width: int) -> Tensor:
        """Inverse of :meth:`pack`: every factor is orthogonal, so its transpose undoes it."""
        tokens_BNCyx = tokens_BNC.unflatten(-1, (self.channels, self.patch, self.patch))
        pixels = (self.basis.T @ tokens_BNCyx @ self.basis).flatten(2)
        return self._lap(unpatchify(pixels, self.patch, height, width), self.border.T)

    def _lap(self, latent_BCHW: Tensor, border: Tensor) -> Tensor:
        """Apply a filter across every inner patch border, along columns and then along rows."""
        for _ in range(2):
            half = self.patch // 2
            inner = latent_BCHW[..., half:-half]
            if inner.shape[-1]:
                filtered = (inner.unflatten(-1, (-1, self.patch)) @ border.T).flatten(-2)
                latent_BCHW = torch.cat([latent_BCHW[..., :half], filtered, latent_BCHW[..., -half:]], dim=-1)
            latent_BCHW = latent_BCHW.transpose(-1, -2)
        return latent_BCHW


def _lapping_filter(size: int) -> Tensor:
    """Orthogonal pre-filter ``(size, size)`` that turns a block DCT into the lapped orthogonal transform."""
    half = size // 2
    identity = torch.eye(half, dtype=torch.float64)
    reverse = identity.flip(0)
    index = torch.arange(half, dtype=torch.float64) + 0.5
    cosine_fourth_kind = math.sqrt(2 / half) * torch.cos(math.pi / half * index[:, None] * index)
    rotation = reverse @ cosine_basis(half).T @ cosine_fourth_kind @ reverse
    butterfly = torch.cat([torch.cat([identity, reverse], 1), torch.cat([reverse, -identity], 1)]) / math.sqrt(2)
    return butterfly @ torch.block_diag(identity, rotation) @ butterfly


class VAECodec(nn.Module):
    """FLUX's latent space: a frozen VAE of diffusers, its latents packed two by two.

    Args:
        vae: ``AutoencoderKL`` (FLUX's own) or ``AutoencoderTiny`` (TAEF1, for previews).

    Examples:
        >>> from diffusers import AutoencoderTiny
        >>> codec = VAECodec(AutoencoderTiny(latent_channels=16))
        >>> codec.encode(torch.rand(1, 3, 64, 64)).shape
        torch.Size([1, 16, 8, 8])
    """

    patch = 2

    def __init__(self, vae: AutoencoderKL | AutoencoderTiny) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(False).eval()
        self.channels = int(vae.config.latent_channels)
        levels = vae.config.get("encoder_block_out_channels") or vae.config.block_out_channels
        self.downscale = 2 ** (len(levels) - 1)
        self._scale = float(vae.config.scaling_factor or 1.0)
        self._shift = float(getattr(vae.config, "shift_factor", None) or 0.0)

    def train(self, mode: bool = True) -> VAECodec:
        """Stay in evaluation mode: the paper's VAE is frozen."""
        return super().train(False)

    @torch.no_grad()
    def encode(self, image_B3HW: Tensor) -> Tensor:
        """Display values in [0, 1] to normalised latents (the posterior's mode, so that encoding is repeatable)."""
        pixels = (image_B3HW * 2 - 1).to(self.vae.dtype)
        encoded = self.vae.encode(pixels)
        latent = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return (latent - self._shift) * self._scale

    @torch.no_grad()
    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """Normalised latents to display values, clipped to [0, 1], in float32."""
        latent = latent_BCHW.to(self.vae.dtype) / self._scale + self._shift
        return (self.vae.decode(latent).sample.float() / 2 + 0.5).clamp(0, 1)

    def pack(self, latent_BCHW: Tensor) -> Tensor:
        """Two by two latents a token, in FLUX's channel order; ``(B, N, 4 * channels)``."""
        return patchify(latent_BCHW, self.patch)

    def unpack(self, tokens_BNC: Tensor, height: int, width: int) -> Tensor:
        """Inverse of :meth:`pack`."""
        return unpatchify(tokens_BNC, self.patch, height, width)
