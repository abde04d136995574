from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from diffcam.camera import Aperture
from diffcam.functional.bokeh import render_bokeh_reference, scatter_discs
from diffcam.functional.occlusion import composite_layers, disc_weight, hidden_surface, inside_share
from diffcam.kernels import render_bokeh

RADIUS = 8.0
SIZE = 64


def half_planes(near: float, far: float) -> tuple[Tensor, Tensor]:
    """A near half-plane left of the middle column, before a far plane."""
    columns = torch.arange(SIZE).expand(1, 1, SIZE, SIZE)
    left = columns < SIZE // 2
    return torch.where(left, near, far).expand(1, 3, -1, -1).contiguous(), left.float()


def render(image: Tensor, disparity: Tensor, focus: float, bokeh: float, mode: str = "occlusion") -> Tensor:
    return render_bokeh(image, disparity, torch.tensor([focus]), torch.tensor([bokeh]), 1.0, mode=mode)


def test_no_light_leaks_onto_a_sharp_subject() -> None:
    """A sharp near edge before a blurred far plane of one colour: the edge stays where and what it was."""
    image, disparity = half_planes(near=0.0, far=1.0)
    torch.testing.assert_close(render(image, disparity, 1.0, RADIUS), image, atol=2e-3, rtol=0)
    # The classical renderer does leak.
    assert float(render(image, disparity, 1.0, RADIUS, "classical")[..., SIZE // 2 - 4].mean()) > 0.01


def covered_share(distance: np.ndarray) -> np.ndarray:
    """Share of the lens that a straight edge covers, ``distance`` radii outside it: a circular segment."""
    t = np.clip(distance, -1, 1)
    return (np.arccos(t) - t * np.sqrt(1 - t * t)) / np.pi


@pytest.mark.parametrize(("near", "far"), [(1.0, 0.0), (0.0, 1.0), (0.3, 0.8)])
def test_blurred_rim_is_translucent(near: float, far: float) -> None:
    """A blurred near edge before a sharp far plane: on both sides the far plane shows through the open part."""
    image, disparity = half_planes(near, far)
    result = render(image, disparity, 0.0, RADIUS)[0, 0, SIZE // 2].numpy()
    near_share = covered_share((np.arange(SIZE) + 0.5 - SIZE / 2) / RADIUS)
    np.testing.assert_allclose(result, near_share * near + (1 - near_share) * far, atol=0.02)


def test_two_blurs_at_one_edge() -> None:
    """Focus between the planes: the far one, of one colour, is behind the whole rim of the near one."""
    image, disparity = half_planes(near=0.2, far=0.9)
    result = render(image, disparity, 0.5, 2 * RADIUS)[0, 0, SIZE // 2].numpy()
    near_share = covered_share((np.arange(SIZE) + 0.5 - SIZE / 2) / RADIUS)
    np.testing.assert_allclose(result, near_share * 0.2 + (1 - near_share) * 0.9, atol=0.02)


def test_one_colour_stays_one_colour() -> None:
    disparity = torch.rand(2, 1, 30, 40, generator=torch.Generator().manual_seed(0))
    image = torch.full((2, 3, 30, 40), 0.4)
    result = render_bokeh(image, disparity, torch.tensor([0.2, 0.9]), torch.tensor([15.0, 5.0]), mode="occlusion")
    torch.testing.assert_close(result, image, atol=1e-5, rtol=0)


def test_a_slope_has_no_seams() -> None:
    """Where nothing hides anything both modes say the same, however many layers the slope is cut into."""
    texture = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    image = interpolate(texture, size=(96, 96), mode="bicubic").clamp(0, 1)
    disparity = torch.linspace(0, 1, 96).view(1, 1, 96, 1).expand(1, 1, 96, 96)
    inner = (..., slice(16, -16), slice(16, -16))
    difference = render(image, disparity, 0.5, 24.0)[inner] - render(image, disparity, 0.5, 24.0, "classical")[inner]
    assert float(-10 * torch.log10(difference.square().mean())) > 40


def lens_image(planes: list[tuple[Tensor, Tensor, float]], focus: float, bokeh: float, samples: int) -> Tensor:
    """Mean over points of the lens of what each sees: textured planes (light, opacity, disparity), near to far."""
    height, width = planes[0][0].shape[-2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    total = torch.zeros_like(planes[0][0])
    for sample in range(samples):
        radius, angle = math.sqrt((sample + 0.5) / samples), sample * math.pi * (3 - math.sqrt(5))
        still_open = torch.ones(1, height, width)
        for light, opacity, disparity in planes:
            shift = bokeh * (disparity - focus) * radius
            grid_x = 2 * (x + shift * math.cos(angle)) / width - 1
            grid_y = 2 * (y + shift * math.sin(angle)) / height - 1
            both = torch.cat([light, opacity])[None]
            moved = grid_sample(
                both, torch.stack([grid_x, grid_y], -1)[None], padding_mode="border", align_corners=False
            )[0]
            total += still_open * moved[3:] * moved[:3]
            still_open = still_open * (1 - moved[3:])
    return total / samples


def test_is_much_closer_to_a_lens_than_the_classical_mode() -> None:
    """Three textured planes that hide one another, focused at each: 1.5 dB nearer to the sampled lens."""
    draw, size = torch.Generator().manual_seed(1), 96
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    lights = [
        interpolate(torch.rand(1, 3, 12, 12, generator=draw), size=(size, size), mode="bicubic")[0].clamp(0, 1)
        for _ in range(3)
    ]
    shapes = [torch.hypot(y - 40.0, x - 30.0) < 18, (x > 45) & (y > 30) & (y < 75), torch.ones(size, size)]
    planes = [(lights[i], shapes[i][None].float(), (0.9, 0.5, 0.1)[i]) for i in range(3)]
    image = lens_image(planes, 0.0, 0.0, 1)[None]
    disparity = torch.where(shapes[0], 0.9, torch.where(shapes[1], 0.5, 0.1))[None, None]
    truths = {focus: lens_image(planes, focus, 16.0, 300) for focus in (0.1, 0.5, 0.9)}
    errors = {
        mode: sum(
            float((render(image, disparity, f, 16.0, mode)[0] - truth).square().mean()) for f, truth in truths.items()
        )
        for mode in ("classical", "occlusion")
    }
    assert 10 * math.log10(errors["classical"] / errors["occlusion"]) > 1.5


@pytest.mark.parametrize("aperture", [Aperture(), Aperture(blades=6, rotation=0.3), Aperture(cat_eye=0.7)])
def test_spans_equal_the_plain_scatter(aperture: Aperture) -> None:
    draw = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 40, 36, generator=draw)
    disparity = (torch.rand(2, 1, 5, 4, generator=draw).repeat_interleave(8, 2).repeat_interleave(9, 3) * 4).round() / 4
    focus, bokeh = torch.tensor([0.5, 0.2]), torch.tensor([12.0, 6.0])
    fast = render_bokeh(image, disparity, focus, bokeh, 2.2, aperture=aperture, highlights=True, mode="occlusion")
    plain = render_bokeh_reference(image, disparity, focus, bokeh, 2.2, aperture, True, composite_layers)
    assert float(-10 * torch.log10((fast - plain).square().mean())) > 60


def test_gradient() -> None:
    draw = torch.Generator().manual_seed(0)
    image = (0.2 + 0.8 * torch.rand(1, 3, 2, 6, generator=draw, dtype=torch.float64)).requires_grad_()
    disparity = (torch.arange(6) < 3).double().expand(1, 1, 2, 6)
    focus, bokeh = torch.tensor([0.3]).double(), torch.tensor([2.5]).double()
    assert torch.autograd.gradcheck(
        lambda i: render_bokeh_reference(i, disparity, focus, bokeh, 2.2, spread=composite_layers),
        (image,),
        eps=1e-7,
        atol=1e-5,
    )
    fast = image.detach().float().requires_grad_()
    cotangent = torch.randn(image.shape, generator=draw)
    args = disparity.float(), focus.float(), bokeh.float()
    (render_bokeh(fast, *args, 2.2, mode="occlusion") * cotangent).sum().backward()
    (render_bokeh_reference(image, disparity, focus, bokeh, 2.2, spread=composite_layers) * cotangent).sum().backward()
    assert float((fast.grad - image.grad).norm() / image.grad.norm()) < 2e-3


@pytest.mark.parametrize("aperture", [Aperture(), Aperture(blades=5, rotation=0.4)])
@pytest.mark.parametrize("radius", [0.0, 0.3, 0.9, 1.6, 3.3, 4.2, 9.7])
def test_disc_weight_is_the_sum_over_pixels(radius: float, aperture: Aperture) -> None:
    size = 27
    light = torch.zeros(1, 3, size, size, dtype=torch.float64)
    light[..., size // 2, size // 2] = 1
    radius_B1HW = torch.full((1, 1, size, size), radius, dtype=torch.float64)
    light_sum, _ = scatter_discs(light, radius_B1HW, torch.ones_like(radius_B1HW), aperture)
    assert float(light_sum[0, 0].sum() / disc_weight(radius_B1HW, aperture)[0, 0, 0, 0]) == pytest.approx(1, abs=0.02)


def test_disc_weight_of_a_cat_eye() -> None:
    radius_B1HW = torch.full((1, 1, 64, 64), 8.0, dtype=torch.float64)
    light = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    light[..., 14, 12] = 1
    light_sum, _ = scatter_discs(light, radius_B1HW, torch.ones_like(radius_B1HW), Aperture(cat_eye=0.9))
    expected = disc_weight(radius_B1HW, Aperture(cat_eye=0.9))[0, 0, 14, 12]
    assert float(light_sum[0, 0].sum() / expected) == pytest.approx(1, abs=0.02)


def test_inside_share_counts_a_disc() -> None:
    y, x = np.mgrid[-200:201, -200:201] / 200
    inside = np.hypot(y, x) <= 1
    share = inside_share(torch.tensor([6.0]), 20)[0]
    for centre in (0, 3, 10, 18):
        at = centre + 0.5 + 6 * x
        expected = (inside & (at >= 0) & (at <= 20)).sum() / inside.sum()
        assert float(share[centre]) == pytest.approx(expected, abs=0.01)


def test_hidden_surface_continues_what_is_beside_it() -> None:
    radius = torch.zeros(1, 1, 9, 30)
    radius[..., 10:20] = 6.0
    light = torch.arange(30.0).expand(1, 3, 9, 30).contiguous()
    hidden_light, hidden_radius, has_hidden = hidden_surface(light, radius)
    assert has_hidden[0, 0, 4].nonzero().flatten().tolist() == list(range(10, 20))
    assert float(hidden_radius[has_hidden].abs().max()) == 0
    # Two pixels clear of the outlines, in columns 8 and 21, by inverse square distance; out of reach beyond 9 pixels.
    left, right = (14 - 8) ** -2, (21 - 14) ** -2
    expected = {11: 8, 14: (left * 8 + right * 21) / (left + right), 18: 21}
    for column, value in expected.items():
        assert float(hidden_light[0, 0, 4, column]) == pytest.approx(value)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (2, 3)])
def test_tiny_images(height: int, width: int) -> None:
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    disparity = torch.linspace(0, 1, height * width).view(1, 1, height, width)
    result = render(image, disparity, 0.5, 30.0)
    assert torch.isfinite(result).all()
    assert float(result.min()) >= float(image.min()) - 1e-4
    assert float(result.max()) <= float(image.max()) + 1e-4


def test_in_focus_equals_the_classical_mode() -> None:
    image = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(0))
    disparity = torch.rand(1, 1, 12, 14, generator=torch.Generator().manual_seed(1))
    sharp = render(image, disparity, 0.5, 0.0)
    expected = render_bokeh_reference(image, disparity, torch.tensor([0.5]), torch.tensor([0.0]), 1.0)
    torch.testing.assert_close(sharp, expected, atol=2e-3, rtol=0)
