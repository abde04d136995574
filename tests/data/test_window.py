from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam.data.window import Buckets, RandomWindow, Window, centred_window


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_cutting_needs_no_resampling() -> None:
    image = torch.rand(3, 20, 30, generator=generator())
    window = Window((20, 30), 4, 10, 8, 12, (8, 12))
    assert torch.equal(window.apply(image), image[:, 4:12, 10:22])
    mirrored = Window((20, 30), 4, 10, 8, 12, (8, 12), flip=True)
    assert torch.equal(mirrored.apply(image), image[:, 4:12, 10:22].flip(-1))


def test_resizing_is_antialiased_as_pillows() -> None:
    image = torch.rand(1, 64, 96, generator=generator())
    ours = Window((64, 96), 0, 0, 64, 96, (16, 24)).apply(image)[0].numpy()
    pillow = np.asarray(Image.fromarray(image[0].numpy()).resize((24, 16), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(ours, pillow, atol=1e-4)


@pytest.mark.parametrize("flip", [False, True])
def test_focus_points_follow_the_picture(flip: bool) -> None:
    image = torch.zeros(1, 40, 60)
    image[0, 22, 31] = 1.0
    window = Window((40, 60), 10, 20, 20, 30, (20, 30), flip)
    x, y = window.locate((31.5 / 60, 22.5 / 40))
    row, column = divmod(int(window.apply(image).argmax()), 30)
    assert (x * 30, y * 20) == (pytest.approx(column + 0.5), pytest.approx(row + 0.5))
    assert window.locate((0.0, 1.0)) == (1.0 if flip else 0.0, 1.0)


def test_magnification_keeps_radii() -> None:
    """A level is radius * 512 / short side: 5 pixels in a 100-pixel scene, cut to 50 and shown at 200."""
    window = Window((100, 150), 0, 0, 50, 50, (200, 200))
    level = 5 * 512 / 100
    radius_shown = 5 * (200 / 50)
    assert level * window.magnification == radius_shown * 512 / 200


def test_random_windows_have_the_shape_and_stay_inside() -> None:
    draw, source = RandomWindow((48, 32), zoom=2.0), generator()
    windows = [draw((100, 180), source) for _ in range(500)]
    for window in windows:
        assert 0 <= window.top <= 100 - window.height
        assert 0 <= window.left <= 180 - window.width
        assert window.height / window.width == pytest.approx(1.5, rel=0.03)
        assert 50 <= window.height <= 100
    assert np.mean([window.flip for window in windows]) == pytest.approx(0.5, abs=0.08)
    assert min(window.left for window in windows) < 5
    assert max(window.left + window.width for window in windows) > 175
    assert min(window.height for window in windows) < 53


def test_without_zoom_and_flip_only_the_place_is_random() -> None:
    draw, source = RandomWindow((32, 32), flip=False), generator()
    windows = [draw((64, 100), source) for _ in range(200)]
    assert {(window.top, window.height, window.width, window.flip) for window in windows} == {(0, 64, 64, False)}
    assert {window.left for window in windows} >= set(range(0, 37, 6))
    assert max(window.left for window in windows) == 36
    with pytest.raises(ValueError, match="zoom"):
        RandomWindow((32, 32), zoom=0.5)


@pytest.mark.parametrize(
    ("scene", "focus", "left", "top"),
    [
        ((64, 64), (0.9, 0.1), 0, 0),
        ((64, 128), (0.5, 0.5), 32, 0),
        ((64, 128), (0.3, 0.5), 32, 0),
        ((64, 128), (0.1, 0.5), 12, 0),
        ((64, 128), (1.0, 0.0), 64, 0),
        ((128, 64), (0.0, 0.0), 0, 0),
    ],
)
def test_central_windows_move_only_to_hold_the_focus(scene, focus, left: int, top: int) -> None:
    window = centred_window(scene, (32, 32), focus)
    assert (window.left, window.top, window.height, window.width) == (left, top, 64, 64)
    x, y = window.locate(focus)
    assert (x * 64 + left, y * 64 + top) == (pytest.approx(focus[0] * scene[1]), pytest.approx(focus[1] * scene[0]))


def test_scenes_smaller_than_the_resolution_are_enlarged_whole() -> None:
    window = centred_window((10, 14), (32, 32))
    assert (window.height, window.width) == (10, 10)
    assert window.apply(torch.rand(3, 10, 14, generator=generator())).shape == (3, 32, 32)
    assert centred_window((1, 500), (32, 64)).apply(torch.zeros(1, 1, 500)).shape == (1, 32, 64)


def test_a_piece_keeps_the_levels_of_its_picture() -> None:
    """A quarter of a picture at the picture's scale: nothing is magnified, whatever the scene's own size."""
    for scene, resolution in (((100, 150), (100, 100)), ((100, 150), (200, 200))):
        window = RandomWindow(resolution, piece=48, flip=False)(scene, generator())
        assert window.resolution == (48, 48)
        assert window.short_side == min(resolution)
        assert window.height == 48 * 100 // resolution[0]
        assert window.magnification == pytest.approx(1.0)
    with pytest.raises(ValueError, match="does not fit"):
        RandomWindow((32, 40), piece=33)


def test_buckets_give_a_batch_one_shape_and_every_shape_its_turn() -> None:
    shapes = [(64, 64), (64, 96), (96, 64)]
    buckets = Buckets([RandomWindow(shape) for shape in shapes], batch=4, seed=0)
    drawn = [buckets.at(index).resolution for index in range(400)]
    assert all(len(set(drawn[start : start + 4])) == 1 for start in range(0, 400, 4))
    counts = [drawn.count(shape) / 400 for shape in shapes]
    assert min(counts) > 0.2
    assert drawn == [buckets.at(index).resolution for index in range(400)], "a pure function of the index"


def test_a_level_means_the_same_in_every_bucket() -> None:
    """Levels refer to the short side, which the shapes have in common; no shape stretches the scene."""
    draws = generator()
    for shape in ((64, 64), (64, 96), (96, 64)):
        window = RandomWindow(shape, flip=False)((128, 192), draws)
        assert window.short_side == 64
        assert window.apply(torch.rand(3, 128, 192, generator=draws)).shape == (3, *shape)
        assert window.height / window.width == pytest.approx(shape[0] / shape[1], rel=0.02)
