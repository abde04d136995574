"""Focus accuracy on scenes whose blur is known: the renderer's definition makes it, the metric must find it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage import data

from diffcam.camera import Camera, CameraBatch
from diffcam.functional.bokeh import render_bokeh_reference
from diffcam.functional.sharpness import laplacian, luminance
from diffcam.metrics import BlurRadiusError, FocusHit, RelativeBlurError
from diffcam.metrics.focus import RADII, ROUNDING, best_radius, blurred_copies, tile_radii

SIZE = 256  # half of the reference size: level b is a radius of b / 2 pixels per unit of disparity


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    """A textured photograph, ``(1, 3, 256, 256)``: gravel beside grass."""
    left, right = data.gravel()[:256, :128], data.grass()[:256, :128]
    return torch.from_numpy(np.concatenate([left, right], axis=1) / 255).float().expand(1, 3, -1, -1).contiguous()


@pytest.fixture(scope="module")
def disparity() -> torch.Tensor:
    """Far on the left, near on the right, ``(1, 1, 256, 256)``."""
    values = torch.full((1, 1, SIZE, SIZE), 0.25)
    values[..., SIZE // 2 :] = 0.75
    return values


def render(
    photo: torch.Tensor, disparity: torch.Tensor, plane: float, level: float, gamma: float = 4.0
) -> torch.Tensor:
    return render_bokeh_reference(photo, disparity, torch.tensor([plane]), torch.tensor([level * SIZE / 512]), gamma)


def asked(disparity: torch.Tensor, focus: tuple[float, float], level: float) -> tuple[torch.Tensor, CameraBatch]:
    cameras = CameraBatch.from_cameras([Camera(focus, level)])
    return cameras.defocus_pixels(disparity).abs(), cameras


@pytest.mark.parametrize("gamma", [1.0, 4.0])
@pytest.mark.parametrize("radius", [0.0, 2.5, 7.0])
def test_copies_are_the_renderers(photo, gamma, radius) -> None:
    small = photo[..., :64, 96:176]
    constant = torch.full((1, 1, 64, 80), 0.5)
    expected = render_bokeh_reference(small, constant, torch.tensor([0.0]), torch.tensor([2 * radius]), gamma)[0, 1]
    found = blurred_copies(small[0, 1], (radius, 9.0), gamma)[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("rendered", [6.0, 16.0, 20.0])
def test_blur_error_is_the_difference_of_radii(photo, disparity, rendered) -> None:
    """The left is in focus; the right shows ``rendered / 2`` where level 16 asks for 8 (pixels at 512)."""
    output = render(photo, disparity, 0.25, rendered)
    radius, _ = asked(disparity, (0.1, 0.5), 16.0)
    found = float(BlurRadiusError().score(output, photo, radius))
    assert found == pytest.approx(abs(rendered - 16) / 2 / 2, abs=0.2), "half of the tiles are off by that much"


@pytest.mark.parametrize("rendered", [12.0, 20.0])
def test_relative_blur_error_leaves_out_what_is_in_focus(photo, disparity, rendered) -> None:
    """The right shows ``rendered / 2`` where level 16 asks for 8; the left, in focus, does not count."""
    radius, _ = asked(disparity, (0.1, 0.5), 16.0)
    found = float(RelativeBlurError().score(render(photo, disparity, 0.25, rendered), photo, radius))
    assert found == pytest.approx(abs(rendered - 16) / 16, abs=0.05)
    radius, _ = asked(disparity, (0.1, 0.5), 2.0)
    assert math.isnan(float(RelativeBlurError().score(photo, photo, radius))), "nothing is asked to blur by 2 pixels"


def test_blur_error_of_a_sharp_picture(photo, disparity) -> None:
    radius, _ = asked(disparity, (0.1, 0.5), 0.0)
    assert float(BlurRadiusError().score(photo, photo, radius)) == pytest.approx(0, abs=0.05)
    radius, _ = asked(disparity, (0.1, 0.5), 16.0)
    assert float(BlurRadiusError().score(photo, photo, radius)) == pytest.approx(4, abs=0.2)


def test_gamma_of_the_light_matters(photo, disparity) -> None:
    output = render(photo, disparity, 0.25, 16.0, gamma=1.0)
    radius, _ = asked(disparity, (0.1, 0.5), 16.0)
    right, wrong = (float(BlurRadiusError(gamma).score(output, photo, radius)) for gamma in (1.0, 4.0))
    assert right < 0.15
    assert right < wrong


def test_nothing_to_say_without_texture_or_on_slopes(photo) -> None:
    flat = torch.full_like(photo, 0.5)
    slope = torch.linspace(0, 1, SIZE).expand(1, 1, SIZE, SIZE)
    for image, disparity in ((flat, torch.zeros(1, 1, SIZE, SIZE)), (photo, slope)):
        radius, cameras = asked(disparity, (0.5, 0.5), 60.0)
        assert math.isnan(float(BlurRadiusError().score(image, image, radius)))
        assert math.isnan(float(FocusHit().score(image, image, radius, cameras)))


def test_focus_hit(photo, disparity) -> None:
    radius, cameras = asked(disparity, (0.1, 0.5), 12.0)
    on_the_left, on_the_right = render(photo, disparity, 0.25, 12.0), render(photo, disparity, 0.75, 12.0)
    assert float(FocusHit().score(on_the_left, photo, radius, cameras)) == 1
    assert float(FocusHit().score(on_the_right, photo, radius, cameras)) == 0
    assert float(FocusHit().score(photo, photo, radius, cameras)) == 0, "all sharp: nothing stands out"
    everything_sharp, cameras = asked(disparity, (0.1, 0.5), 0.0)
    assert math.isnan(float(FocusHit().score(photo, photo, everything_sharp, cameras)))


def test_focus_is_judged_by_what_is_in_focus(photo, disparity) -> None:
    """A point beside a depth edge: half of its tile belongs to what is to be blurred."""
    radius, cameras = asked(disparity, (0.49, 0.5), 16.0)
    assert float(FocusHit().score(render(photo, disparity, 0.25, 16.0), photo, radius, cameras)) == 1


@pytest.mark.parametrize(("height", "width"), [(5, 40), (40, 5), (7, 7), (1, 1)])
def test_a_picture_smaller_than_a_tile_says_nothing(photo, height, width) -> None:
    """A blur of two pixels of 512 is less than it can show: no tile of it is textured."""
    sharp, far = photo[..., :height, 100 : 100 + width], torch.zeros(1, 1, height, width)
    far[..., height // 2 :, width // 2 :] = 1
    radius, cameras = asked(far, (0.05, 0.05), 60.0)
    assert math.isnan(float(FocusHit().score(sharp, sharp, radius, cameras)))
    assert math.isnan(float(BlurRadiusError().score(sharp, sharp, radius)))


def test_rounding_adds_this_energy() -> None:
    picture = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    error = (picture * 255).round() / 255 - picture
    assert float(laplacian(luminance(error)).square().mean()) == pytest.approx(ROUNDING, rel=0.03)


def test_copies_follow_the_scene(photo, disparity) -> None:
    """The kept copies of one scene are not used for the next."""
    metric = BlurRadiusError()
    other = photo.flip(-1)
    radius, _ = asked(disparity, (0.1, 0.5), 16.0)
    outputs = [(render(image, disparity, 0.25, 16.0), image) for image in (photo, other, photo)]
    assert all(float(metric.score(output, image, radius)) < 0.2 for output, image in outputs)


def test_tile_radii() -> None:
    radius = torch.zeros(1, 64, 96)
    radius[:, :, 64:] = 4.0
    mean, valid = tile_radii(radius, tile=32, margin=4, spread=1.0)
    assert mean.tolist() == [0, 0, 4] * 2
    assert valid.tolist() == [True, False, False] * 2, "tiles beside the step have it in their margin"


def test_best_radius_between_candidates() -> None:
    truth = torch.tensor([0.0, 0.8, 4.4, 20.0])
    place = torch.tensor([float(np.interp(r, RADII, range(len(RADII)))) for r in truth])
    errors = (torch.arange(len(RADII))[:, None] - place).square() + 0.1
    assert best_radius(errors).tolist() == pytest.approx(truth.tolist(), abs=0.01)
