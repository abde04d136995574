"""Telling weights from others of the same shape, by what they hold."""

from __future__ import annotations

import hashlib

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from diffcam.models.sharding import gathered


def digest(*tensors: Tensor) -> bytes:
    """Of shapes, data types and every byte."""
    state = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        state.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return state.digest()


def base_fingerprint(base: FluxTransformer2DModel) -> str:
    """Of a base that adapters are trained on: FLUX.1's descendants share their shape, not their first and last layer.

    Those two are the same with and without adapters, in bfloat16 and in float32, and are not quantised. All processes
    of a sharded model must ask.
    """
    ends = (base.x_embedder.weight, base.proj_out.weight)
    return digest(*(gathered(weight).to(torch.bfloat16) for weight in ends)).hex()
