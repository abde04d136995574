"""What a stacking pair adds to the loss: the paper's constraint, or the control that tells it from a weighting."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from diffcam.functional.stacking import downsample_masks, sharpness_weighted_loss, stacking_loss


class StackingConstraint:
    """The paper's constraint (eq. 5): ``|| sum_i m_i e_i ||^2`` with ``e_i = v_i - X_i``.

    Beyond a weighted flow loss it holds the products ``m_i m_j e_i . e_j`` of different branches, and those are zero
    wherever the masks are zero or one. Masks become continuous only by averaging: over the 8 x 8 pixels of a latent
    of FLUX's VAE, or, for a codec whose latents are pixels, over ``cell``.

    Args:
        cell: Least side, in pixels of the picture, of the squares over which masks are averaged.

    Raises:
        ValueError: If ``cell`` is not positive.

    Examples:
        >>> errors = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1, 1).expand(2, 1, 3, 8, 8)
        >>> StackingConstraint()(torch.full((2, 1, 1, 8, 8), 0.5), torch.zeros(2, 1, 3, 8, 8), errors)  # cancels
        tensor(0.)
    """

    def __init__(self, cell: int = 1) -> None:
        if cell < 1:
            raise ValueError(f"cell must be at least 1 pixel, got {cell}")
        self.cell = cell

    def __call__(self, masks_nB1HW: Tensor, targets_nBCHW: Tensor, predictions_nBCHW: Tensor) -> Tensor:
        """The term, a scalar.

        Args:
            masks_nB1HW: Of the pictures, at their full size, summing to 1 over n.
            targets_nBCHW: Velocities of the n branches on the latent grid; they share noise and timestep.
            predictions_nBCHW: The network's.
        """
        return stacking_loss(self.latent_masks(masks_nB1HW, targets_nBCHW), targets_nBCHW, predictions_nBCHW)

    def latent_masks(self, masks_nB1HW: Tensor, latents_nBCHW: Tensor) -> Tensor:
        """Masks on the latent grid, constant over cells of more than one latent."""
        height, width = latents_nBCHW.shape[-2:]
        side = max(1, self.cell * height // masks_nB1HW.shape[-2])
        coarse = downsample_masks(masks_nB1HW, max(1, height // side), max(1, width // side))
        if coarse.shape[-2:] == (height, width):
            return coarse
        return F.interpolate(coarse.flatten(0, 1), size=(height, width)).unflatten(0, coarse.shape[:2])


class SharpnessWeighting(StackingConstraint):
    """The control: the same masks weigh each branch's own error, ``sum_i || m_i e_i ||^2``, no product of two branches.

    What training gains from the constraint beyond this, it gains from the constraint.

    Examples:
        >>> errors = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1, 1).expand(2, 1, 3, 8, 8)
        >>> SharpnessWeighting()(torch.full((2, 1, 1, 8, 8), 0.5), torch.zeros(2, 1, 3, 8, 8), errors)  # both count
        tensor(0.5000)
    """

    def __call__(self, masks_nB1HW: Tensor, targets_nBCHW: Tensor, predictions_nBCHW: Tensor) -> Tensor:
        """See :class:`StackingConstraint`."""
        return sharpness_weighted_loss(self.latent_masks(masks_nB1HW, targets_nBCHW), targets_nBCHW, predictions_nBCHW)
