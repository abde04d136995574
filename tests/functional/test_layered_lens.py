"""The layered lens against convolution, hand-made sums and sampling of the lens opening point by point."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, signal
from torch import Tensor

from diffcam.camera import Aperture
from diffcam.functional.layered_lens import Layer, all_in_focus, lens_disc, photograph, response, spread


def picture(seed: int, channels: int = 3, side: int = 40) -> Tensor:
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).random((channels, side, side)), (0, 1, 1), mode="wrap")
    return torch.from_numpy((smooth - smooth.min()) / (smooth.max() - smooth.min())).float()


def constant(value: float, side: int = 40) -> Tensor:
    return torch.full((1, side, side), value)


def moment_of(kernel: Tensor) -> float:
    """Second moment about the diameter that runs down."""
    offsets = torch.arange(len(kernel), dtype=torch.float64) - len(kernel) // 2
    return float((kernel.double().sum(0) * offsets.square()).sum())


@pytest.mark.parametrize("radius", [2.0, 3.7, 8.0])
def test_a_disc_is_uniform_and_as_wide_as_its_radius(radius: float) -> None:
    kernel = lens_disc(radius).double()
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    # A border that falls off over w pixels adds pi w^2 / 12 to the disc's area.
    area = math.pi * (radius**2 + 1 / 12)
    assert kernel[len(kernel) // 2, len(kernel) // 2] == pytest.approx(1 / area, rel=0.01)
    # A disc's second moment about a diameter is R^2 / 4; a border of 1 px adds at most its width's square.
    assert radius**2 / 4 < moment_of(kernel) < radius**2 / 4 + 0.5


@pytest.mark.parametrize("falloff", [0.5, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("radius", [-8.0, 10.0, 14.5])
def test_a_disc_that_falls_off_is_as_wide_as_an_even_one(radius: float, falloff: float) -> None:
    plain, kernel = lens_disc(radius).double(), lens_disc(radius, falloff=falloff).double()
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    assert moment_of(kernel) == pytest.approx(moment_of(plain), rel=0.02)  # the soft border of small ones adds more
    # Over the disc's own area (1 - (d / R)^2)^p has the mean 1 / (p + 1), and that area is larger by 1 + p / 2.
    middle = len(kernel) // 2
    expected = (falloff + 1) / (math.pi * radius**2 * (1 + falloff / 2))
    assert kernel[middle, middle] == pytest.approx(expected, rel=0.05)
    outwards = kernel[middle, middle:]
    lit = outwards[outwards > 0]
    assert len(lit) > abs(radius)
    assert bool((lit.diff() < 0).all())


def test_a_disc_of_no_radius_leaves_a_point() -> None:
    kernel = lens_disc(0.0)
    assert kernel[len(kernel) // 2, len(kernel) // 2] == pytest.approx(1, abs=1e-6)


def test_spherical_aberration_brightens_the_border_behind_the_focus_plane() -> None:
    behind, before = lens_disc(-10.0, rim=0.5), lens_disc(10.0, rim=0.5)
    plain = lens_disc(10.0)
    assert behind[11, 11] / plain[11, 11] == pytest.approx(0.5, rel=0.05)
    assert before[11, 11] / plain[11, 11] == pytest.approx(1.5, rel=0.05)
    assert behind[11, 3] > 1.2 * behind[11, 11]


def test_a_square_opening_leaves_a_square_of_its_area() -> None:
    kernel = lens_disc(8.0, edge=0.25, aperture=Aperture(blades=4))
    area = 1 / float(kernel[len(kernel) // 2, len(kernel) // 2])
    assert area == pytest.approx(2 * 8.0**2, rel=0.03)  # a square whose half diagonal is the radius


def test_a_cut_disc_is_a_lens_shape_that_turns_over_in_front_of_the_focus_plane() -> None:
    behind, before = lens_disc(-8.0, cut=(0.0, 1.0)), lens_disc(8.0, cut=(0.0, 1.0))
    torch.testing.assert_close(before, behind.flip(1))
    area = 1 / float(before[len(before) // 2, len(before) // 2 + 4])
    # Two discs whose centres are one radius apart share (2 pi / 3 - sqrt(3) / 2) R^2.
    assert area == pytest.approx((2 * math.pi / 3 - math.sqrt(3) / 2) * 64, rel=0.05)


def test_one_radius_spreads_as_a_convolution() -> None:
    light, kernel = picture(0), lens_disc(-3.3, rim=0.3)
    ours = spread(light, constant(-3.3), lambda radius: lens_disc(radius, rim=0.3))
    theirs = [signal.convolve2d(plane, kernel.numpy(), mode="same", boundary="wrap") for plane in light.numpy()]
    np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-6)


def test_a_slope_of_radii_spreads_all_light_and_each_point_over_its_own_disc() -> None:
    radius = torch.linspace(-2.0, 5.0, 40).expand(1, 40, 40)
    assert spread(picture(1), radius, lens_disc).sum() == pytest.approx(float(picture(1).sum()), rel=1e-5)
    point = torch.zeros(1, 40, 40)
    point[0, 20, 30] = 1
    left = spread(point, radius, lens_disc)[0]
    offsets = torch.arange(40.0) - 20
    width = float((left.sum(1) * offsets.square()).sum())
    assert width == pytest.approx(float(radius[0, 20, 30]) ** 2 / 4, rel=0.1)


def test_a_kernel_must_fit_into_the_frame() -> None:
    with pytest.raises(ValueError, match="side 23 does not fit into a frame of 20x40"):
        response(lens_disc(10.5), 20, 40)


def sampled_lens(layers: list[Layer], radii: list[float]) -> Tensor:
    """The mean over points of the opening, each of which sees every layer whole and shifted, near over far."""
    points = [(y, x) for y in np.linspace(-1, 1, 25) for x in np.linspace(-1, 1, 25) if math.hypot(y, x) <= 1]
    total = np.zeros((3, 40, 40))
    for y, x in points:
        seen = np.zeros((3, 40, 40))
        for layer, radius in zip(layers, radii, strict=True):
            shift = (0, y * radius, x * radius)
            coverage = ndimage.shift(layer.coverage_1HW.numpy(), shift, order=1, mode="grid-wrap")
            shown = ndimage.shift((layer.light_3HW * layer.coverage_1HW).numpy(), shift, order=1, mode="grid-wrap")
            seen = shown + (1 - coverage) * seen
        total += seen / len(points)
    return torch.from_numpy(total).float()


@pytest.mark.parametrize(
    ("radii", "decibels"),
    [((0.0, 5.0), 55.0), ((-5.0, 0.0), 55.0), ((-4.0, 4.0), 35.0), ((2.0, 6.0), 38.0)],
    ids=["near out of focus", "far out of focus", "both", "both in front"],
)
def test_two_layers_are_what_a_sampled_opening_sees(radii: tuple[float, float], decibels: float) -> None:
    """Exact where one of two layers is in focus; where both are blurred, what each point of the opening sees of the far
    layer depends a little on what it sees of the near one, and sharing by coverage leaves that out."""
    cut_out = (picture(3, 1) > 0.5).float()
    layers = [
        Layer(picture(1), torch.ones(1, 40, 40), constant(radii[0])),
        Layer(picture(2), cut_out, constant(radii[1])),
    ]
    ours, theirs = photograph(layers, lens_disc), sampled_lens(layers, list(radii))
    assert -10 * (ours - theirs).square().mean().log10() > decibels


def test_through_a_pinhole_the_nearest_layer_is_seen() -> None:
    half = torch.zeros(1, 40, 40)
    half[..., 20:] = 1
    half[..., 20] = 0.4
    layers = [Layer(picture(1), torch.ones(1, 40, 40), constant(-2)), Layer(picture(2), half, constant(3))]
    image, radius = all_in_focus(layers)
    torch.testing.assert_close(image[..., :20], picture(1)[..., :20])
    torch.testing.assert_close(image[..., 21:], picture(2)[..., 21:])
    torch.testing.assert_close(image[..., 20], 0.6 * picture(1)[..., 20] + 0.4 * picture(2)[..., 20])
    assert radius[0, 0].tolist() == [-2.0] * 21 + [3.0] * 19
