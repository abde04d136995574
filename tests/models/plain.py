"""The transformer once more, plainly: one long sequence, a modulation for every token, softmax with a mask.

Shares no code with ``diffcam.models``, only the weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch.nn import functional as F


def plain_forward(
    base: FluxTransformer2DModel,
    tokens_BNC: Tensor,
    is_text_N: Tensor,
    temb_BNC: Tensor,
    positions_BN3: Tensor,
    sees_NN: Tensor,
    theta: float = 10000.0,
) -> Tensor:
    """Tokens after all blocks and the output projection.

    Args:
        base: Weights.
        tokens_BNC: Embedded tokens of all streams, in any order.
        is_text_N: Which of them use the text weights of the double blocks.
        temb_BNC: Timestep embedding of every token.
        positions_BN3: Positions.
        sees_NN: ``sees[i, j]``: token i attends to token j.
        theta: Base of the rotary frequencies.
    """
    rotate = _rotation(positions_BN3, base.config.axes_dims_rope, theta)
    text = is_text_N[None, :, None]
    for block in base.transformer_blocks:
        image_parts = block.norm1.linear(F.silu(temb_BNC)).chunk(6, -1)
        text_parts = block.norm1_context.linear(F.silu(temb_BNC)).chunk(6, -1)
        shift, scale, gate, shift2, scale2, gate2 = (
            torch.where(text, t, i) for i, t in zip(image_parts, text_parts, strict=True)
        )
        normed = _layer_norm(tokens_BNC) * (1 + scale) + shift
        a = block.attn
        q = torch.where(
            text[..., None], _heads(a.add_q_proj, a.norm_added_q, normed, a), _heads(a.to_q, a.norm_q, normed, a)
        )
        k = torch.where(
            text[..., None], _heads(a.add_k_proj, a.norm_added_k, normed, a), _heads(a.to_k, a.norm_k, normed, a)
        )
        v = torch.where(text[..., None], _heads(a.add_v_proj, None, normed, a), _heads(a.to_v, None, normed, a))
        mixed = _attention(rotate(q), rotate(k), v, sees_NN)
        tokens_BNC = tokens_BNC + gate * torch.where(text, a.to_add_out(mixed), a.to_out[0](mixed))
        normed = _layer_norm(tokens_BNC) * (1 + scale2) + shift2
        tokens_BNC = tokens_BNC + gate2 * torch.where(text, block.ff_context(normed), block.ff(normed))
    for block in base.single_transformer_blocks:
        shift, scale, gate = block.norm.linear(F.silu(temb_BNC)).chunk(3, -1)
        normed = _layer_norm(tokens_BNC) * (1 + scale) + shift
        a = block.attn
        q, k, v = (
            _heads(a.to_q, a.norm_q, normed, a),
            _heads(a.to_k, a.norm_k, normed, a),
            _heads(a.to_v, None, normed, a),
        )
        mixed = _attention(rotate(q), rotate(k), v, sees_NN)
        hidden = F.gelu(block.proj_mlp(normed), approximate="tanh")
        tokens_BNC = tokens_BNC + gate * block.proj_out(torch.cat([mixed, hidden], -1))
    scale, shift = base.norm_out.linear(F.silu(temb_BNC)).chunk(2, -1)
    return base.proj_out(_layer_norm(tokens_BNC) * (1 + scale) + shift)


def _layer_norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-6)


def _heads(linear: torch.nn.Module, norm: torch.nn.Module | None, x: Tensor, attention: torch.nn.Module) -> Tensor:
    heads = linear(x).unflatten(-1, (-1, attention.head_dim))
    if norm is None:
        return heads
    return heads / torch.sqrt(heads.square().mean(-1, keepdim=True) + norm.eps) * norm.weight


def _attention(q: Tensor, k: Tensor, v: Tensor, sees_NN: Tensor) -> Tensor:
    scores = torch.einsum("bihc,bjhc->bhij", q, k) / math.sqrt(q.shape[-1])
    weights = scores.masked_fill(~sees_NN, -math.inf).softmax(-1)
    return torch.einsum("bhij,bjhc->bihc", weights, v).flatten(2)


def _rotation(positions_BN3: Tensor, axes: tuple[int, ...], theta: float) -> Callable[[Tensor], Tensor]:
    angles = [positions_BN3[..., i, None] / theta ** (torch.arange(0, dim, 2) / dim) for i, dim in enumerate(axes)]
    turn = torch.polar(torch.ones(()), torch.cat(angles, -1))[:, :, None]

    def rotate(heads: Tensor) -> Tensor:
        pairs = torch.view_as_complex(heads.contiguous().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * turn).flatten(-2)

    return rotate
