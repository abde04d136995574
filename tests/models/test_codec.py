"""Codecs: lossless, orthonormal and smooth across patches; FLUX's VAEs through the same interface."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, FluxPipeline
from scipy import fft, ndimage
from skimage import data

from diffcam.functional.tokens import patchify
from diffcam.models import PatchCodec, VAECodec, load_preview_codec, token_channels, token_pixels


@pytest.mark.parametrize("patch", [2, 8, 16])
def test_patch_codec_is_lossless(patch: int) -> None:
    codec = PatchCodec(patch, gamma=1.8)
    image = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    latent = codec.encode(image)
    tokens = codec.pack(latent)
    assert tokens.shape == (2, 32 * 48 // patch**2, 3 * patch**2)
    torch.testing.assert_close(codec.unpack(tokens, 32, 48), latent, rtol=0, atol=1e-5)
    torch.testing.assert_close(codec.decode(latent), image, rtol=0, atol=1e-3)
    assert (token_pixels(codec), token_channels(codec)) == (patch, 3 * patch**2)


def test_patch_tokens_keep_lengths_so_that_noise_stays_white() -> None:
    codec = PatchCodec(8)
    noise = torch.randn(1, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    tokens = codec.pack(noise)
    assert tokens.square().sum().item() == pytest.approx(noise.square().sum().item(), rel=1e-5)
    single = PatchCodec(8).pack(noise[..., :8, :8])  # one patch has no inner border
    assert single.square().sum().item() == pytest.approx(noise[..., :8, :8].square().sum().item(), rel=1e-5)


def test_scaling_tokens_blurs_better_than_scaling_block_dct() -> None:
    """Best gain per frequency that turns a photo into its blurred self: 0.7 dB better than on a block DCT."""
    photo = torch.from_numpy(data.astronaut()[:256, :256].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    blurred = torch.from_numpy(ndimage.gaussian_filter(photo.numpy(), (0, 0, 2, 2), mode="mirror"))

    def error(pack: Callable[[torch.Tensor], torch.Tensor]) -> float:
        sharp, soft = pack(photo).flatten(0, 1), pack(blurred).flatten(0, 1)
        gain = (sharp * soft).sum(0) / sharp.square().sum(0)
        return float((gain * sharp - soft).square().mean())

    def block_dct(latent: torch.Tensor) -> torch.Tensor:
        blocks = patchify(latent, 16).unflatten(-1, (3, 16, 16)).numpy()
        return torch.from_numpy(fft.dctn(blocks, axes=(-2, -1), norm="ortho")).flatten(2)

    assert 10 * math.log10(error(block_dct) / error(PatchCodec(16).pack)) > 0.7


def test_encoding_is_a_power_of_display_values() -> None:
    latent = PatchCodec(4, gamma=2.0).encode(torch.full((1, 3, 4, 4), 0.5))
    torch.testing.assert_close(latent, torch.full((1, 3, 4, 4), 2 * 0.25 - 1))
    with pytest.raises(ValueError, match="even"):
        PatchCodec(5)


def _vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
        scaling_factor=0.36, shift_factor=0.12,
    )  # fmt: skip


def test_vae_codec_normalises_as_flux_does_and_stays_frozen() -> None:
    vae = _vae()
    codec = VAECodec(vae).train()
    image = torch.rand(1, 3, 16, 16)
    latent = codec.encode(image)
    with torch.no_grad():
        expected = (vae.encode(image * 2 - 1).latent_dist.mode() - 0.12) * 0.36
        decoded = (vae.decode(latent / 0.36 + 0.12).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(latent, expected)
    torch.testing.assert_close(codec.decode(latent), decoded)
    torch.testing.assert_close(codec.pack(latent), FluxPipeline._pack_latents(latent, 1, 4, 8, 8))
    assert not codec.vae.training
    assert not any(parameter.requires_grad for parameter in codec.parameters())
    assert (token_pixels(codec), token_channels(codec)) == (4, 16)


def test_tiny_autoencoder_serves_as_codec(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4, "latent_channels": 16}
    blocks = {"num_encoder_blocks": (1, 1, 1, 1), "num_decoder_blocks": (1, 1, 1, 1)}
    vae = AutoencoderTiny(**options, **blocks, scaling_factor=1.0)
    vae.save_pretrained(tmp_path)
    codec = load_preview_codec(str(tmp_path))
    image = torch.rand(1, 3, 32, 48)
    latent = codec.encode(image)
    torch.testing.assert_close(latent, vae.encode(image * 2 - 1).latents)
    assert latent.shape == (1, 16, 4, 6)
    assert codec.decode(latent).shape == image.shape
    assert math.prod(codec.pack(latent).shape) == latent.numel()
