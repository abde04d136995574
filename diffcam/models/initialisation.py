"""How a transformer of FLUX's class starts when it is trained from nothing."""

from __future__ import annotations

import torch
from diffusers.models.normalization import AdaLayerNormZero, AdaLayerNormZeroSingle
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import nn

from diffcam.models.transformer import RefocusTransformer

LOCAL_BIAS = 4.0
LOCAL_SHARPNESS = 1.5


@torch.no_grad()
def initialise(transformer: RefocusTransformer, seed: int) -> None:
    """Draw all weights anew: modulations open but neutral, a zero output, and half of the heads looking nearby.

    A rotary head whose query and key are one constant vector attends to its own position and its neighbours in every
    stream. Starting there spares a small model the long search for "the same place in the other picture".

    Args:
        transformer: Changed in place.
        seed: Of the weights.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in transformer.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in transformer.modules():
        if isinstance(module, AdaLayerNormZero):
            _neutral_modulation(module.linear, gates=(2, 5), parts=6)
        elif isinstance(module, AdaLayerNormZeroSingle):
            _neutral_modulation(module.linear, gates=(2,), parts=3)
        elif isinstance(module, FluxAttention):
            _local_heads(module)
    nn.init.zeros_(transformer.base.norm_out.linear.weight)
    nn.init.zeros_(transformer.base.proj_out.weight)


def _neutral_modulation(linear: nn.Linear, gates: tuple[int, ...], parts: int) -> None:
    """Shift 0, scale 0, gates 1, whatever the timestep."""
    nn.init.zeros_(linear.weight)
    bias = linear.bias.view(parts, -1)
    for gate in gates:
        bias[gate] = 1.0


def _local_heads(attention: FluxAttention) -> None:
    """Give the first half of the heads a constant query and key."""
    for norm, projection in ((attention.norm_q, attention.to_q), (attention.norm_k, attention.to_k)):
        norm.weight.fill_(LOCAL_SHARPNESS)
        heads = projection.bias.view(-1, attention.head_dim)
        heads[: max(1, len(heads) // 2)] = LOCAL_BIAS
