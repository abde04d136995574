from __future__ import annotations

import math

import pytest
import torch

from diffcam.camera import Camera, CameraBatch, ThinLens, focus_pixel
from diffcam.functional.bokeh import defocus_radius


def test_blur_circle_is_that_of_the_textbooks() -> None:
    """50 mm at f/2 on full frame, focused at 2 m: the circle of confusion of a point at 4 m, by the usual formula."""
    lens = ThinLens(50.0, 2.0, 2.0)
    near, far = 1.0, 8.0
    circle = 50**2 / 2 * (4000 - 2000) / (4000 * (2000 - 50))  # f^2 / N (z - s) / (z (s - f)), mm
    disparity = (1 / 4 - 1 / far) / (1 / near - 1 / far)
    radius = lens.bokeh(near, far) * abs(
        disparity - lens.focus_disparity(near, far)
    )  # pixels of a 512-pixel short side
    assert radius == pytest.approx(circle / 2 / 24 * 512, rel=1e-12)


def test_level_scales_with_the_opening_and_not_with_the_focus_plane() -> None:
    wide, narrow = ThinLens(35.0, 1.4, 3.0), ThinLens(35.0, 2.8, 3.0)
    assert wide.bokeh(1, 10) == pytest.approx(2 * narrow.bokeh(1, 10))
    assert ThinLens(50.0, 2.0, math.inf).focus_disparity(1, math.inf) == 0
    assert ThinLens(50.0, 2.0, 1.0).focus_disparity(1, 10) == pytest.approx(1)
    assert ThinLens(50.0, 2.0, 0.5).focus_disparity(1, 10) > 1


@pytest.mark.parametrize("far", [9.0, math.inf])
@pytest.mark.parametrize("focus_disparity", [0.0, 0.35, 1.0])
def test_of_bokeh_is_the_inverse(focus_disparity: float, far: float) -> None:
    lens = ThinLens.of_bokeh(12.0, focus_disparity, 1.2, far, 40.0, 15.6)
    assert lens.bokeh(1.2, far) == pytest.approx(12)
    assert lens.focus_disparity(1.2, far) == pytest.approx(focus_disparity)
    assert lens.image_distance == pytest.approx(40)


def test_impossible_lenses_are_refused() -> None:
    for numbers, message in (
        ((0.0, 2.0, 1.0), "focal_length"),
        ((50.0, math.nan, 1.0), "f_number"),
        ((50.0, math.inf, 1.0), "f_number"),
        ((50.0, 2.0, 0.04), "nearer than"),
    ):
        with pytest.raises(ValueError, match=message):
            ThinLens(*numbers)
    with pytest.raises(ValueError, match="near"):
        ThinLens(50.0, 2.0, 1.0).bokeh(3, 2)


def test_the_asked_blur_is_that_of_the_renderer() -> None:
    """Against the renderer's radius, with the disparity of the pixel that holds the focus point."""
    disparity = torch.rand(3, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    cameras = [Camera((0.999, 0.5), 4.0), Camera((0.0, 1.0), 12.0), Camera((1.0, 0.26), 0.0)]
    batch = CameraBatch.from_cameras(cameras)
    pixels = [focus_pixel(camera.focus, 20, 30) for camera in cameras]
    assert pixels == [(10, 29), (19, 0), (5, 29)]
    in_focus = torch.stack([one[0, row, column] for one, (row, column) in zip(disparity, pixels, strict=True)])
    assert torch.equal(batch.focus_disparity(disparity), in_focus)
    expected = defocus_radius(disparity, in_focus, batch.bokeh)
    torch.testing.assert_close(batch.defocus(disparity), expected)
    assert expected.min() < -1
    assert expected.max() > 1


def test_levels_are_pixels_of_a_512_pixel_short_side() -> None:
    camera = Camera((0.5, 0.5), 12.0)
    assert [camera.radius_per_disparity(*size) for size in ((512, 900), (256, 512), (2048, 1024))] == [12.0, 6.0, 24.0]
    disparity = torch.rand(1, 1, 128, 192, generator=torch.Generator().manual_seed(0))
    batch = CameraBatch.from_cameras([camera])
    torch.testing.assert_close(batch.defocus_pixels(disparity), batch.defocus(disparity) * 128 / 512)


def test_some_cameras_of_a_batch() -> None:
    cameras = CameraBatch(torch.arange(12.0).view(2, 3, 2) / 12, torch.arange(6.0).view(2, 3))
    assert cameras[:, 0].bokeh.tolist() == [0, 3]
    assert cameras[:, 0].focus.tolist() == cameras.focus[:, 0].tolist()
    assert cameras[1:].bokeh.tolist() == [[3, 4, 5]]
