"""The stacking terms: where the constraint and its control differ, and where they cannot."""

from __future__ import annotations

import pytest
import torch

from diffcam.functional.stacking import stack_masks
from diffcam.tasks import SharpnessWeighting, StackingConstraint


def _pair(size: int = 48) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Masks of two pictures, and velocities on a grid of the same size with predictions: ``(2, 1, 3, size, size)``."""
    generator = torch.Generator().manual_seed(3)
    pictures = torch.rand(2, 1, 3, size, size, generator=generator)
    targets, predictions = torch.randn(2, 2, 1, 3, size, size, generator=generator)
    return stack_masks(list(pictures)), targets, predictions


def test_on_pixels_the_constraint_is_the_control() -> None:
    """Masks of zeros and ones have no product of two branches: a fact about latents that are pixels, not a choice."""
    assert torch.equal(StackingConstraint()(*_pair()), SharpnessWeighting()(*_pair()))


@pytest.mark.parametrize("cell", [4, 8])
def test_on_cells_they_differ_by_the_product_of_the_branches(cell: int) -> None:
    masks, targets, predictions = _pair()
    mask_BHW = masks[0, :, 0].unflatten(1, (-1, cell)).unflatten(3, (-1, cell)).mean(dim=(2, 4))
    weight = (mask_BHW * (1 - mask_BHW)).repeat_interleave(cell, 1).repeat_interleave(cell, 2)
    errors = targets - predictions
    product = (2 * weight[:, None] * errors[0] * errors[1]).mean()
    difference = StackingConstraint(cell)(masks, targets, predictions) - SharpnessWeighting(cell)(
        masks, targets, predictions
    )
    assert abs(product) > 1e-3
    # the antialiased triangle that brings masks down is wider than a mean over cells: alike, not equal
    torch.testing.assert_close(difference, product, rtol=0.3, atol=2e-3)


def test_cells_no_larger_than_a_latent_change_nothing() -> None:
    """As with FLUX's VAE, whose latents stand for 8 pixels."""
    masks, targets, predictions = _pair()
    latents = targets[..., ::8, ::8], predictions[..., ::8, ::8]
    assert torch.equal(StackingConstraint(8)(masks, *latents), StackingConstraint()(masks, *latents))
    small = StackingConstraint(16).latent_masks(masks, latents[0])
    assert small.shape[-2:] == (6, 6)
    assert torch.equal(small[..., ::2, ::2], small[..., 1::2, 1::2]), "constant over cells of two latents"
    torch.testing.assert_close(small.sum(0), torch.ones(1, 1, 6, 6))


def test_cells_have_a_size() -> None:
    with pytest.raises(ValueError, match="at least 1 pixel"):
        StackingConstraint(0)
