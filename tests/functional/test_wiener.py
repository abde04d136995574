"""Wiener deconvolution against its formula in numpy, and by what it gains."""

from __future__ import annotations

import numpy as np
import pytest
import skimage
import torch
from scipy import signal
from torch import Tensor

from diffcam.functional.layered_lens import lens_disc
from diffcam.functional.wiener import LEAST_RADIUS, smooth_side, wiener_deconvolution, wiener_radii


def brick() -> Tensor:
    return torch.from_numpy(skimage.data.brick()[:96, :120].copy())[None].float() / 255


def blurred(image: Tensor, radius: float) -> Tensor:
    kernel = lens_disc(radius).numpy()
    return torch.from_numpy(signal.convolve2d(image[0].numpy(), kernel, mode="same", boundary="symm"))[None].float()


def test_radii_grow_by_a_ratio_and_reach_the_largest() -> None:
    assert wiener_radii(0.0) == [LEAST_RADIUS]
    radii = wiener_radii(11.0)
    assert radii[-2] < 11.0 <= radii[-1]
    np.testing.assert_allclose(np.array(radii[1:]) / radii[:-1], 1.4)


def test_sides_are_products_of_two_three_and_five() -> None:
    assert [smooth_side(side) for side in (1, 7, 11, 121, 131, 241)] == [1, 8, 12, 125, 135, 243]


def test_one_radius_is_the_formula() -> None:
    """Of a picture whose border is even, so that no frame matters."""
    image = torch.full((1, 64, 64), 0.4)
    image[:, 24:40, 20:44] = 0.4 + 0.3 * torch.rand(1, 16, 24, generator=torch.Generator().manual_seed(0))
    radius = LEAST_RADIUS * 1.4**5
    kernel = np.zeros((256, 256))
    disc = lens_disc(radius).numpy()
    kernel[: len(disc), : len(disc)] = disc
    transfer = np.fft.fft2(np.roll(kernel, (-(len(disc) // 2), -(len(disc) // 2)), (0, 1)))
    deviation = np.zeros((256, 256))
    deviation[64:128, 64:128] = image[0].numpy() - 0.4
    theirs = np.fft.ifft2(np.fft.fft2(deviation) * transfer.conj() / (np.abs(transfer) ** 2 + 0.01) * 1.01).real + 0.4
    ours = wiener_deconvolution(image, torch.full((1, 64, 64), -radius), [0.01])[0, 0].numpy()
    np.testing.assert_allclose(ours, theirs[64:128, 64:128], atol=4e-3)


@pytest.mark.parametrize(("radius", "gain"), [(1.5, 3.0), (4.0, 1.5), (9.0, 1.0)])
def test_blur_is_undone(radius: float, gain: float) -> None:
    seen = (blurred(brick(), radius) * 255).round() / 255
    restored = wiener_deconvolution(seen, torch.full((1, 96, 120), radius), [0.003])[0]
    before, after = ((image - brick()).square().mean().log10() * -10 for image in (seen, restored.clamp(0, 1)))
    assert after > before + gain


def test_what_is_sharp_stays() -> None:
    radius = torch.zeros(1, 96, 120)
    radius[..., 60:] = 5.0
    restored = wiener_deconvolution(brick(), radius, [0.01])[0]
    torch.testing.assert_close(restored[..., :60], brick()[..., :60])
    assert (restored - brick())[..., 60:].abs().max() > 0.1
