"""A codec that encodes each image once and remembers the result on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from diffcam.files import unfinished
from diffcam.models.codec import VAECodec


class LatentCache(nn.Module):
    """Wraps a codec; latents are found again by the content of the image and the fingerprint of the codec.

    An image that changes has another key, and so has every image under another codec: nothing stale is ever returned.
    References, targets, disparity maps and the map of zeros all go through here. Worth its disk where images recur:
    with stored variants, without random crops. Several processes may share a folder.

    Args:
        codec: Encodes what is not there yet.
        folder: Where latents are kept, in bfloat16: 131 kB for an image of 512x512 under FLUX's VAE.

    Examples:
        >>> from diffusers import AutoencoderTiny
        >>> codec = LatentCache(VAECodec(AutoencoderTiny(latent_channels=16)), "latents")
        >>> codec.encode(torch.rand(2, 3, 64, 64)).shape
        torch.Size([2, 16, 8, 8])
    """

    def __init__(self, codec: VAECodec, folder: str) -> None:
        super().__init__()
        self.codec = codec
        self.channels, self.downscale, self.patch = codec.channels, codec.downscale, codec.patch
        self._folder = Path(folder)
        self._fingerprint: bytes | None = None

    def encode(self, image_B3HW: Tensor) -> Tensor:
        """As the codec's, each image separately looked for; what is missing is encoded in one batch."""
        if image_B3HW.is_meta:  # a step that is only counted: it has no content to look for
            return self.codec.encode(image_B3HW)
        if self._fingerprint is None:
            self._fingerprint = digest(*(value for _, value in sorted(self.codec.state_dict().items())))
        paths: list[Path] = []
        found: list[Any] = []
        for image_3HW in image_B3HW:
            key = hashlib.blake2b(digest(image_3HW) + self._fingerprint, digest_size=16).hexdigest()
            paths.append(self._folder / key[:2] / f"{key}.safetensors")
            try:
                found.append(load(paths[-1].read_bytes())["latent"])
            except (FileNotFoundError, SafetensorError):  # not there, or damaged
                found.append(None)
        missing = [number for number, latent in enumerate(found) if latent is None]
        if missing:
            for number, latent in zip(missing, self.codec.encode(image_B3HW[missing]), strict=True):
                found[number] = latent.to(torch.bfloat16)
                paths[number].parent.mkdir(parents=True, exist_ok=True)
                with unfinished(paths[number]) as partial:
                    partial.write_bytes(save({"latent": found[number].detach().cpu().contiguous()}))
        dtype = next(self.codec.parameters()).dtype
        return torch.stack([latent.to(image_B3HW.device) for latent in found]).to(dtype)

    def decode(self, latent_BCHW: Tensor) -> Tensor:
        """As the codec's."""
        return self.codec.decode(latent_BCHW)

    def pack(self, latent_BCHW: Tensor) -> Tensor:
        """As the codec's."""
        return self.codec.pack(latent_BCHW)

    def unpack(self, tokens_BNC: Tensor, height: int, width: int) -> Tensor:
        """As the codec's."""
        return self.codec.unpack(tokens_BNC, height, width)


def digest(*tensors: Tensor) -> bytes:
    """Hash of the shapes, data types and every byte of tensors."""
    state = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        state.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return state.digest()
