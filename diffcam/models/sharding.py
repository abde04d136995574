"""A transformer spread over devices (FSDP2): each holds a part of every weight and gathers a block when it runs."""

from __future__ import annotations

from types import MethodType

from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from diffcam.models.streams import run_block
from diffcam.models.transformer import RefocusTransformer


def shard(transformer: RefocusTransformer, mesh: DeviceMesh) -> None:
    """Spread a transformer, with its adapters if it is to have any, block by block over a one-dimensional mesh.

    Blocks run over streams and not through their own ``forward``, so the gathering goes around a method of theirs.
    """
    for block in transformer.blocks:
        block.run_streams = MethodType(run_block, block)
        fully_shard(block, mesh=mesh)
        register_fsdp_forward_method(block, "run_streams")
    fully_shard(transformer, mesh=mesh, reshard_after_forward=True)  # or validation would leave whole weights behind
    register_fsdp_forward_method(transformer, "encode_photo_tokens")
    transformer.sharded = True


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be spread over processes; then all of them must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A whole tensor on the device, or the devices, of another of its shape."""
    if isinstance(pattern, DTensor) and not isinstance(tensor, DTensor):
        return distribute_tensor(tensor.to(pattern.device), pattern.device_mesh, pattern.placements)
    return tensor.to(pattern.device)
