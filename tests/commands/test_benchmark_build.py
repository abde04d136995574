"""Building an edition: sources kept apart, the same input the same bytes, points by hand."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from diffcam.benchmark import DepthRenderer, Edition
from diffcam.benchmark.glass import add_pane
from diffcam.benchmark.scenes import BenchmarkRendering, read_points
from diffcam.benchmark.setup import read_setup
from diffcam.commands.benchmark import DEFAULT_SETUP
from diffcam.commands.benchmark_build import add_build_arguments, build
from diffcam.data import BokehRenderer, Scene, read_shard
from diffcam.errors import DiffcamError
from diffcam.simulation.jobs.writer import ShardJob, make_shard
from diffcam.simulation.variants import draw_benchmark_samples


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Two camera photos, one phone photo, with maps of two depths and a slope between."""
    folder = tmp_path_factory.mktemp("photos")
    images = {"camera/astronaut": data.astronaut(), "camera/coffee": data.coffee(), "phone/cat": data.chelsea()}
    for name, image in images.items():
        photo, disparity = folder / f"{name}.png", folder / "maps" / f"{name}.npy"
        photo.parent.mkdir(exist_ok=True)
        disparity.parent.mkdir(parents=True, exist_ok=True)
        cut = image[:160, 100:340]
        Image.fromarray(cut).save(photo)
        slope = np.tile(np.linspace(0, 1, 240, dtype=np.float32), (160, 1))
        slope[:40] = 0.1
        np.save(disparity, slope)
    return folder


def run_build(photos: Path, output: Path, *options: str) -> None:
    parser = argparse.ArgumentParser()
    add_build_arguments(parser)
    folders = [
        "--camera",
        str(photos / "camera"),
        "--phone",
        str(photos / "phone"),
        "--disparity",
        str(photos / "maps"),
    ]
    common = ["--output", str(output), "--size", "96", "--threshold", "0", "--quality", "0"]
    build(parser.parse_args([*folders, *common, *options]))


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.tar"))}


def test_sources_are_kept_apart(photos, tmp_path) -> None:
    run_build(photos, tmp_path)
    found = hashes(tmp_path)
    assert list(found) == ["benchmark-camera-000000.tar", "benchmark-phone-000000.tar"]
    manifest = json.loads((tmp_path / "benchmark-camera.json").read_text())
    assert manifest["shards"][0]["sha256"] == found["benchmark-camera-000000.tar"]
    scenes = list(read_shard(tmp_path / "benchmark-camera-000000.tar"))
    assert [scene.metadata["photo"] for scene in scenes] == ["astronaut.png", "coffee.png"]
    assert all(scene.source == "camera" and scene.image.shape == (3, 96, 96) for scene in scenes)
    for scene in scenes:
        subtasks = [sample.subtask for sample in scene.samples]
        assert subtasks == ["refocus"] * 2 + ["add_bokeh"] * 4 + ["remove_bokeh"] * 4
        assert len({sample.camera.bokeh for sample in scene.samples if sample.subtask == "add_bokeh"}) == 4
        assert len({sample.camera.focus for sample in scene.samples if sample.subtask == "add_bokeh"}) == 1
        first, second = scene.variants[:2]
        assert abs(first.focus_disparity - second.focus_disparity) >= 0.25, "two clearly different depths"


def test_the_same_input_gives_the_same_bytes(photos, tmp_path) -> None:
    for name in ("one", "two"):
        run_build(photos, tmp_path / name)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    run_build(photos, tmp_path / "other", "--seed", "1")
    assert hashes(tmp_path / "other") != hashes(tmp_path / "one")


def test_stored_targets_are_those_that_are_rendered(photos, tmp_path) -> None:
    run_build(photos, tmp_path / "stored", "--gamma", "2.2")
    run_build(photos, tmp_path / "described", "--gamma", "2.2", "--described")
    stored, described = (
        Edition([str(tmp_path / name / "*.tar")], 96, BokehRenderer(gamma=2.2)) for name in ("stored", "described")
    )
    assert len(stored.samples) == len(described.samples) == 30
    for number in (0, 4, 8, 29):
        # described ones see the disparity's 16 bits, stored ones were rendered before it was written
        torch.testing.assert_close(stored[number].targets, described[number].targets, atol=2.5 / 255, rtol=0)
    assert next(iter(read_shard(tmp_path / "described" / "benchmark-phone-000000.tar"))).variants[0].image is None


@pytest.mark.parametrize("targets", [[], ["--described"]])
def test_an_edition_of_another_gamma_is_refused(photos, tmp_path, targets) -> None:
    """Stored targets would be compared with renderings of another light, described ones made in it."""
    run_build(photos, tmp_path, "--gamma", "4", *targets)
    reason = "benchmark-camera-000000/000000: made with gamma 4.0, but the renderer has 2.2: set gamma to 4.0"
    with pytest.raises(DiffcamError, match=re.escape(reason)):
        Edition([str(tmp_path / "*.tar")], 96, BokehRenderer(gamma=2.2))
    with pytest.raises(DiffcamError, match=r"absent-\*\.tar"):
        Edition([str(tmp_path / "absent-*.tar")])
    assert len(Edition([str(tmp_path / "*.tar")], 96, BokehRenderer(gamma=4.0)).scenes()) == 3


def test_what_is_built_by_default_runs_with_the_shipped_config(photos, tmp_path) -> None:
    run_build(photos, tmp_path)
    edition = read_setup(DEFAULT_SETUP).edition([str(tmp_path / "*.tar")], 96, "exact")
    assert len(edition.scenes()) == 3


def test_lens_pictures_are_of_a_displays_gamma() -> None:
    """No renderer made them: what is recorded is what they were developed with."""
    scene = draw_benchmark_samples(
        Scene("0", torch.rand(3, 8, 8), torch.linspace(0, 1, 64).view(1, 8, 8), "raytraced", "photo"),
        torch.Generator().manual_seed(0),
    )
    assert BenchmarkRendering(gamma=4.0, size=0).complete(scene, 0).metadata["gamma"] == 2.2


@pytest.mark.parametrize(
    ("brought", "described", "pictures"), [(6, True, 7), (6, False, 7), (0, True, 1), (0, False, 7)]
)
def test_the_pictures_of_a_shard_are_counted(tmp_path, brought: int, described: bool, pictures: int) -> None:
    """Those that a scene brings are kept, whatever is stored of others."""
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    scene = Scene("0", image, torch.linspace(0, 1, 256).view(1, 16, 16), "raytraced", "photo")
    drawn = draw_benchmark_samples(scene, torch.Generator().manual_seed(0)).variants
    scene = replace(scene, variants=tuple(replace(variant, image=image) for variant in drawn[:brought]))
    rendering = BenchmarkRendering(size=0, described=described, image_format="png")
    source: Any = SimpleNamespace(scene=lambda index: scene)
    record = make_shard(ShardJob(tmp_path / "a.tar", source, rendering, start=0, stop=1))
    with tarfile.open(tmp_path / "a.tar") as shard:
        stored = sum(name.endswith(".png") and "disparity" not in name for name in shard.getnames())
    assert record.images == stored == pictures


def test_points_by_hand(photos, tmp_path) -> None:
    points = tmp_path / "points.json"
    entry = {"refocus": [[0.4, 0.5, 6], [0.6, 0.6, 12]], "add_bokeh": {"focus": [0.5, 0.5], "levels": [2, 7, 11, 18]}}
    points.write_text(json.dumps({"coffee.png": entry}))
    run_build(photos, tmp_path, "--points", str(points))
    astronaut, coffee = read_shard(tmp_path / "benchmark-camera-000000.tar")
    # the central square of a 240 x 160 photo starts at column 40
    assert coffee.variants[0].camera.focus == pytest.approx(((0.4 * 240 - 40) / 160, 0.5))
    assert [variant.camera.bokeh for variant in coffee.variants] == [6, 12, 2, 7, 11, 18]
    assert coffee.samples[0].camera == coffee.variants[1].camera
    row, column = (int(value * 96) for value in reversed(coffee.variants[0].camera.focus))
    assert coffee.variants[0].focus_disparity == pytest.approx(float(coffee.disparity[0, row, column]), abs=1e-4)
    assert astronaut.variants[0].camera.bokeh != 6


def test_points_of_no_photo_are_named(photos, tmp_path) -> None:
    """A misspelt name would leave its photo to the draw, unnoticed; photos that are left out by hand are no mistake."""
    points = tmp_path / "points.json"
    entry = {"refocus": [[0.4, 0.5, 6], [0.6, 0.6, 12]]}
    points.write_text(json.dumps({"cofee.png": entry, "cat.png": entry, "Astronaut.png": entry}))
    with pytest.raises(DiffcamError, match=r"--points .*: no photo .* is called cofee.png, Astronaut.png$"):
        run_build(photos, tmp_path / "out", "--points", str(points))
    assert not (tmp_path / "out").exists(), "nothing is made before"
    points.write_text(json.dumps({"coffee.png": entry, "cat.png": entry}))
    run_build(photos, tmp_path / "out", "--points", str(points), "--scenes", "1")


def test_a_point_outside_of_the_square_is_reported(photos, tmp_path, capsys) -> None:
    points = tmp_path / "points.json"
    points.write_text(json.dumps({"coffee.png": {"refocus": [[0.05, 0.5, 6], [0.6, 0.6, 12]]}}))
    run_build(photos, tmp_path, "--points", str(points))
    assert "coffee.png: the focus point (0.05, 0.5) lies outside" in capsys.readouterr().err
    assert len(list(read_shard(tmp_path / "benchmark-camera-000000.tar"))) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "one entry a photo"),
        ('{"a.png": {"refocus": [[0.1, 0.2, 3]]}}', "two different points"),
        ('{"a.png": {"refocus": [[0.1, 0.2, 3], [1.5, 0.2, 3]]}}', "a.png: not points and levels"),
        ('{"a.png": {"add_bokeh": {"focus": [0.5, 0.5], "levels": [1, 1, 2, 3]}}}', "four different levels"),
    ],
)
def test_wrong_points_are_named(tmp_path, content, reason) -> None:
    path = tmp_path / "points.json"
    path.write_text(content)
    with pytest.raises(DiffcamError, match=reason):
        read_points(path)


def test_layered_scenes(photos, tmp_path) -> None:
    parser = argparse.ArgumentParser()
    add_build_arguments(parser)
    options = [
        "--layered",
        str(photos / "camera"),
        "--scenes",
        "2",
        "--size",
        "96",
        "--described",
        "--output",
        str(tmp_path),
    ]
    build(parser.parse_args(options))
    assert len(list(read_shard(tmp_path / "benchmark-layered-000000.tar"))) == 2


def test_glass(photos, tmp_path) -> None:
    """The map that methods are given shows the pane; ground truth blurs what is behind it."""
    parser = argparse.ArgumentParser()
    add_build_arguments(parser)
    options = ["--glass", str(photos / "camera"), "--scenes", "1", "--size", "96", "--quality", "0"]
    build(parser.parse_args([*options, "--output", str(tmp_path), "--gamma", "2.2"]))
    shard = tmp_path / "benchmark-glass-000000.tar"
    scene = next(iter(read_shard(shard)))
    assert scene.source == "glass"
    edition = Edition([str(shard)], 96, BokehRenderer(gamma=2.2))
    sample = edition[5]
    assert sample.subtask == "add_bokeh"
    assert torch.isnan(sample.exact_disparity).all(), "no metric takes the pane's map for the exact one"
    fooled = DepthRenderer(BokehRenderer(gamma=2.2))(sample)
    assert float((fooled - sample.targets[0]).abs().mean()) > 0.005


def test_pane() -> None:
    image, disparity = torch.full((3, 80, 100), 0.5), torch.linspace(0, 0.5, 100).expand(1, 80, 100).contiguous()
    behind_glass, behind, seen = add_pane(image, disparity, torch.Generator().manual_seed(3))
    pane, frame = seen != disparity, behind != disparity
    assert 0.1 < pane.float().mean() < 0.4
    assert len(seen[pane].unique()) == 1
    assert float(seen[pane][0]) > float(disparity[pane].max())
    assert (pane | ~frame).all(), "the frame is part of the pane"
    assert torch.equal(behind_glass[:, ~pane[0]], image[:, ~pane[0]])
    through = (pane & ~frame)[0]
    assert float((behind_glass - image)[:, through].min()) >= 0
    assert float((behind_glass - image)[:, through].max()) < 0.1


def test_nothing_to_build(tmp_path) -> None:
    parser = argparse.ArgumentParser()
    add_build_arguments(parser)
    with pytest.raises(DiffcamError, match="name at least one folder"):
        build(parser.parse_args(["--output", str(tmp_path)]))


@pytest.mark.slow
def test_ray_traced_targets_are_lens_pictures(photos, tmp_path) -> None:
    """Stored as the lens took them, the same bytes again, and nearer to the renderer than the sharp image is."""
    pytest.importorskip("mitsuba")
    parser = argparse.ArgumentParser()
    add_build_arguments(parser)
    options = [
        "--raytraced",
        str(photos / "camera"),
        "--scenes",
        "1",
        "--samples",
        "16",
        "--size",
        "64",
        "--quality",
        "0",
    ]
    for name in ("one", "two"):
        build(parser.parse_args([*options, "--gamma", "2.2", "--output", str(tmp_path / name)]))
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    edition = Edition([str(tmp_path / "one" / "benchmark-raytraced-*.tar")], 64, BokehRenderer(gamma=2.2))
    assert [len(scene.numbers) for scene in edition.scenes()] == [10]
    strongest = edition[5]
    assert (strongest.source, strongest.subtask) == ("raytraced", "add_bokeh")
    assert torch.equal(strongest.reference, strongest.all_in_focus)
    rendered = DepthRenderer(BokehRenderer(gamma=2.2))(strongest)
    assert not torch.equal(rendered, strongest.targets[0])
    errors = [float((picture - strongest.targets[0]).abs().mean()) for picture in (rendered, strongest.reference)]
    assert errors[0] < errors[1]
