"""FLUX's transformer blocks, run over named token streams.

Each stream has its own timestep modulation and positions; attention joins all streams of a pass, and may also look
at the remembered keys and values of an earlier pass (the cached conditions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from diffusers.models.transformers.transformer_flux import (
    FluxAttention,
    FluxSingleTransformerBlock,
    FluxTransformerBlock,
)
from torch import Tensor, nn
from torch.autograd import graph
from torch.export import register_dataclass
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from diffcam.functional.tokens import apply_rotary


@dataclass(frozen=True)
class Stream:
    """Tokens that share a timestep.

    Args:
        tokens: ``(B, N, C)``.
        modulation: ``(B or 1, C)``, the embedding of this stream's timestep.
        rotary: Cosines and sines ``(B or 1, N, head channels)``.
        is_text: Whether the double blocks' text weights serve this stream (the camera token) or the image weights.
    """

    tokens: Tensor
    modulation: Tensor
    rotary: tuple[Tensor, Tensor]
    is_text: bool = False


@dataclass(frozen=True)
class Memory:
    """Keys and values of a pass in one block, ``(B, N, heads, head channels)``, keys already rotated."""

    key: Tensor
    value: Tensor

    def before(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """These and then those of ``B * K`` samples, K to each of these: ``(B * K, N + M, heads, head channels)``.

        They are repeated here, block by block, so that a sweep or a training pair never holds K copies of all blocks'.
        """
        return _joined(self.key, key), _joined(self.value, value)


def _joined(past: Tensor, own: Tensor) -> Tensor:
    own = own.unflatten(0, (len(past), -1))
    return torch.cat([past[:, None].expand(-1, own.shape[1], -1, -1, -1), own], dim=2).flatten(0, 1)


for _kind in (Stream, Memory):
    register_dataclass(_kind)  # so that sharding finds the tensors in what a block is given and gives

BlockRun = Callable[[nn.Module, Sequence[Stream], Memory | None], tuple[list[Stream], Memory]]


def run_block(
    block: nn.Module,
    run: BlockRun,
    streams: Sequence[Stream],
    memory: Memory | None,
    recompute: bool,
    offload: bool = False,
) -> tuple[list[Stream], Memory]:
    """Run a block.

    Args:
        block, run, streams: One of FLUX's, what runs it, and its input.
        memory: What it may look at besides; of one sample for every K of the streams'.
        recompute: Keep only the tokens that it is given, and compute the rest again in the backward pass.
        offload: Keep those in the machine's memory instead of the device's.
    """
    if not recompute:
        return run(block, streams, memory)
    bare = [replace(stream, tokens=stream.tokens.new_empty(0)) for stream in streams]  # the checkpoint alone keeps them

    def again(*tokens_BNC: Tensor) -> tuple[list[Stream], Memory]:
        given = [replace(stream, tokens=tokens) for stream, tokens in zip(bare, tokens_BNC, strict=True)]
        return run(block, given, memory)

    with graph.save_on_cpu(pin_memory=torch.cuda.is_available()) if offload else nullcontext():
        return checkpoint(again, *(stream.tokens for stream in streams), use_reentrant=False)  # type: ignore[no-any-return]


def _heads(attention: FluxAttention, stream: Stream, normed_BNC: Tensor, text: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Rotated queries and keys, and values, ``(B, N, heads, channels)`` each."""
    if text:
        projections = (attention.add_q_proj, attention.add_k_proj, attention.add_v_proj)
        norms = (attention.norm_added_q, attention.norm_added_k)
    else:
        projections = (attention.to_q, attention.to_k, attention.to_v)
        norms = (attention.norm_q, attention.norm_k)
    query, key, value = (project(normed_BNC).unflatten(-1, (-1, attention.head_dim)) for project in projections)
    return apply_rotary(norms[0](query), stream.rotary), apply_rotary(norms[1](key), stream.rotary), value


def _attend(heads: Sequence[tuple[Tensor, Tensor, Tensor]], memory: Memory | None) -> tuple[tuple[Tensor, ...], Memory]:
    """Full attention over all streams and the memory; the outputs per stream, and this pass's own keys and values."""
    query, key, value = (torch.cat(parts, dim=1) for parts in zip(*heads, strict=True))
    own = Memory(key, value)
    if memory is not None:
        key, value = memory.before(key, value)
    mixed = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    lengths = [query.shape[1] for query, _, _ in heads]
    return mixed.transpose(1, 2).flatten(2).split(lengths, dim=1), own


def double_block(
    block: FluxTransformerBlock, streams: Sequence[Stream], memory: Memory | None = None
) -> tuple[list[Stream], Memory]:
    """One FLUX double-stream block: text and image streams have weights of their own and attend together."""
    heads, modulations = [], []
    for stream in streams:
        norm = block.norm1_context if stream.is_text else block.norm1
        normed, *modulation = norm(stream.tokens, emb=stream.modulation)
        heads.append(_heads(block.attn, stream, normed, text=stream.is_text))
        modulations.append(modulation)
    mixed, own = _attend(heads, memory)
    results = []
    for stream, attended, (gate, shift_mlp, scale_mlp, gate_mlp) in zip(streams, mixed, modulations, strict=True):
        project = block.attn.to_add_out if stream.is_text else block.attn.to_out[0]
        norm, feed_forward = (block.norm2_context, block.ff_context) if stream.is_text else (block.norm2, block.ff)
        tokens = stream.tokens + gate[:, None] * project(attended)
        normed = norm(tokens) * (1 + scale_mlp[:, None]) + shift_mlp[:, None]
        results.append(replace(stream, tokens=tokens + gate_mlp[:, None] * feed_forward(normed)))
    return results, own


def single_block(
    block: FluxSingleTransformerBlock, streams: Sequence[Stream], memory: Memory | None = None
) -> tuple[list[Stream], Memory]:
    """One FLUX single-stream block: one set of weights, attention and feed-forward side by side."""
    heads, gates, hidden = [], [], []
    for stream in streams:
        normed, gate = block.norm(stream.tokens, emb=stream.modulation)
        heads.append(_heads(block.attn, stream, normed, text=False))
        gates.append(gate)
        hidden.append(block.act_mlp(block.proj_mlp(normed)))
    mixed, own = _attend(heads, memory)
    results = []
    for stream, attended, gate, mlp in zip(streams, mixed, gates, hidden, strict=True):
        update = block.proj_out(torch.cat([attended, mlp], dim=2))
        results.append(replace(stream, tokens=stream.tokens + gate[:, None] * update))
    return results, own
