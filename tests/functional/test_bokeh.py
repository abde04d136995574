from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffcam.camera import Aperture
from diffcam.functional.bokeh import render_bokeh_reference, scatter_discs


def render_by_loops(
    image: np.ndarray,
    disparity: np.ndarray,
    focus: float,
    bokeh: float,
    gamma: float,
    aperture: Aperture | None = None,
    highlights: bool = False,
) -> np.ndarray:
    """The definition written out for one (H, W, 3) image, source by source."""
    height, width, _ = image.shape
    if highlights:
        away = np.clip(np.tanh(200 * ((disparity - focus) ** 2 - 0.01)), 0, 1)
        image = image * (1 + 0.4 * away[..., None] * np.clip(np.tanh(10 * (image - 220 / 255)), 0, 1))
    light = image**gamma
    colour, weights = np.zeros_like(light), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            signed = bokeh * (disparity[y, x] - focus)
            radius = abs(signed)
            for to_y in range(y - int(radius) - 1, y + int(radius) + 2):
                for to_x in range(x - int(radius) - 1, x + int(radius) + 2):
                    if not (0 <= to_y < height and 0 <= to_x < width):
                        continue
                    dy, dx = to_y - y, to_x - x
                    inset = radius - math.hypot(dy, dx)
                    if aperture is not None and aperture.blades:
                        a, b = 2 * math.pi / aperture.blades, math.pi / 2 - math.pi / aperture.blades
                        theta = math.fmod(abs(math.atan2(dy, dx) + aperture.rotation), a)
                        inset = radius * math.sin(b) / math.sin(theta + b) - math.hypot(dy, dx)
                    if aperture is not None and aperture.cat_eye:
                        half_diagonal = math.hypot(height, width) / 2
                        cut_y = aperture.cat_eye * signed * (y + 0.5 - height / 2) / half_diagonal
                        cut_x = aperture.cat_eye * signed * (x + 0.5 - width / 2) / half_diagonal
                        inset = min(inset, radius - math.hypot(dy - cut_y, dx - cut_x))
                    weight = (0.5 + 0.5 * math.tanh(4 * inset)) / (radius**2 + 0.2)
                    colour[to_y, to_x] += weight * light[y, x]
                    weights[to_y, to_x] += weight
    result = (colour / weights[..., None]) ** (1 / gamma)
    return np.minimum(result, 1) if highlights else result


def random_scene(seed: int, height: int = 13, width: int = 17) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.random((height, width, 3)), draw.random((height, width))


@pytest.mark.parametrize("gamma", [1.0, 2.2, 4.0])
@pytest.mark.parametrize(
    "aperture",
    [None, Aperture(blades=5, rotation=0.4), Aperture(cat_eye=0.7), Aperture(blades=6, rotation=-2.0, cat_eye=0.5)],
)
def test_equals_the_written_out_definition(gamma: float, aperture: Aperture | None) -> None:
    scenes = [random_scene(seed) for seed in (0, 1)]
    focus, bokeh = [0.2, 0.7], [6.0, 2.5]
    result = render_bokeh_reference(
        torch.tensor(np.stack([image for image, _ in scenes])).permute(0, 3, 1, 2),
        torch.tensor(np.stack([disparity for _, disparity in scenes]))[:, None],
        torch.tensor(focus, dtype=torch.float64),
        torch.tensor(bokeh, dtype=torch.float64),
        gamma,
        aperture,
    )
    for b, (image, disparity) in enumerate(scenes):
        expected = render_by_loops(image, disparity, focus[b], bokeh[b], gamma, aperture)
        np.testing.assert_allclose(result[b].permute(1, 2, 0).numpy(), expected, atol=1e-12)


def test_highlights_equal_the_written_out_definition() -> None:
    image, disparity = random_scene(3)
    image[4:7, 5:9] = 0.97
    result = render_bokeh_reference(
        torch.tensor(image).permute(2, 0, 1)[None],
        torch.tensor(disparity)[None, None],
        torch.tensor([0.1], dtype=torch.float64),
        torch.tensor([5.0], dtype=torch.float64),
        highlights=True,
    )
    plain = render_by_loops(image, disparity, 0.1, 5.0, 4.0)
    expected = render_by_loops(image, disparity, 0.1, 5.0, 4.0, highlights=True)
    assert np.abs(expected - plain).max() > 0.02
    np.testing.assert_allclose(result[0].permute(1, 2, 0).numpy(), expected, atol=1e-12)


def spread_of_a_point(radius: float, size: int = 65, aperture: Aperture | None = None) -> np.ndarray:
    """Weighted light that one white pixel among black ones of the same radius leaves, before normalisation."""
    light = torch.zeros(1, 3, size, size, dtype=torch.float64)
    light[..., size // 2, size // 2] = 1
    radius_B1HW = torch.full((1, 1, size, size), radius, dtype=torch.float64)
    light_sum, _ = scatter_discs(light, radius_B1HW, torch.ones_like(radius_B1HW), aperture or Aperture())
    return light_sum[0, 0].numpy()


@pytest.mark.parametrize("radius", [3.0, 7.4, 12.0, 20.5])
def test_disc_has_the_asked_radius_and_energy(radius: float) -> None:
    spread = spread_of_a_point(radius)
    relative = spread / spread[32, 32]
    assert math.sqrt(relative.sum() / math.pi) == pytest.approx(radius, abs=0.2)
    # Where the profile along a row falls to one half.
    assert np.interp(0.5, relative[32, 32:][::-1], np.arange(33)[::-1]) == pytest.approx(radius, abs=0.2)


@pytest.mark.parametrize("radius", [0.0, 0.7, 1.5, 4.3, 11.0])
def test_energy_of_an_interior_point_is_kept(radius: float) -> None:
    image = torch.zeros(1, 3, 65, 65, dtype=torch.float64)
    image[..., 32, 32] = 1
    one = torch.ones(1, dtype=torch.float64)
    result = render_bokeh_reference(image, torch.ones(1, 1, 65, 65, dtype=torch.float64), one * 0, one * radius, 1.0)
    assert float(result.sum()) / 3 == pytest.approx(1, abs=0.01)


def test_polygon_has_its_blades() -> None:
    spread = spread_of_a_point(20.0, aperture=Aperture(blades=4, rotation=math.pi / 4))
    relative = spread / spread[32, 32]
    assert relative.sum() == pytest.approx(2 * 20**2, rel=0.03)
    # Two edges of the inscribed square lie along rows, two along columns, 20 / sqrt(2) from the centre.
    rows, columns = np.nonzero(relative > 0.5)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (18, 46, 18, 46)


def test_cat_eye_cuts_corners_not_the_centre() -> None:
    size = 64
    radius = torch.full((1, 1, size, size), 8.0, dtype=torch.float64)
    areas = {}
    for place in ((31, 31), (10, 10)):
        light = torch.zeros(1, 3, size, size, dtype=torch.float64)
        light[..., place[0], place[1]] = 1
        areas[place], _ = (tensor.sum() / 3 for tensor in scatter_discs(light, radius, radius, Aperture(cat_eye=1.0)))
    # Two discs of radius R whose centres are s apart share 2 R^2 acos(s / 2R) - s / 2 sqrt(4 R^2 - s^2).
    shift = 8 * math.hypot(21.5, 21.5) / math.hypot(32, 32)
    lens = 2 * 64 * math.acos(shift / 16) - shift / 2 * math.sqrt(4 * 64 - shift**2)
    assert float(areas[(10, 10)] / areas[(31, 31)]) == pytest.approx(lens / (math.pi * 64), rel=0.05)


def test_in_focus_is_left_alone_and_a_flat_image_stays_flat() -> None:
    image, disparity = random_scene(5)
    image_B3HW = torch.tensor(image).permute(2, 0, 1)[None]
    zero = torch.zeros(1, dtype=torch.float64)
    sharp = render_bokeh_reference(image_B3HW, torch.tensor(disparity)[None, None], zero, zero, 1.0)
    # The soft edge of radius 0 leaks 3e-4 into each neighbour.
    torch.testing.assert_close(sharp, image_B3HW, atol=2e-3, rtol=0)
    flat = render_bokeh_reference(
        torch.full_like(image_B3HW, 0.3), torch.tensor(disparity)[None, None], zero, zero + 9, 4.0
    )
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_dtype_and_shape(dtype: torch.dtype) -> None:
    result = render_bokeh_reference(
        torch.rand(2, 3, 5, 9, dtype=dtype, generator=torch.Generator().manual_seed(0)),
        torch.zeros(2, 1, 5, 9, dtype=dtype),
        torch.ones(2, dtype=dtype),
        torch.tensor([3.0, 30.0], dtype=dtype),
    )
    assert result.shape == (2, 3, 5, 9)
    assert result.dtype == dtype


@pytest.mark.parametrize("gamma", [1.0, 2.2, 4.0])
def test_gradients(gamma: float) -> None:
    draw = torch.Generator().manual_seed(0)
    image = (0.2 + 0.8 * torch.rand(1, 3, 3, 4, generator=draw, dtype=torch.float64)).requires_grad_()
    disparity = torch.rand(1, 1, 3, 4, generator=draw, dtype=torch.float64).requires_grad_()
    focus, bokeh = torch.tensor([0.4]).double(), torch.tensor([3.7]).double()
    assert torch.autograd.gradcheck(
        lambda i, d: render_bokeh_reference(i, d, focus, bokeh, gamma), (image, disparity), eps=1e-7, atol=1e-5
    )


def test_gradient_is_finite_on_black() -> None:
    image = torch.zeros(1, 3, 6, 6, requires_grad=True)
    render_bokeh_reference(
        image, torch.linspace(0, 1, 36).view(1, 1, 6, 6), torch.zeros(1), torch.ones(1) * 4
    ).sum().backward()
    assert torch.isfinite(image.grad).all()


GOOD = {
    "image_B3HW": torch.ones(2, 3, 4, 5),
    "disparity_B1HW": torch.ones(2, 1, 4, 5),
    "focus_disparity_B": torch.zeros(2),
    "bokeh_B": torch.ones(2),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_B3HW": torch.ones(3, 4, 5)}, "image must be"),
        ({"image_B3HW": torch.ones(2, 1, 4, 5)}, "image must be"),
        ({"image_B3HW": torch.zeros(2, 3, 4, 5, dtype=torch.uint8)}, "image must be"),
        ({"disparity_B1HW": torch.ones(2, 4, 5)}, "disparity must be"),
        ({"disparity_B1HW": torch.full((2, 1, 4, 5), math.nan)}, "finite"),
        ({"focus_disparity_B": torch.zeros(1)}, "focus_disparity and bokeh"),
        ({"bokeh_B": torch.ones(2, 1)}, "focus_disparity and bokeh"),
        ({"bokeh_B": -torch.ones(2)}, "negative"),
        ({"bokeh_B": torch.tensor([1.0, math.inf])}, "finite"),
        ({"gamma": 0.5}, "gamma"),
        ({"gamma": math.nan}, "gamma"),
    ],
)
def test_refuses_what_cannot_be_rendered(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_bokeh_reference(**{**GOOD, **change})
