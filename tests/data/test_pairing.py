from __future__ import annotations

from collections import Counter

import pytest
import torch

from diffcam.camera import Aperture, Camera, focus_pixel
from diffcam.data import ContinuousPairing, GridPairing, Pairing, StoredPairing, Variant
from diffcam.data.pairing import Pair
from diffcam.errors import DiffcamError

RAMP = torch.linspace(0, 1, 50).expand(1, 40, 50).contiguous()


def draw(pairing: Pairing, count: int, disparity: torch.Tensor = RAMP, variants=(), seed: int = 0) -> list[Pair]:
    generator = torch.Generator().manual_seed(seed)
    return [pairing(variants, disparity, generator) for _ in range(count)]


def disparity_at(disparity: torch.Tensor, camera: Camera) -> float:
    row, column = focus_pixel(camera.focus, *disparity.shape[1:])
    return float(disparity[0, row, column])


def test_draws_come_from_the_papers_grid() -> None:
    renditions = [r for pair in draw(GridPairing(), 600) for r in (pair.reference, *pair.targets)]
    blurred = [r for r in renditions if r.camera.bokeh > 0]
    assert {r.camera.bokeh for r in blurred} == {float(level) for level in range(1, 21)}
    assert {round(r.focus_disparity * 20, 4) for r in blurred} == set(range(21))
    assert all(r.variant is None for r in renditions)
    planes = Counter(round(r.focus_disparity * 20) for r in blurred)
    assert max(planes.values()) < 2 * min(planes.values())


def test_focus_points_lie_within_eta_of_their_plane() -> None:
    for eta in (0.025, 0.1):
        for pair in draw(GridPairing(eta=eta), 200):
            for r in (pair.reference, *pair.targets):
                assert r.camera.bokeh == 0 or abs(disparity_at(RAMP, r.camera) - r.focus_disparity) < eta


def test_focus_points_spread_over_the_whole_in_focus_set() -> None:
    disparity = torch.zeros(1, 10, 10)
    disparity[0, 2:6, 3:7] = 1.0
    targets = [target for pair in draw(GridPairing(), 800, disparity) for target in pair.targets]
    points = Counter(target.camera.focus for target in targets if target.focus_disparity == 1 and target.camera.bokeh)
    assert set(points) == {((x + 0.5) / 10, (y + 0.5) / 10) for x in range(3, 7) for y in range(2, 6)}
    assert max(points.values()) < 3 * min(points.values())


def test_a_fifth_of_targets_and_references_is_the_original() -> None:
    pairs = draw(GridPairing(), 2000)
    originals = [[target.camera.bokeh == 0 for target in pair.targets] for pair in pairs]
    assert sum(first for first, _ in originals) / 2000 == pytest.approx(0.2, abs=0.03)
    assert sum(second for _, second in originals) / 2000 == pytest.approx(0.2, abs=0.03)
    assert not any(first and second for first, second in originals)
    assert sum(pair.reference.camera.bokeh == 0 for pair in pairs) / 2000 == pytest.approx(0.2, abs=0.03)
    focus = {pair.reference.camera.focus for pair in pairs if pair.reference.camera.bokeh == 0}
    assert len(focus) > 200  # any focus point


def test_shares_are_fields() -> None:
    pairs = draw(GridPairing(original_targets=0, original_references=1), 200)
    assert all(target.camera.bokeh > 0 for pair in pairs for target in pair.targets)
    assert all(pair.reference.camera.bokeh == 0 for pair in pairs)
    always = draw(GridPairing(original_targets=0.5, original_references=0), 200)
    assert all(sum(target.camera.bokeh == 0 for target in pair.targets) == 1 for pair in always)


def test_the_targets_differ_in_focus_plane() -> None:
    for pair in draw(GridPairing(original_targets=0), 300):
        assert pair.targets[0].focus_disparity != pair.targets[1].focus_disparity


def test_a_flat_scene_pairs_its_only_plane_with_the_original() -> None:
    for pair in draw(GridPairing(), 50, torch.full((1, 8, 8), 0.31)):
        assert sorted(target.camera.bokeh > 0 for target in pair.targets) == [False, True]
        assert [target.focus_disparity for target in pair.targets if target.camera.bokeh] == [pytest.approx(0.3)]


def test_continuous_draws_focus_exactly_on_the_point() -> None:
    renditions = [r for pair in draw(ContinuousPairing(levels=20), 400) for r in pair.targets if r.camera.bokeh > 0]
    assert all(r.focus_disparity == disparity_at(RAMP, r.camera) for r in renditions)
    levels = torch.tensor([r.camera.bokeh for r in renditions])
    assert 1 <= levels.min() < 2
    assert 19 < levels.max() <= 20
    assert (levels % 1 != 0).all()
    octaves = levels.log2().floor().long().bincount()[:4].float()  # as many from 1 to 2 as from 8 to 16
    torch.testing.assert_close(octaves / octaves.mean(), torch.ones(4), atol=0.25, rtol=0)


def variants() -> list[Variant]:
    """Three planes with two levels each, and one in an aperture of its own."""
    grid = [Variant(Camera((0, 0), level), plane) for plane in (0.0, 0.5, 1.0) for level in (4.0, 9.0)]
    return [*grid, Variant(Camera((0, 0), 5.0, Aperture(6)), 0.5)]


def test_stored_draws_are_stored_variants_with_new_focus_points() -> None:
    stored = variants()
    seen = set()
    for pair in draw(StoredPairing(), 300, RAMP, stored):
        for r in (pair.reference, *pair.targets):
            if r.camera.bokeh == 0:
                assert r.variant is None
                continue
            variant = stored[r.variant]
            seen.add(r.variant)
            assert (r.camera.bokeh, r.camera.aperture) == (variant.camera.bokeh, variant.camera.aperture)
            assert r.focus_disparity == variant.focus_disparity
            assert abs(disparity_at(RAMP, r.camera) - variant.focus_disparity) < 0.025
        assert pair.targets[0].variant is None or pair.targets[0].variant != pair.targets[1].variant
    assert seen == set(range(7))


def test_planes_that_are_not_in_the_picture_are_not_drawn() -> None:
    near = RAMP[:, :, 20:]  # from 0.41 up: without the plane at 0
    drawn = {
        r.variant for pair in draw(StoredPairing(), 200, near, variants()) for r in (pair.reference, *pair.targets)
    }
    assert drawn == {None, 2, 3, 4, 5, 6}


def test_what_cannot_be_drawn_is_an_error() -> None:
    with pytest.raises(DiffcamError, match="no variants"):
        draw(StoredPairing(), 1)
    with pytest.raises(DiffcamError, match="larger eta"):
        draw(StoredPairing(), 1, torch.full((1, 4, 4), 0.3), variants())


def test_draws_depend_on_the_generator_alone() -> None:
    pairing = GridPairing()
    first = draw(pairing, 20)
    torch.manual_seed(123)
    assert draw(pairing, 20) == first
    assert draw(pairing, 20, seed=1) != first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"original_targets": 0.6}, "original_targets"),
        ({"original_references": -0.1}, "original_references"),
        ({"eta": 0.0}, "eta"),
        ({"planes": 1}, "planes"),
        ({"levels": 0}, "level"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GridPairing(**arguments)
