"""How a transformer of FLUX's class starts when it is trained from nothing.

A small model with little training time cannot afford to search for its wiring. Three starting habits spare it that:

* *Local heads.* A rotary head whose query and key are constant attends to its own place. Turning the key's channels of
  the stream axis by one or two streams makes it "this place in the reference" or "this place in the disparity map";
  the camera token, which sits at the focus point, so reads the disparity in focus. The other heads look around broadly.
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

from diffcam.functional.tokens import apply_rotary, rotary_table
from diffcam.models.transformer import DISPARITY_AXIS, REFERENCE_AXIS, RefocusTransformer

HEAD_BIAS = 4.0
"""Query and key biases of a starting head, against projections of unit variance; found by trying."""

HEAD_SHARPNESS = 2.5
"""Scale of normalised queries and keys: a token's own place gets nearly all attention of a local head."""


@torch.no_grad()
def initialise(transformer: RefocusTransformer, seed: int) -> None:
    """Draw all weights anew: neutral modulations with open gates, a zero output, and the habits above."""
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
            _starting_heads(module, transformer.base.config.axes_dims_rope, transformer.rotary_theta)
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


def _starting_heads(attention: FluxAttention, axes: tuple[int, ...], theta: float) -> None:
    """Heads 0 and 1 read reference and disparity; in double blocks the last one sees the camera; others look around."""
    local = torch.full((sum(axes),), HEAD_BIAS)
    broad = HEAD_BIAS * torch.cat([torch.arange(axis) >= axis // 2 for axis in axes])  # slower half of the channels
    broad[: axes[0]] = 0
    camera = HEAD_BIAS * torch.cat([torch.arange(axis) >= axis - 2 for axis in axes])  # slowest pair of each axis
    pairs = [(attention.to_q, attention.to_k)]
    if attention.added_kv_proj_dim is not None:
        pairs.append((attention.add_q_proj, attention.add_k_proj))
    for query, key in pairs:
        query_HC, key_HC = _by_head(query, attention), _by_head(key, attention)
        query_HC[:] = key_HC[:] = broad
        for head, stream in zip(range(attention.heads), (REFERENCE_AXIS, DISPARITY_AXIS), strict=False):
            query_HC[head] = key_HC[head] = local
            # Turned, the key meets its equal query best when it lies some streams further on the stream axis.
            table = rotary_table(torch.full((1, 1, 1), -stream), axes[:1], theta)
            key_HC[head, : axes[0]] = apply_rotary(local[None, None, None, : axes[0]], table).flatten()
    if attention.added_kv_proj_dim is not None:
        _by_head(attention.to_q, attention)[-1] = _by_head(attention.add_k_proj, attention)[-1] = camera
        _by_head(attention.to_k, attention)[-1] = 0
    for name, parameter in attention.named_parameters():
        if name.startswith("norm_"):
            parameter.fill_(HEAD_SHARPNESS)


def _by_head(projection: nn.Linear, attention: FluxAttention) -> Tensor:
    return projection.bias.view(-1, attention.head_dim)
