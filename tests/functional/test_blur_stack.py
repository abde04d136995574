from __future__ import annotations

import pytest
import torch

from diffcam.functional.blur_stack import (
    band_energies,
    band_losses,
    blur_bands,
    detail_difference,
    disc_blur,
    mix_bands,
    normalise_contrast,
)
from diffcam.functional.bokeh import render_bokeh_reference


def _image(height: int = 40, width: int = 48) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("radius", [1.0, 3.3, 7.0])
def test_disc_blur_equals_the_renderer_at_constant_depth(radius: float) -> None:
    image = _image()
    flat = torch.full((2, 1, 40, 48), 0.5)
    rendered = render_bokeh_reference(image, flat, torch.full((2,), 0.25), torch.full((2,), 4 * radius), gamma=1.0)
    torch.testing.assert_close(disc_blur(image, radius), rendered, atol=2e-4, rtol=0)


def test_disc_blur_has_the_given_radius() -> None:
    point = torch.zeros(1, 1, 65, 65)
    point[..., 32, 32] = 1.0
    disc = disc_blur(point, 9.0)[0, 0]
    assert disc.sum().item() == pytest.approx(1.0, abs=1e-4)
    offset = torch.arange(65.0) - 32
    assert (disc.sum(0) * offset.square()).sum().sqrt().item() == pytest.approx(9.0 / 2, rel=0.02)  # sigma = r / 2


def test_bands_add_up_to_the_image() -> None:
    image = _image()
    bands = blur_bands(image, (1.0, 2.0, 5.0))
    assert bands.shape == (2, 3, 3, 40, 48)
    torch.testing.assert_close(image - bands.sum(1), disc_blur(image, 5.0), atol=1e-5, rtol=0)


def test_gains_of_minus_one_remove_bands() -> None:
    image = _image()
    bands = blur_bands(image, (1.0, 2.0, 5.0))
    gains = torch.tensor([-1.0, -1.0, 0.0])[None, :, None, None].expand(2, 3, 5, 6)
    torch.testing.assert_close(image + mix_bands(bands, gains), disc_blur(image, 2.0), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("defocus", "near", "far"),
    [
        (3.0, [1.0, 1.0, 0.5], [0.0, 0.0, 0.0]),
        (-0.5, [0.0, 0.0, 0.0], [0.5, 0.0, 0.0]),
        (-9.0, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
        (0.0, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    ],
)
def test_band_losses_are_one_below_the_blur_radius(defocus: float, near: list[float], far: list[float]) -> None:
    signed = torch.full((2, 1, 8, 12), defocus)
    losses = torch.cat([band_losses(side, (1.0, 2.0, 4.0), 4) for side in (signed, -signed)], dim=1)
    assert losses.shape == (2, 6, 2, 3)
    assert torch.equal(losses, torch.tensor(near + far)[None, :, None, None].expand(2, 6, 2, 3))


def test_removing_band_losses_equals_the_blur() -> None:
    image = _image()
    bands = blur_bands(image, (1.0, 2.0, 5.0))
    losses = band_losses(torch.full((2, 1, 40, 48), 2.0), (1.0, 2.0, 5.0), 8)
    torch.testing.assert_close(image - mix_bands(bands, losses), disc_blur(image, 2.0), atol=1e-5, rtol=0)


def test_widest_band_energy_grows_with_the_blur_radius() -> None:
    """The more noise is blurred, the wider the band that holds most of what is left."""
    radii = (1.0, 2.0, 4.0, 8.0)
    noise = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    profiles = []
    for radius in (0.0, 1.5, 6.0):
        image = noise if radius == 0 else disc_blur(noise, radius)
        energies = band_energies(blur_bands(image, radii), 8)
        assert energies.shape == (1, 4, 12, 12)
        profiles.append(energies[..., 2:-2, 2:-2].mean((0, 2, 3)))
    widest = [int(profile.argmax()) for profile in profiles]
    assert widest[0] == 0 < widest[1] < widest[2] == 3
    white = blur_bands(noise, radii)[:, 0].square().sum(1).mean()
    assert profiles[0][0].item() == pytest.approx(white.log().item() / 3 + 2, abs=0.02)


def test_normalised_contrast_does_not_depend_on_strength() -> None:
    bands = blur_bands(_image(), (1.0, 2.0, 5.0)).mean(2)
    strong, faint = normalise_contrast(bands, 8), normalise_contrast(bands / 5, 8)
    torch.testing.assert_close(faint, strong, atol=0.02, rtol=0.02)
    assert float(strong.square().sum(1).mean()) == pytest.approx(1, abs=0.15)
    flat = torch.full((1, 2, 16, 16), 1e-4)
    assert float(normalise_contrast(flat, 8).abs().max()) < 0.2, "less than rounding leaves is not blown up"


def test_detail_difference_compares_energy_only() -> None:
    image = _image(32, 48)
    assert detail_difference(image, 1 - image).item() == pytest.approx(0, abs=1e-5)
    assert detail_difference(image, 0.5 + 2**0.5 * (image - 0.5)).item() == pytest.approx(0.2310, abs=1e-3)


def test_detail_difference_penalises_the_mean_of_possible_pictures() -> None:
    """Squared errors are less for the mean of two equally likely pictures than for one of them; detail says no."""
    one, other = _image(32, 48)
    mean = (one + other) / 2
    assert (mean - one).square().mean() < (other - one).square().mean()
    assert detail_difference(mean[None], one[None]) > 5 * detail_difference(other[None], one[None])
