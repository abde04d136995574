from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel

from diffcam.models import DefocusRemoval, LensRefocusModel, PatchCodec, RefocusTransformer


def _make_base(channels: int = 48, outputs: int | None = None, guidance: bool = False) -> FluxTransformer2DModel:
    """A small transformer of FLUX's class with random weights."""
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        in_channels=channels,
        out_channels=outputs or channels,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=8,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    )


@pytest.fixture
def make_base() -> Callable[..., FluxTransformer2DModel]:
    return _make_base


@pytest.fixture
def make_model() -> Callable[..., LensRefocusModel]:
    def make(
        patch: int = 4,
        restoration: DefocusRemoval | None = None,
        short_side: int = 512,
        gamma: float = 2.2,
        trusts_maps: bool = False,
        **options: Any,
    ) -> LensRefocusModel:
        codec = PatchCodec(patch)
        channels = LensRefocusModel.channels(codec)
        base = _make_base(channels.tokens, channels.output)
        cues = {"cue_channels": channels.cues, "defocus_channels": channels.defocus}
        transformer = RefocusTransformer(base, **cues, **options)
        return LensRefocusModel(codec, transformer, 1.0, short_side, restoration, gamma, trusts_maps=trusts_maps)

    return make
