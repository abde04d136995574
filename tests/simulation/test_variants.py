"""The grid, the draws from it, the ten benchmark samples, and renditions by BokehMe's networks."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from diffcam.camera import Camera, focus_pixel
from diffcam.commands import simulate as command
from diffcam.data.encoding import decode_scene, encode_scene
from diffcam.data.schema import Scene, Variant
from diffcam.data.shards import read_shard
from diffcam.errors import DiffcamError
from diffcam.grid import FOCUS_TOLERANCE
from diffcam.kernels import render_bokeh
from diffcam.pretrained.bokehme import ARNet, BokehMe, IUNet
from diffcam.simulation.jobs.writer import Rendering
from diffcam.simulation.variants import (
    Openings,
    draw_benchmark_samples,
    draw_variants,
    full_grid,
    render_variants,
)
from tests.command import run_command

PROCEDURAL = ("--source", "procedural", "--scenes", 1, "--size", 64, "--workers", 1, "--quality", 0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def scene() -> Scene:
    """Disparity 0 in the upper third, a ramp from 0.3 to 1 below: planes 0.05 to 0.25 are empty."""
    ramp = torch.cat([torch.zeros(16), torch.linspace(0.3, 1, 32)])
    return Scene("a", torch.rand(3, 48, 64, generator=generator()), ramp[None, :, None].repeat(1, 1, 64), "x", "photo")


def disparity_at(scene: Scene, focus: tuple[float, float]) -> float:
    row, column = focus_pixel(focus, *scene.image.shape[1:])
    return float(scene.disparity[0, row, column])


def test_full_grid_is_21_planes_by_20_levels(scene: Scene) -> None:
    variants = full_grid(scene, generator())
    assert len(variants) + 1 == 421
    cells = {(variant.focus_disparity, variant.camera.bokeh) for variant in variants}
    assert cells == {(round(0.05 * plane, 2), float(level)) for plane in range(21) for level in range(1, 21)}
    for variant in variants:
        nearest = (scene.disparity - variant.focus_disparity).abs().min().item()
        at_focus = abs(disparity_at(scene, variant.camera.focus) - variant.focus_disparity)
        assert at_focus < FOCUS_TOLERANCE or at_focus == pytest.approx(nearest)


def test_drawn_variants_lie_in_planes_that_hold_something(scene: Scene) -> None:
    variants = draw_variants(scene, 40, generator(1))
    assert len(variants) == 40
    planes = Counter(variant.focus_disparity for variant in variants)
    assert not {0.05, 0.1, 0.15, 0.2, 0.25} & set(planes)
    assert max(planes.values()) - min(planes.values()) <= 1
    for variant in variants:
        assert abs(disparity_at(scene, variant.camera.focus) - variant.focus_disparity) < FOCUS_TOLERANCE


def test_variants_are_rendered_in_pixels_of_the_scene(scene: Scene) -> None:
    rendered = render_variants(scene, draw_variants(scene, 2, generator()))
    for variant in rendered.variants:
        radius = torch.tensor([variant.camera.bokeh * 48 / 512])
        plane = torch.tensor([variant.focus_disparity])
        expected = render_bokeh(scene.image[None], scene.disparity[None], plane, radius)[0]
        torch.testing.assert_close(variant.image, expected.clamp(0, 1))


def test_benchmark_samples_are_the_papers(scene: Scene) -> None:
    for seed in range(10):
        drawn = draw_benchmark_samples(scene, generator(seed))
        tasks = [sample.subtask for sample in drawn.samples]
        assert tasks == ["refocus"] * 2 + ["add_bokeh"] * 4 + ["remove_bokeh"] * 4
        one, other = drawn.samples[:2]
        assert (one.reference, one.target) == (other.target, other.reference)
        first, second = drawn.variants[one.reference], drawn.variants[one.target]
        assert first.focus_disparity != second.focus_disparity
        assert first.camera.bokeh != second.camera.bokeh
        assert one.camera == second.camera
        added, removed = drawn.samples[2:6], drawn.samples[6:]
        assert len({drawn.variants[sample.target].camera.focus for sample in added}) == 1
        assert len({sample.camera.bokeh for sample in added}) == 4
        assert all(sample.reference is None for sample in added)
        assert [sample.reference for sample in removed] == [sample.target for sample in added]
        assert all(sample.target is None for sample in removed)
        assert all(sample.camera.bokeh == 0 and sample.camera.focus == (0.5, 0.5) for sample in removed)
        for variant in drawn.variants:
            assert variant.image is None
            assert abs(disparity_at(scene, variant.camera.focus) - variant.focus_disparity) < FOCUS_TOLERANCE
    assert draw_benchmark_samples(scene, generator(3)) == draw_benchmark_samples(scene, generator(3))


def test_a_flat_scene_is_no_benchmark_scene() -> None:
    flat = Scene("flat", torch.zeros(3, 8, 8), torch.zeros(1, 8, 8), "x", "photo")
    with pytest.raises(DiffcamError, match="scene flat"):
        draw_benchmark_samples(flat, generator())


def test_openings_are_drawn_from_what_is_asked_for(scene: Scene) -> None:
    openings, source = Openings((0, 5, 8), 0.6), generator(2)
    apertures = [openings.fit(draw_variants(scene, 1, source)[0], source).camera.aperture for _ in range(300)]
    counts = Counter(aperture.blades for aperture in apertures)
    assert set(counts) == {0, 5, 8}
    assert min(counts.values()) > 70
    assert all(aperture.rotation == 0 for aperture in apertures if aperture.blades == 0)
    assert 0 <= min(aperture.cat_eye for aperture in apertures) < 0.05
    assert 0.55 < max(aperture.cat_eye for aperture in apertures) <= 0.6
    for wrong in (((2,), 0.0), ((6,), 1.5)):
        with pytest.raises(ValueError, match="aperture"):
            Openings(*wrong)


def test_aperture_and_mode_reach_the_pictures(scene: Scene) -> None:
    """From the settings of a simulation to the stored picture and its record."""
    rendering = Rendering(3, gamma=2.2, mode="occlusion", openings=Openings((6,), 0.5))
    rendered = rendering.complete(scene, 0)
    decoded = decode_scene("a", encode_scene(rendered, "png"))
    for variant, stored in zip(rendered.variants, decoded.variants, strict=True):
        assert stored.camera == variant.camera
        assert variant.camera.aperture.blades == 6
        expected = render_bokeh(
            scene.image[None],
            scene.disparity[None],
            torch.tensor([variant.focus_disparity]),
            torch.tensor([variant.camera.bokeh * 48 / 512]),
            2.2,
            aperture=variant.camera.aperture,
            mode="occlusion",
        )[0]
        torch.testing.assert_close(stored.image, expected.clamp(0, 1), atol=0.51 / 255, rtol=0)
    assert rendering.describe()["openings"] == {"blades": (6,), "cat_eye": 0.5}
    plain = Rendering(3)
    assert {"mode", "openings"} & plain.describe().keys() == set()
    assert [v.camera.focus for v in plain.complete(scene, 0).variants] == [v.camera.focus for v in rendered.variants]


def test_a_scene_keeps_pictures_of_its_own(scene: Scene) -> None:
    own = replace(scene, variants=(Variant(Camera((0.5, 0.5), 3.0), 0.2, torch.zeros(3, 48, 64)),))
    assert Rendering(5).complete(own, 0) is own


simulate = partial(run_command, command)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Random weights in files of the released layout."""
    folder = tmp_path / "release"
    folder.mkdir()
    torch.manual_seed(0)
    for name, network in (("arnet.pth", ARNet()), ("iunet.pth", IUNet())):
        torch.save({"model": network.state_dict()}, folder / name)
    return folder


def test_renditions_are_the_networks(release: Path, tmp_path: Path) -> None:
    """What ``diffcam simulate --mode bokehme`` stores is what the networks make of the stored scene."""
    simulate(*PROCEDURAL, "--variants", 2, "--mode", "bokehme", "--bokehme", release, "--output", tmp_path / "out")
    (scene,) = read_shard(tmp_path / "out" / "scenes-000000.tar")
    network = BokehMe.from_pretrained(release)
    for variant in scene.variants:
        plane, radius = torch.tensor([variant.focus_disparity]), torch.tensor([variant.camera.bokeh * 64 / 512])
        expected = network(scene.image[None], scene.disparity[None], plane, radius, 4.0)[0]
        assert variant.image is not None
        # the scene itself was stored with 8 bits
        assert (variant.image - expected).abs().max() < 0.02
        assert (variant.image - scene.image).abs().max() > 0.1


def test_other_weights_are_other_settings(release: Path, tmp_path: Path) -> None:
    options = (*PROCEDURAL, "--variants", 1, "--mode", "bokehme", "--output", tmp_path / "out", "--bokehme")
    simulate(*options, release)
    manifest = tmp_path / "out" / "scenes.json"
    assert len(json.loads(manifest.read_text())["settings"]["rendering"]["network"]) == 64
    moved = release.rename(tmp_path / "elsewhere")
    simulate(*options, moved)  # the same weights: nothing to do
    torch.save({"model": ARNet().state_dict()}, moved / "arnet.pth")
    other = moved.rename(tmp_path / "other")
    with pytest.raises(DiffcamError, match=r"other settings \(rendering\.network"):
        simulate(*options, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--variants", 1, "--mode", "bokehme"), r"--bokehme FOLDER, with its arnet\.pth and iunet\.pth"),
        (("--variants", 1, "--bokehme", "release"), "--mode bokehme and --bokehme"),
        (("--variants", 1, "--mode", "bokehme", "--bokehme", "none"), r"arnet\.pth not found: .*arnet.pth and iunet"),
        (("--mode", "bokehme", "--bokehme", "release"), "--variants"),
        (("--variants", 1, "--mode", "bokehme", "--bokehme", "release", "--blades", 6), "--blades"),
    ],
)
def test_what_is_missing_is_one_line(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[object, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DiffcamError, match=message) as caught:
        simulate(*PROCEDURAL, *options, "--output", "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
