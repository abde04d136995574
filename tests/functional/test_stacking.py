"""Focus stacking: masks on constructed pairs, and the constraint against its closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from diffcam.functional.sharpness import laplacian, laplacian_variance, luminance
from diffcam.functional.stacking import downsample_masks, sharpness_weighted_loss, stack, stack_masks, stacking_loss


def _texture(seed: int, size: int = 48) -> torch.Tensor:
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(image.numpy(), (0, 0, sigma, sigma), mode="reflect"))


def _slices() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An all-in-focus picture, and two slices: the first sharp on the left half, the second on the right."""
    sharp = _texture(0)
    soft = _blurred(sharp, 2.0)
    first, second = sharp.clone(), sharp.clone()
    first[..., 24:], second[..., :24] = soft[..., 24:], soft[..., :24]
    return sharp, first, second


def test_laplacian_agrees_with_scipy() -> None:
    gray = _texture(3)[:, :1]
    expected = ndimage.laplace(gray.numpy()[0, 0], mode="mirror")
    np.testing.assert_allclose(laplacian(gray)[0, 0].numpy(), expected, atol=1e-5)


def test_luminance_and_variance_by_hand() -> None:
    image = _texture(4)
    gray = 0.299 * image[:, 0] + 0.587 * image[:, 1] + 0.114 * image[:, 2]
    torch.testing.assert_close(luminance(image)[:, 0], gray)
    expected = np.var(ndimage.laplace(gray[0].numpy(), mode="mirror"))
    assert laplacian_variance(image).item() == pytest.approx(expected, rel=1e-4)
    assert laplacian_variance(torch.rand(1, 3, 1, 1)).item() == 0.0


def test_mask_picks_the_sharper_slice() -> None:
    _, first, second = _slices()
    masks = stack_masks([first, second])
    torch.testing.assert_close(masks.sum(0), torch.ones(1, 1, 48, 48))
    assert masks[0, ..., :22].mean() > 0.85
    assert masks[1, ..., 26:].mean() > 0.85


def test_ties_go_to_the_last_image() -> None:
    image = _texture(5)
    assert torch.equal(stack_masks([image, image])[1], torch.ones(1, 1, 48, 48))


def test_composite_is_closer_to_the_scene_than_either_slice() -> None:
    sharp, first, second = _slices()
    composite = stack(stack_masks([first, second]), torch.stack([first, second]))
    error = (composite - sharp).square().mean()
    assert error < 0.2 * (first - sharp).square().mean()
    assert error < 0.2 * (second - sharp).square().mean()


def test_three_slices_and_bad_stacks() -> None:
    sharp = _texture(6)
    soft = _blurred(sharp, 1.5)
    slices = []
    for third in range(3):
        image = soft.clone()
        image[..., third * 16 : third * 16 + 16] = sharp[..., third * 16 : third * 16 + 16]
        slices.append(image)
    masks = stack_masks(slices)
    for third in range(3):
        assert masks[third, ..., third * 16 + 2 : third * 16 + 14].mean() > 0.85
    with pytest.raises(ValueError, match="two or more"):
        stack_masks([sharp])
    with pytest.raises(ValueError, match="one shape"):
        stack_masks([sharp, sharp[..., :-1]])


def test_downsampled_masks_average_and_still_sum_to_one() -> None:
    _, first, second = _slices()
    masks = stack_masks([first, second])
    small = downsample_masks(masks, 6, 6)
    assert small.shape == (2, 1, 1, 6, 6)
    torch.testing.assert_close(small.sum(0), torch.ones(1, 1, 6, 6))
    assert ((small > 0.02) & (small < 0.98)).any(), "values must be continuous, not binary"
    assert downsample_masks(masks, 48, 48) is masks


def test_constraint_is_the_square_of_the_masked_errors() -> None:
    """The identity L_stack = || m e_1 + (1 - m) e_2 ||^2 that follows from paper eq. 4 and 5."""
    generator = torch.Generator().manual_seed(7)
    targets, predictions = torch.randn(2, 2, 5, 4, 8, 8, generator=generator)
    mask = torch.rand(5, 1, 8, 8, generator=generator)
    errors = (targets - predictions).numpy()
    by_hand = np.mean((mask.numpy() * errors[0] + (1 - mask.numpy()) * errors[1]) ** 2)
    loss = stacking_loss(torch.stack([mask, 1 - mask]), targets, predictions)
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    weighted = np.mean(mask.numpy() ** 2 * errors[0] ** 2 + (1 - mask.numpy()) ** 2 * errors[1] ** 2)
    assert abs(loss.item() - weighted) > 1e-3, "without the cross term it would only be a weighted flow loss"
    control = sharpness_weighted_loss(torch.stack([mask, 1 - mask]), targets, predictions)
    assert control.item() == pytest.approx(weighted, rel=1e-5)


def test_constraint_sends_gradients_through_both_branches() -> None:
    targets = torch.zeros(2, 1, 3, 8, 8)
    predictions = torch.ones(2, 1, 3, 8, 8, requires_grad=True)
    mask = torch.full((1, 1, 8, 8), 0.3)
    stacking_loss(torch.stack([mask, 1 - mask]), targets, predictions).backward()
    assert predictions.grad is not None
    ratio = predictions.grad[0].mean() / predictions.grad[1].mean()
    assert ratio.item() == pytest.approx(0.3 / 0.7, rel=1e-5)
