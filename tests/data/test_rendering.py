from __future__ import annotations

import pytest
import torch

from diffcam.camera import Aperture, Camera
from diffcam.data import BokehRenderer, Surface
from diffcam.functional.bokeh import render_bokeh_reference


@pytest.mark.parametrize("aperture", [Aperture(), Aperture(6, 0.3)])
@pytest.mark.parametrize("highlights", [False, True])
def test_levels_are_radii_at_a_512_pixel_short_side(aperture: Aperture, highlights: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    image, disparity = torch.rand(3, 32, 48, generator=generator), torch.rand(1, 32, 48, generator=generator)
    out = BokehRenderer(2.0, highlights)(image, disparity, 0.25, Camera((0.5, 0.5), 64.0, aperture))
    expected = render_bokeh_reference(
        image[None], disparity[None], torch.tensor([0.25]), torch.tensor([64.0 * 32 / 512]), 2.0, aperture, highlights
    )
    torch.testing.assert_close(out[None], expected, atol=0.02, rtol=0)
    assert (out - image).abs().max() > 0.2


@pytest.mark.parametrize("aperture", [Aperture(5, 0.4), Aperture(6, -2.0), Aperture(cat_eye=0.8)])
def test_mirrored_aperture_is_that_of_the_mirrored_picture(aperture: Aperture) -> None:
    generator = torch.Generator().manual_seed(0)
    image, disparity = torch.rand(3, 48, 64, generator=generator), torch.rand(1, 48, 64, generator=generator).round()
    renderer = BokehRenderer(1.0)

    def render(mirrored: bool, aperture: Aperture) -> torch.Tensor:
        flip = (lambda x: x.flip(-1)) if mirrored else (lambda x: x)
        return flip(renderer(flip(image), flip(disparity), 0.0, Camera((0.5, 0.5), 64.0, aperture)))

    torch.testing.assert_close(render(True, aperture.mirrored()), render(False, aperture), atol=1e-4, rtol=0)
    if aperture.blades == 5:
        assert (render(True, aperture) - render(False, aperture)).abs().max() > 0.01


def test_occlusion_mode_keeps_a_sharp_edge_that_the_classical_one_blurs() -> None:
    columns = (torch.arange(48) < 24).float().expand(1, 48, 48)
    image, camera = 1 - columns.expand(3, -1, -1), Camera((0.1, 0.5), 64.0)
    classical, occlusion = (
        BokehRenderer(1.0, mode=mode)(image, columns, 1.0, camera) for mode in ("classical", "occlusion")
    )
    assert (occlusion - image)[..., :24].abs().max() < 2e-3 < 0.01 < (classical - image)[..., :24].abs().max()


def test_level_zero_is_the_image_itself() -> None:
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(BokehRenderer()(image, torch.zeros(1, 8, 8), 0.5, Camera((0.5, 0.5), 0.0)), image)


def test_gamma_is_checked() -> None:
    with pytest.raises(ValueError, match="gamma"):
        BokehRenderer(gamma=0.5)
    with pytest.raises(ValueError, match="mode"):
        BokehRenderer(mode="fast")


def sampled_opening(surfaces: list[Surface], focus: float, radius: float, gamma: float, across: int) -> torch.Tensor:
    """The lens picture from pinhole pictures through points of the opening: for each, surfaces are displaced by whole
    or broken pixels and laid over each other in linear light."""
    points = (torch.arange(across) + 0.5) / across * 2 - 1
    total, count = torch.zeros_like(surfaces[0].image), 0
    for v in points:
        for u in points:
            if u * u + v * v > 1:
                continue
            picture = torch.zeros_like(total)
            for surface in surfaces:
                shift = radius * (float(surface.disparity.mean()) - focus)
                parts = torch.cat([surface.image**gamma * surface.coverage, surface.coverage])
                height, width = parts.shape[1:]
                rows = torch.arange(height)[:, None] + shift * v
                columns = torch.arange(width)[None] + shift * u
                grid = torch.stack(
                    torch.broadcast_tensors((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), -1
                )
                parts = torch.nn.functional.grid_sample(
                    parts[None], grid[None], padding_mode="border", align_corners=False
                )[0]
                picture = parts[:3] + (1 - parts[3:]) * picture
            total, count = total + picture, count + 1
    return (total / count) ** (1 / gamma)


def test_whole_surfaces_give_what_a_sampled_opening_sees() -> None:
    """Also where the far surface is hidden. A renderer that knows the picture alone is worse."""
    generator = torch.Generator().manual_seed(0)
    far, near = (
        torch.nn.functional.interpolate(torch.rand(1, 3, 24, 32, generator=generator), (72, 96))[0] for _ in "12"
    )
    coverage = torch.zeros(1, 72, 96)
    coverage[:, 20:55, 30:70] = 1.0
    surfaces = [
        Surface(far, torch.ones(1, 72, 96), torch.full((1, 72, 96), 0.2)),
        Surface(near, coverage, torch.full((1, 72, 96), 0.8)),
    ]
    image = torch.lerp(far, near, coverage)
    disparity = torch.where(coverage > 0.5, 0.8, 0.2)
    for focus in (0.2, 0.8):
        truth = sampled_opening(surfaces, focus, radius=9.0, gamma=2.2, across=30)
        camera = Camera((0.5, 0.5), 9.0 * 512 / 72)
        errors = {}
        for mode in ("classical", "occlusion", "surfaces"):
            picture = BokehRenderer(2.2, mode=mode)(image, disparity, focus, camera, surfaces=surfaces)
            errors[mode] = float((picture - truth).square().mean())
        assert errors["surfaces"] < 1e-4
        assert errors["surfaces"] < 0.5 * errors["occlusion"] < 0.5 * errors["classical"]


def test_scenes_without_surfaces_are_rendered_by_occlusion() -> None:
    generator = torch.Generator().manual_seed(0)
    image, disparity = torch.rand(3, 32, 48, generator=generator), torch.rand(1, 32, 48, generator=generator)
    given = image, disparity, 0.5, Camera((0.5, 0.5), 60.0)
    assert torch.equal(BokehRenderer(2.2, mode="surfaces")(*given), BokehRenderer(2.2, mode="occlusion")(*given))
