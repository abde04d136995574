from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel

from diffcam.models import DefocusRemoval, LensOutput, PatchCodec, RefocusModel, RefocusTransformer


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
def make_model() -> Callable[..., RefocusModel]:
    def make(patch: int = 4, restoration: DefocusRemoval | None = None, **options: Any) -> RefocusModel:
        parametrisation = LensOutput()
        codec = PatchCodec(patch)
        base = _make_base(3 * patch**2, parametrisation.channels(codec))
        cues = {"cue_channels": parametrisation.cue_channels, "defocus_channels": parametrisation.defocus_channels}
        transformer = RefocusTransformer(base, **cues, **options)
        return RefocusModel(codec, transformer, parametrisation, restoration=restoration)

    return make
