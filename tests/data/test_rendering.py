from __future__ import annotations

import pytest
import torch

from diffcam.camera import Aperture, Camera
from diffcam.data import BokehRenderer
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
