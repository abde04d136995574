"""How a transformer of FLUX's class starts when it is trained from nothing.

A small model with little training time cannot afford to search for its wiring. Three starting habits spare it that:

* *Local heads.* A rotary head whose query and key are one constant vector attends to its own position, in every
  stream: "the same place in the other picture". The camera token, which sits at the focus point, looks there.
* *Camera heads.* In the double blocks, whose text weights serve the camera token alone, image queries and the camera's
  key agree on slowly turning rotary channels, so that every token sees the camera from wherever it is.
* *Biased embeddings.* Layer norm keeps directions and drops lengths; the token of a flat patch differs from another's
  only in length, and only a bias of comparable size turns that into a direction.
"""

from __future__ import annotations

import torch
from diffusers.models.normalization import AdaLayerNormZero, AdaLayerNormZeroSingle
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import Tensor, nn

from diffcam.models.transformer import RefocusTransformer

HEAD_BIAS = 4.0
HEAD_SHARPNESS = 1.5


@torch.no_grad()
def initialise(transformer: RefocusTransformer, seed: int) -> None:
    """Draw all weights anew: neutral modulations with open gates, a zero output, and the habits above.

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
            _starting_heads(module, transformer.base.config.axes_dims_rope)
    for embedding in (transformer.base.x_embedder, transformer.camera_projector):
        nn.init.normal_(embedding.bias, generator=generator)
    nn.init.normal_(transformer.camera_projector.weight, generator=generator)
    nn.init.zeros_(transformer.base.norm_out.linear.weight)
    nn.init.zeros_(transformer.base.proj_out.weight)


def _neutral_modulation(linear: nn.Linear, gates: tuple[int, ...], parts: int) -> None:
    """Shift 0, scale 0, gates 1, whatever the timestep."""
    nn.init.zeros_(linear.weight)
    bias = linear.bias.view(parts, -1)
    for gate in gates:
        bias[gate] = 1.0


def _starting_heads(attention: FluxAttention, axes: tuple[int, ...]) -> None:
    """Half of the heads local; in double blocks the last one sees the camera; the others start without a habit."""
    local = max(1, attention.heads // 2)
    for projection in (attention.to_q, attention.to_k):
        _by_head(projection, attention)[:local] = HEAD_BIAS
    norms = [attention.norm_q, attention.norm_k]
    if attention.added_kv_proj_dim is not None:
        norms += [attention.norm_added_q, attention.norm_added_k]
        _by_head(attention.add_q_proj, attention)[:local] = HEAD_BIAS
        slow = _slow_channels(axes)
        _by_head(attention.to_q, attention)[-1, slow] = HEAD_BIAS
        _by_head(attention.add_k_proj, attention)[-1, slow] = HEAD_BIAS
    for norm in norms:
        norm.weight.fill_(HEAD_SHARPNESS)


def _by_head(projection: nn.Linear, attention: FluxAttention) -> Tensor:
    return projection.bias.view(-1, attention.head_dim)


def _slow_channels(axes: tuple[int, ...]) -> list[int]:
    """The last, slowest pair of rotary channels of each axis."""
    ends = [sum(axes[: number + 1]) for number in range(len(axes))]
    return [channel for end in ends for channel in (end - 2, end - 1)]
