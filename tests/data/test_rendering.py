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


def test_level_zero_is_the_image_itself() -> None:
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(BokehRenderer()(image, torch.zeros(1, 8, 8), 0.5, Camera((0.5, 0.5), 0.0)), image)


def test_gamma_is_checked() -> None:
    with pytest.raises(ValueError, match="gamma"):
        BokehRenderer(gamma=0.5)
