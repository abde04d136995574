"""Sharpness of an image, measured by the Laplacian of its luminance (paper, section 3.2 and appendix C)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LUMINANCE_WEIGHTS = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of R, G and B."""


def luminance(image_B3HW: Tensor) -> Tensor:
    """Luminance ``(B, 1, H, W)`` of an RGB image, in the image's own range.

    Examples:
        >>> luminance(torch.tensor([1.0, 1.0, 0.0]).view(1, 3, 1, 1)).flatten()  # yellow
        tensor([0.8860])
    """
    weights = torch.tensor(LUMINANCE_WEIGHTS, dtype=image_B3HW.dtype, device=image_B3HW.device)
    return torch.einsum("bchw,c->bhw", image_B3HW, weights)[:, None]


def laplacian(gray_B1HW: Tensor) -> Tensor:
    """Four-neighbour Laplacian with reflected borders; same shape as the input.

    An image of one row or column is extended by its own values there: it has nothing to reflect.

    Examples:
        >>> laplacian(torch.tensor([[[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]]]))[0, 0]
        tensor([[ 0.,  2.,  0.],
                [ 2., -4.,  2.],
                [ 0.,  2.,  0.]])
    """
    reflectable = min(gray_B1HW.shape[-2:]) > 1
    padded = F.pad(gray_B1HW, (1, 1, 1, 1), mode="reflect" if reflectable else "replicate")
    neighbours = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    return neighbours - 4 * gray_B1HW


def laplacian_variance(image_B3HW: Tensor) -> Tensor:
    """Variance of the luminance Laplacian over each image, ``(B,)``: high is sharp (metric LVCorr builds on it).

    Examples:
        >>> stripes = torch.tensor([0.0, 1.0]).repeat(4).expand(1, 3, 8, 8)
        >>> laplacian_variance(stripes), laplacian_variance(stripes / 2)
        (tensor([4.]), tensor([1.]))
    """
    return laplacian(luminance(image_B3HW)).flatten(1).var(dim=1, unbiased=False)
