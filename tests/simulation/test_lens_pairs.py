"""Pairs to learn deblurring from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import skimage
import torch

from diffcam.simulation.draws import Draws
from diffcam.simulation.lens_pairs import FileCamera, LensPairs
from diffcam.simulation.textures.photos import PhotoFolder


@pytest.fixture(scope="module")
def textures() -> PhotoFolder:
    folder = Path(skimage.__file__).parent / "data"
    return PhotoFolder(folder, (folder / "astronaut.png", folder / "coffee.png"), 512)


@pytest.fixture(scope="module")
def pairs(textures: PhotoFolder) -> LensPairs:
    return LensPairs(textures, side=64, largest_radius=10.0, seed=3)


def test_a_pair_depends_on_its_number_alone(pairs: LensPairs) -> None:
    first = pairs[5]
    pairs[6]
    assert all(torch.equal(*parts) for parts in zip(first, pairs[5], strict=True))
    assert not torch.equal(first.sharp, pairs[6].sharp)


def test_pairs_are_display_values_of_8_bits_with_radii_up_to_the_largest(pairs: LensPairs) -> None:
    for number in range(16):
        pair = pairs[number]
        assert pair.photo.shape == pair.sharp.shape == (3, 64, 64)
        assert pair.radius.shape == (1, 64, 64)
        values = torch.cat([pair.photo, pair.sharp])
        torch.testing.assert_close(values.clamp(0, 1), values)
        torch.testing.assert_close((pair.photo * 255).round() / 255, pair.photo)
        assert pair.radius.abs().max() < 1.5 * 10.0


def test_blur_takes_detail_where_radii_are_large(pairs: LensPairs) -> None:
    """Share of the sharp picture's horizontal differences that the photo has."""

    def share(inside: torch.Tensor, photo: torch.Tensor, sharp: torch.Tensor) -> float:
        ours, theirs = photo.diff(dim=-1)[:, inside], sharp.diff(dim=-1)[:, inside]
        return float((ours * theirs).sum() / theirs.square().sum())

    near, far = [], []
    for number in range(60):
        pair = pairs[number]
        size = pair.radius[0, :, 1:].abs()
        for found, inside in ((near, size < 0.2), (far, size > 4)):
            if int(inside.sum()) > 500:
                found.append(share(inside, pair.photo, pair.sharp))
    assert min(len(near), len(far)) > 5
    # Light of what is blurred beside it dims what is sharp.
    assert sorted(near)[len(near) // 2] > 0.75
    assert sorted(far)[len(far) // 2] < 0.3


def test_a_quiet_camera_files_what_it_develops() -> None:
    camera = replace(FileCamera.draw(Draws("quiet")), noise=0.0, quality=0, scale=1.0, sharpening=0.0)
    light = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    filed = camera.file(light, 48, Draws("noise"))
    assert (filed - camera.develop(light)).abs().max() <= 0.5 / 255 + 1e-6


def test_noise_of_a_middle_grey_is_told_in_display_values() -> None:
    camera = replace(FileCamera.draw(Draws("noisy")), noise=4 / 255, quality=0, scale=1.0, sharpening=0.0, contrast=0.0)
    camera = replace(camera, exposure=1.0, grain=0.0)
    filed = camera.file(torch.full((3, 200, 200), 0.18), 200, Draws("noise"))
    assert float(filed.std()) * 255 == pytest.approx(4.0, rel=0.05)


def test_told_radii_have_errors_and_no_bias(pairs: LensPairs) -> None:
    ratios = []
    for number in range(40):
        pair = pairs[number]
        far = pair.radius.abs() > 1
        if int(far.sum()) > 500:
            ratios.append(float(pair.told.abs()[far].mean() / pair.radius.abs()[far].mean()))
    assert len(ratios) > 10
    middle = sorted(ratios)[len(ratios) // 2]
    assert middle == pytest.approx(1.0, abs=0.15)
    assert max(ratios) - min(ratios) > 0.1


def test_the_lens_and_the_map_give_the_radii(pairs: LensPairs) -> None:
    """To the map's errors: where it is neither bent, blurred, displaced nor waved, to rounding."""
    exact = 0
    for number in range(40):
        pair = pairs[number]
        plane, level = pair.lens.tolist()
        error = (level * (pair.disparity - plane) - pair.radius).abs()
        assert 0 <= pair.disparity.min() <= pair.disparity.max() <= 1
        exact += bool(error.max() < 0.05 * max(1.0, float(pair.radius.abs().max())))
        assert error.median() < 0.4 * max(1.0, float(pair.radius.abs().max()))
    assert exact >= 4


def test_pairs_in_which_nothing_is_blurred(textures: PhotoFolder) -> None:
    pairs = LensPairs(textures, side=48, sharp_share=1.0, seed=1)
    assert max(float(pairs[number].radius.abs().max()) for number in range(8)) < 0.01
