"""A tiny FLUX checkpoint with random weights, in the hub's own folder format, without text encoders."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel


def write_flux_folder(folder: Path, heads: int = 2, seed: int = 1) -> Path:
    """Write the folder and return it."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
        scaling_factor=0.36, shift_factor=0.12,
    )  # fmt: skip
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=heads,
        joint_attention_dim=24, pooled_projection_dim=8, guidance_embeds=True, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, transformer=transformer,
        text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None,
    ).save_pretrained(folder)  # fmt: skip
    return folder
