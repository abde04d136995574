"""Layered scenes: exact composition, disparity that follows the ground, draws that depend on the index alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam.simulation.draws import Draws
from diffcam.simulation.layered.layers import Layer, composite
from diffcam.simulation.layered.scenes import LayeredSource, Stage
from diffcam.simulation.layered.silhouettes import HANGING, STANDING
from diffcam.simulation.textures.photos import PhotoFolder


def saved(folder: Path, pictures: list[Image.Image], candidates: int = 4) -> PhotoFolder:
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number}.png")
    return PhotoFolder(folder, tuple(sorted(folder.iterdir())), 768, candidates)


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> PhotoFolder:
    """Four photos of fine noise, each of one tint, one of them small."""
    generator = np.random.default_rng(3)
    tints = [(255, 80, 80), (80, 255, 80), (80, 80, 255), (255, 255, 90)]
    sizes = [(300, 260), (280, 280), (310, 250), (120, 90)]
    pictures = [
        Image.fromarray((generator.random((height, width, 1)) * tint).astype(np.uint8))
        for tint, (width, height) in zip(tints, sizes, strict=True)
    ]
    return saved(tmp_path_factory.mktemp("textures"), pictures)


def test_composite_is_exact_where_alpha_is_zero_half_and_one() -> None:
    colour = np.full((4, 5, 3), 0.25, dtype=np.float32)
    disparity = np.full((4, 5), 0.1, dtype=np.float32)
    alpha = np.array([[0.0, 0.4999, 0.5, 1.0]], dtype=np.float32)
    layer = Layer(2, 3, np.full((1, 4, 3), 0.75, np.float32), alpha, np.full((1, 4), 0.9, np.float32))
    left = Layer(2, -2, layer.colour, alpha, layer.disparity)
    composite(colour, disparity, layer)
    composite(colour, disparity, left)
    np.testing.assert_allclose(colour[2, :, 0], [0.5, 0.75, 0.25, 0.25, 0.25 + 0.4999 * 0.5], atol=1e-7)
    np.testing.assert_array_equal(disparity[2], np.float32([0.9, 0.9, 0.1, 0.1, 0.1]))
    assert (colour[[0, 1, 3]] == 0.25).all()


@pytest.mark.parametrize("silhouette", sorted({*STANDING, *HANGING}, key=lambda item: item.__name__))
@pytest.mark.parametrize("size", [(4, 6), (60, 41), (200, 300)])
def test_silhouettes_are_antialiased_masks(silhouette, size) -> None:
    alpha = silhouette(Draws(1), *size)
    assert alpha.shape == size
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    if size == (200, 300):
        assert 0.02 < alpha.mean() < 0.98
        assert (alpha == 1).any()
        assert ((alpha > 0) & (alpha < 1)).any()
        assert len(np.unique(alpha)) <= 17


@pytest.mark.parametrize("silhouette", STANDING, ids=lambda item: item.__name__)
def test_standing_silhouettes_touch_their_lower_edge(silhouette) -> None:
    for seed in range(5):
        assert silhouette(Draws(seed), 120, 90)[-2:].max() > 0.2


def test_scene_depends_on_seed_and_index_alone(textures: PhotoFolder) -> None:
    scenes, again = (LayeredSource(textures, 6, (96, 128), seed=7) for _ in range(2))
    again.scene(5)
    first, second = scenes.scene(3), again.scene(3)
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.disparity, second.disparity)
    assert not torch.equal(first.image, scenes.scene(4).image)
    assert not torch.equal(first.image, LayeredSource(textures, 6, (96, 128), seed=8).scene(3).image)


@pytest.mark.parametrize("size", [(64, 64), (97, 141), (200, 120)])
def test_scenes_have_the_size_and_range_asked_for(textures: PhotoFolder, size) -> None:
    scenes = LayeredSource(textures, 8, size)
    for index in range(8):
        scene = scenes.scene(index)
        assert scene.image.shape == (3, *size)
        assert scene.disparity.shape == (1, *size)
        assert scene.disparity.min() == 0
        assert scene.disparity.max() == 1
        assert scene.image.min() >= 0
        assert scene.image.max() <= 1


def test_ground_disparity_rises_linearly_to_the_lower_edge(textures: PhotoFolder) -> None:
    scenes = LayeredSource(textures, 12, (120, 160), objects=(0, 0))
    found = 0
    for index in range(12):
        _, disparity, _ = scenes.draw(Draws("ground", index))
        column = disparity[:, 80]
        ground = np.flatnonzero(column > column[0] + 0.05)
        if len(ground) > 20 and column[-1] == column.max():
            steps = np.diff(column[ground])
            np.testing.assert_allclose(steps, steps.mean(), rtol=1e-3)
            found += 1
    assert found >= 4


def test_nearer_objects_are_lower_larger_and_in_front(textures: PhotoFolder) -> None:
    scenes = LayeredSource(textures, 10, (200, 200))
    stage = Stage(horizon=80.0, depth=120.0, backdrop=0.0, has_ground=True, textured=False)
    layers = [[scenes._standing(Draws(seed), stage, near) for near in (0.2, 0.8)] for seed in range(10)]
    for far, near in layers:
        assert near.alpha.shape[0] > far.alpha.shape[0]
        assert near.top + near.alpha.shape[0] > far.top + far.alpha.shape[0]
        assert near.disparity.min() > far.disparity.max()
        for layer in (far, near):  # disparity at the foot is the ground's there, but for relief and rounding
            foot = (layer.top + layer.alpha.shape[0] - stage.horizon) / stage.depth
            assert layer.disparity.min() == pytest.approx(foot, abs=0.6 / stage.depth)


def test_surfaces_come_from_the_sharp_part_of_a_photo(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    pixels = np.full((256, 512, 3), 128, dtype=np.uint8)
    pixels[:, 256:] = generator.integers(0, 255, (256, 256, 3))
    textures = saved(tmp_path, [Image.fromarray(pixels)], candidates=8)
    spread = [textures.surface(Draws(seed), 64, 64).std() for seed in range(20)]
    assert np.mean(np.array(spread) > 20) > 0.9


def test_no_photo_and_tiny_photo_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one photo"):
        saved(tmp_path, [])
    with pytest.raises(ValueError, match="64 pixels"):
        _ = saved(tmp_path, [Image.new("RGB", (20, 300))]).photos


@pytest.mark.parametrize("index", range(4))
def test_surfaces_laid_over_each_other_are_the_scene(textures: PhotoFolder, index: int) -> None:
    scene = LayeredSource(textures, 8, (96, 128), seed=2, surfaces=True).scene(index)
    plain = LayeredSource(textures, 8, (96, 128), seed=2).scene(index)
    assert torch.equal(scene.image, plain.image)
    assert plain.surfaces == ()
    assert len(scene.surfaces) >= 4
    image, disparity = torch.zeros_like(scene.image), torch.zeros_like(scene.disparity)
    for surface in scene.surfaces:
        image = torch.lerp(image, surface.image, surface.coverage)
        disparity = torch.where(surface.coverage >= 0.5, surface.disparity, disparity)
    torch.testing.assert_close(image, scene.image, atol=1e-5, rtol=0)
    torch.testing.assert_close(disparity, scene.disparity, atol=1e-5, rtol=0)
    assert bool((scene.surfaces[0].coverage == 1).all())
