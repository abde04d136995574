"""Latent grids as token sequences: patches, orthonormal patch bases, positions and rotary embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def patchify(latent_BCHW: Tensor, patch: int) -> Tensor:
    """Cut a latent into square patches: ``(B, H/p * W/p, C * p * p)``, channel-major inside a token (as FLUX packs).

    Raises:
        ValueError: If height or width is not a multiple of ``patch``.

    Examples:
        >>> patchify(torch.arange(8.0).view(1, 1, 2, 4), 2)[0]
        tensor([[0., 1., 4., 5.],
                [2., 3., 6., 7.]])
    """
    height, width = latent_BCHW.shape[-2:]
    if height % patch or width % patch:
        raise ValueError(f"a latent of {height}x{width} cannot be cut into patches of {patch}")
    return F.pixel_unshuffle(latent_BCHW, patch).flatten(2).transpose(1, 2)


def unpatchify(tokens_BNC: Tensor, patch: int, height: int, width: int) -> Tensor:
    """Inverse of :func:`patchify` for a latent of ``height`` x ``width``.

    Examples:
        >>> latent = torch.rand(1, 3, 4, 6)
        >>> torch.equal(unpatchify(patchify(latent, 2), 2, 4, 6), latent)
        True
    """
    grid = tokens_BNC.transpose(1, 2).unflatten(2, (height // patch, width // patch))
    return F.pixel_shuffle(grid, patch)


def cosine_basis(size: int) -> Tensor:
    """Orthonormal DCT-II matrix ``(size, size)``: row k is frequency k, so ``basis @ basis.T`` is the identity."""
    position = (torch.arange(size, dtype=torch.float64) + 0.5) * math.pi / size
    basis = torch.cos(torch.arange(size, dtype=torch.float64)[:, None] * position) * math.sqrt(2.0 / size)
    basis[0] /= math.sqrt(2.0)
    return basis


def grid_positions(stream: int, rows: int, columns: int, device: torch.device | None = None) -> Tensor:
    """Positions ``(rows * columns, 3)`` of a token grid: (stream, row, column); streams share the spatial axes.

    Examples:
        >>> grid_positions(1, rows=1, columns=2)
        tensor([[1., 0., 0.],
                [1., 0., 1.]])
    """
    row, column = torch.meshgrid(torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij")
    return torch.stack([torch.full_like(row, stream), row, column], dim=-1).reshape(-1, 3).float()


def focus_positions(focus_B2: Tensor, rows: int, columns: int) -> Tensor:
    """Positions ``(B, 1, 3)`` of the camera tokens: at the focus point (fractions x, y), on the noisy stream's axis 0.

    Examples:
        >>> focus_positions(torch.tensor([[0.5, 0.25]]), rows=4, columns=8)
        tensor([[[0.0000, 0.5000, 3.5000]]])
    """
    x_B, y_B = focus_B2.unbind(-1)
    return torch.stack([torch.zeros_like(x_B), y_B * rows - 0.5, x_B * columns - 0.5], dim=-1)[:, None]


def rotary_table(positions_BN3: Tensor, axes: Sequence[int], theta: float = 10000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding, batched (Su et al. 2021; FLUX's layout).

    Args:
        positions_BN3: ``(B, N, A)`` positions on A axes.
        axes: Even number of head channels given to each axis.
        theta: Base of the geometric series of frequencies.

    Returns:
        Two float32 tensors ``(B, N, sum(axes))``; neighbouring channels 2i and 2i + 1 share an angle.

    Examples:
        >>> cosine, sine = rotary_table(torch.tensor([[[0.0, 0.0, 1.0]]]), axes=(2, 2, 4))
        >>> cosine[0, 0]
        tensor([1.0000, 1.0000, 1.0000, 1.0000, 0.5403, 0.5403, 0.9999, 0.9999])
    """
    angles = []
    for axis, channels in enumerate(axes):
        exponent = torch.arange(0, channels, 2, dtype=torch.float64, device=positions_BN3.device) / channels
        angles.append(positions_BN3[..., axis, None].double() * theta**-exponent)
    angle = torch.cat(angles, dim=-1).repeat_interleave(2, dim=-1)
    return angle.cos().float(), angle.sin().float()


def apply_rotary(heads_BNHD: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate query or key heads ``(B, N, heads, channels)`` by their positions, of :func:`rotary_table`.

    Examples:
        >>> table = rotary_table(grid_positions(0, 1, 2)[None], axes=(2, 2, 4))
        >>> apply_rotary(torch.tensor([1.0, 0.0]).repeat(1, 2, 1, 4), table)[0, 1, 0]  # the token at column 1
        tensor([1.0000, 0.0000, 1.0000, 0.0000, 0.5403, 0.8415, 0.9999, 0.0100])
    """
    cosine, sine = (part[:, :, None] for part in table)
    even, odd = heads_BNHD.float().unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([-odd, even], dim=-1).flatten(-2)
    return (heads_BNHD.float() * cosine + turned * sine).to(heads_BNHD.dtype)
