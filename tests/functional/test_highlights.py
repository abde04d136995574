"""Clipped lamps whose true light is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import torch
from torch import Tensor

from diffcam.functional.highlights import LIGHT, raise_highlights
from diffcam.kernels import render_bokeh

GAMMA = 2.2


def night() -> tuple[Tensor, Tensor]:
    """A dark street of 256 px with lamps of light 10 to 50: display values that are not clipped, and clipped."""
    draws = np.random.default_rng(0)
    light = (skimage.data.coffee()[100:356, 100:356].astype(np.float64) / 255) ** GAMMA * 0.03
    rows, columns = np.mgrid[:256, :256]
    for _ in range(12):
        row, column = draws.uniform(20, 236, 2)
        lamp = (np.hypot(rows - row, columns - column) < draws.uniform(0.7, 1.8))[..., None]
        light = np.where(lamp, draws.uniform(10, 50) * np.array([1.0, draws.uniform(0.6, 1), 0.4]), light)
    display = torch.from_numpy(light ** (1 / GAMMA)).permute(2, 0, 1)[None].float()
    return display, (display.clamp(0, 1) * 255).round() / 255


def psnr(output: Tensor, truth: Tensor) -> float:
    return float(-10 * (output.clamp(0, 1) - truth.clamp(0, 1)).square().mean().log10())


@pytest.mark.parametrize("radius", [3.0, 6.0, 12.0])
def test_lamps_out_of_focus_come_closer_to_the_truth(radius: float) -> None:
    true, photo = night()
    far, plane = torch.zeros(1, 1, 256, 256), torch.tensor([1.0])

    def taken(image: Tensor) -> Tensor:
        return render_bokeh(image, far, plane, torch.tensor([radius]), GAMMA, mode="occlusion")

    guessed, plain = (psnr(taken(image), taken(true)) for image in (raise_highlights(photo, GAMMA), photo))
    assert guessed > plain + 2


def test_in_focus_nothing_changes() -> None:
    _, photo = night()
    raised = raise_highlights(photo, GAMMA)
    assert raised.max() > 2
    assert torch.equal(raised.clamp(0, 1), photo)


def test_broad_white_areas_lines_and_daylight_stay() -> None:
    rows, columns = np.mgrid[:256, :256]
    moon = np.hypot(rows - 128, columns - 128) < 30
    sign = (abs(rows - 60) < 2) & (abs(columns - 128) < 60)
    for white in (moon, sign, rows < 80, moon | sign):
        photo = torch.from_numpy(white).float().expand(1, 3, 256, 256)
        assert torch.equal(raise_highlights(photo, GAMMA), photo)
    day = torch.full((1, 3, 256, 256), 0.5)
    day[..., 128:130, 128:130] = 1
    assert torch.equal(raise_highlights(day, GAMMA), day)


def test_the_spots_are_those_of_scipy_s_opening() -> None:
    """Scattered squares of 1 to 9 pixels in the dark: those into which a square of 5 does not fit are raised."""
    white = np.zeros((256, 256), bool)
    for side in range(1, 10):
        white[25 * side : 25 * side + side, 25 * side : 25 * side + side] = True
    photo = torch.from_numpy(white).float().expand(1, 3, 256, 256)
    raised = (raise_highlights(photo, 1.0) > 1)[0, 0].numpy()
    np.testing.assert_array_equal(raised, white & ~scipy.ndimage.binary_opening(white, np.ones((5, 5))))
    assert raise_highlights(photo, 1.0).max() <= LIGHT


def test_only_clipped_channels_rise() -> None:
    photo = torch.zeros(1, 3, 128, 128)
    photo[0, :, 60:62, 60:62] = torch.tensor([1.0, 0.5, 0.2])[:, None, None]
    raised = raise_highlights(photo, GAMMA)
    assert raised[0, 0].max() > 2
    assert torch.equal(raised[:, 1:], photo[:, 1:])
