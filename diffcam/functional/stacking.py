"""Focus stacking and the stacking constraint (paper, eq. 2 to 5, 8 and 9)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.functional.sharpness import laplacian, luminance


def stack_masks(images: Sequence[Tensor]) -> Tensor:
    """Which image of a focus stack is the sharpest at each pixel (the M of paper eq. 2, for n images).

    Args:
        images: n images ``(B, 3, H, W)`` of one scene with different focus.

    Returns:
        ``(n, B, 1, H, W)`` of zeros and ones that sum to 1 over n; a tie goes to the last image, so that for two
        images M is 1 exactly where ``|Laplacian(I_1)| > |Laplacian(I_2)|``.

    Raises:
        ValueError: If fewer than two images are given or their shapes differ.

    Examples:
        >>> sharp_left = torch.tensor([0.0, 1.0, 0.0, 0.5, 0.5, 0.5]).expand(1, 3, 6, 6)
        >>> stack_masks([sharp_left, sharp_left.flip(-1)])[:, 0, 0, 0]
        tensor([[1., 1., 1., 0., 0., 0.],
                [0., 0., 0., 1., 1., 1.]])
    """
    if len(images) < 2 or any(image.shape != images[0].shape for image in images):
        raise ValueError(f"a stack needs two or more images of one shape, got {[tuple(i.shape) for i in images]}")
    sharpness_nB1HW = torch.stack([laplacian(luminance(image)).abs() for image in images])
    winner_1B1HW = len(images) - 1 - sharpness_nB1HW.flip(0).argmax(dim=0, keepdim=True)  # of equals the last
    return torch.zeros_like(sharpness_nB1HW).scatter_(0, winner_1B1HW, 1)


def downsample_masks(masks_nB1HW: Tensor, height: int, width: int) -> Tensor:
    """Resize masks to the latent grid, antialiased bilinear, so values become continuous (the m of paper eq. 5).

    Examples:
        >>> downsample_masks(torch.eye(4).view(1, 1, 1, 4, 4), 2, 2)[0, 0, 0]
        tensor([[0.3878, 0.1224],
                [0.1224, 0.3878]])
    """
    if masks_nB1HW.shape[-2:] == (height, width):
        return masks_nB1HW
    small = F.interpolate(masks_nB1HW.flatten(0, 1), size=(height, width), mode="bilinear", antialias=True)
    return small.unflatten(0, masks_nB1HW.shape[:2])


def stack(masks_nB1HW: Tensor, layers_nBCHW: Tensor) -> Tensor:
    """Blend images, latents or velocities of a stack, ``sum_i m_i x_i`` (paper eq. 2, 4, 8, 9); ``(B, C, H, W)``.

    Examples:
        >>> masks = torch.tensor([1.0, 0.25]).view(2, 1, 1, 1, 1)
        >>> stack(masks, torch.tensor([2.0, 4.0]).view(2, 1, 1, 1, 1)).item()
        3.0
    """
    return (masks_nB1HW * layers_nBCHW).sum(dim=0)


def stacking_loss(masks_nB1HW: Tensor, targets_nBCHW: Tensor, predictions_nBCHW: Tensor) -> Tensor:
    """Stacking constraint (paper eq. 5): mean square of ``v_stack - sum_i m_i X_i``; a scalar.

    All branches must share noise and timestep, otherwise ``sum_i m_i v_i`` is not the velocity of the stacked latent.

    Examples:
        >>> masks, errors = torch.full((2, 1, 1, 1, 1), 0.5), torch.tensor([1.0, -1.0]).view(2, 1, 1, 1, 1)
        >>> stacking_loss(masks, targets_nBCHW=errors, predictions_nBCHW=torch.zeros_like(errors))  # they cancel
        tensor(0.)
    """
    difference = stack(masks_nB1HW, targets_nBCHW) - stack(masks_nB1HW, predictions_nBCHW)
    return difference.square().mean()


def sharpness_weighted_loss(masks_nB1HW: Tensor, targets_nBCHW: Tensor, predictions_nBCHW: Tensor) -> Tensor:
    """:func:`stacking_loss` without its products of two branches: mean of ``sum_i (m_i (v_i - X_i))^2``; a scalar.

    Examples:
        >>> masks, errors = torch.full((2, 1, 1, 1, 1), 0.5), torch.tensor([1.0, -1.0]).view(2, 1, 1, 1, 1)
        >>> sharpness_weighted_loss(masks, targets_nBCHW=errors, predictions_nBCHW=torch.zeros_like(errors))
        tensor(0.5000)
    """
    return (masks_nB1HW * (targets_nBCHW - predictions_nBCHW)).square().sum(dim=0).mean()
