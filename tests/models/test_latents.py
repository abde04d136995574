"""Latents on disk: encoded once, found by content and codec, never stale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from diffcam.models import LatentCache, VAECodec
from diffcam.planning.operations import meta_copy


def _codec(seed: int = 0) -> VAECodec:
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
    )  # fmt: skip
    return VAECodec(vae)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that really went through an encoder."""
    sizes: list[int] = []
    original = VAECodec.encode
    monkeypatch.setattr(VAECodec, "encode", lambda codec, images: sizes.append(len(images)) or original(codec, images))
    return sizes


def test_each_image_is_encoded_once(tmp_path: Path, generator: torch.Generator, encoded: list[int]) -> None:
    codec = _codec()
    cache = LatentCache(codec, str(tmp_path))
    images = torch.rand(3, 3, 16, 16, generator=generator)
    expected = codec.encode(images)
    encoded.clear()
    torch.testing.assert_close(cache.encode(images[:2]), expected[:2], rtol=1e-2, atol=1e-2)  # kept in bfloat16
    torch.testing.assert_close(cache.encode(images.flip(0)), expected.flip(0), rtol=1e-2, atol=1e-2)
    again = LatentCache(_codec(), str(tmp_path)).encode(images)  # another process, the same weights
    assert torch.equal(again, cache.encode(images))
    assert encoded == [2, 1]
    zeros = torch.zeros(2, 3, 16, 16)
    cache.encode(zeros[:1])
    cache.encode(zeros[:1])
    assert encoded == [2, 1, 1]


def test_another_codec_or_image_is_never_answered_with_the_old(
    tmp_path: Path, generator: torch.Generator, encoded: list[int]
) -> None:
    images = torch.rand(1, 3, 16, 16, generator=generator)
    first = LatentCache(_codec(), str(tmp_path)).encode(images)
    other = LatentCache(_codec(seed=1), str(tmp_path)).encode(images)
    assert not torch.allclose(first, other, atol=1e-2)
    changed = images.clone()
    changed[0, 0, 0, 0] += 1e-3
    LatentCache(_codec(), str(tmp_path)).encode(changed)
    assert encoded == [1, 1, 1]


def test_a_damaged_file_is_made_anew(tmp_path: Path, generator: torch.Generator, encoded: list[int]) -> None:
    cache = LatentCache(_codec(), str(tmp_path))
    images = torch.rand(1, 3, 16, 16, generator=generator)
    first = cache.encode(images)
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:20])
    assert torch.equal(cache.encode(images), first)
    assert encoded == [1, 1]


def test_a_step_that_is_only_counted_stores_nothing(tmp_path: Path) -> None:
    cache = meta_copy(LatentCache(_codec(), str(tmp_path)))
    assert cache.encode(torch.zeros(2, 3, 16, 16, device="meta")).shape == (2, 4, 8, 8)
    assert not list(tmp_path.iterdir())
