"""Ray-traced scenes, with the real Mitsuba."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from diffcam.camera import ThinLens
from diffcam.commands import simulate as command
from diffcam.data.shards import read_shard
from diffcam.errors import DiffcamError
from diffcam.kernels import render_bokeh
from diffcam.simulation.draws import Draws
from diffcam.simulation.raytraced.materials import lamp, matte
from diffcam.simulation.raytraced.meshes import crate, vase, wall
from diffcam.simulation.raytraced.raytracer import Ball, Mesh, Part, RayTracer, View, choose_variant
from diffcam.simulation.raytraced.source import DepthRange, RaytracedSource, develop, exposure
from diffcam.simulation.raytraced.staging import draw_staging
from diffcam.simulation.textures.procedural import ProceduralTextures
from tests.command import run_command

VARIANT = "scalar_rgb"


@pytest.fixture(autouse=True)
def _mitsuba() -> None:
    pytest.importorskip("mitsuba", reason="ray tracing needs the extra raytrace")


def picture(colours: list[list[int]]) -> np.ndarray:
    """Two by two squares of grey levels."""
    return np.kron(np.array(colours, np.uint8), np.ones((8, 8), np.uint8))[..., None].repeat(3, -1)


@pytest.mark.parametrize(("depth", "focus_disparity"), [(1.5, 0.1), (6.0, 0.9)])
def test_disc_of_a_bright_point_has_the_radius_of_the_formula(depth: float, focus_disparity: float) -> None:
    """The second moment of a uniform disc is R^2 / 2; those of the lamp's own disc and of a square pixel add to it."""
    size, framing, near, far, level = 72, 1.2, 1.0, 10.0, 180.0
    lens = ThinLens.of_bokeh(level, focus_disparity, near, far, 24 * framing)
    assert lens.bokeh(near, far) == pytest.approx(level)
    source_radius = 1.0
    bulb = Part(Ball((0, 0, -depth), source_radius * depth / (size * framing)), lamp((1.0, 1.0, 1.0)))
    tracer = RayTracer([bulb], 0.0, VARIANT)
    light = tracer.photograph(View((size, size), framing), lens, 512, 0).mean(-1)
    offset = np.arange(size) + 0.5 - size / 2
    moment = (light * (offset[:, None] ** 2 + offset**2)).sum() / light.sum()
    measured = math.sqrt(2 * (moment - source_radius**2 / 2 - 1 / 6))
    disparity = (1 / depth - 1 / far) / (1 / near - 1 / far)
    expected = level * size / 512 * abs(disparity - focus_disparity)
    assert expected > 10
    assert measured == pytest.approx(expected, rel=0.02)


def test_depth_is_along_the_axis_and_pictures_are_upright() -> None:
    """A wall square to the axis has one depth up to its corners; a ball's front is a radius before its centre."""
    half = wall(4.0, 3.0, 3.0, 0.0)
    parts = [Part(half, matte(picture([[250, 60], [120, 0]]))), Part(Ball((0, 0, -3.0), 0.5), matte(picture([[9]])))]
    tracer, view = RayTracer(parts, 1.0, VARIANT), View((33, 33), 1.0)
    depth = tracer.depth(view)
    np.testing.assert_allclose(depth[[0, 0, -1, -1], [0, -1, 0, -1]], 4.0, rtol=1e-5)
    assert depth[16, 16] == pytest.approx(2.5, abs=1e-2)
    light = tracer.photograph(view, None, 16, 0).mean(-1)
    assert light[3, 3] > light[-3, 3] > 2 * light[3, -3] > 2 * light[-3, -3]


def test_a_frame_that_is_not_filled_is_refused() -> None:
    tracer = RayTracer([Part(Ball((0, 0, -3.0), 0.5), matte(picture([[9]])))], 1.0, VARIANT)
    with pytest.raises(DiffcamError, match="fill its frame"):
        tracer.depth(View((8, 8), 1.0))


def test_disparity_is_inverse_depth() -> None:
    depth = np.array([[1.0, 2.0, 4.0]], np.float32)
    torch.testing.assert_close(DepthRange.of(depth).disparity(depth), torch.tensor([[[1.0, 1 / 3, 0.0]]]))


def closed_volume(mesh: Mesh) -> float:
    """Volume inside a closed mesh, whichever way its faces turn."""
    corner = mesh.vertices[mesh.faces]
    return abs(float((corner[:, 0] * np.cross(corner[:, 1], corner[:, 2])).sum() / 6))


def test_meshes_have_their_size() -> None:
    mesh = crate((1.0, 2.0, -3.0), (0.5, 0.7, 0.4), 0.3)
    assert mesh.vertices[:, 1].min() == 2.0
    assert mesh.vertices[:, 1].max() == 2.7
    across = mesh.vertices[:, [0, 2]] - np.array([1.0, -3.0])
    assert np.hypot(*across.T) == pytest.approx(math.hypot(0.25, 0.2))
    tube = vase((0.0, 0.0, -2.0), 1.0, np.full(5, 0.3))
    ring = 0.5 * 40 * math.sin(2 * math.pi / 40)  # area of the polygon that stands for a circle of radius 1
    assert closed_volume(tube) == pytest.approx(
        0.3**2 * ring * 2 / 3, rel=1e-6
    )  # a cylinder's mantle seen from its middle


def test_stagings_are_repeatable_and_sound() -> None:
    stagings = [draw_staging(Draws("test", 3, i), ProceduralTextures(), (40, 56)) for i in (0, 1, 2, 0)]
    meshes = [[part.shape for part in staging.parts if isinstance(part.shape, Mesh)] for staging in stagings]
    for one, other in zip(meshes[0], meshes[3], strict=True):
        np.testing.assert_array_equal(one.vertices, other.vertices)
    assert not np.array_equal(meshes[0][-1].vertices, meshes[1][-1].vertices)
    for mesh in itertools.chain(*meshes):
        assert np.isfinite(mesh.vertices).all()
        assert len(mesh.places) == len(mesh.vertices)
        assert 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices)


def test_scene_brings_its_lens_pictures() -> None:
    source = RaytracedSource(ProceduralTextures(), 4, VARIANT, size=(32, 40), seed=5, renditions=2, samples=4)
    scene, again = source.scene(1), source.scene(1)
    assert (scene.key, scene.source, scene.kind) == ("000001", "raytraced", "ai")
    assert scene.image.shape == (3, 32, 40)
    assert (float(scene.disparity.min()), float(scene.disparity.max())) == (0, 1)
    assert len(scene.variants) == 2
    for variant, repeated in zip(scene.variants, again.variants, strict=True):
        torch.testing.assert_close(variant.image, repeated.image, rtol=0, atol=0)
        assert float((variant.image - scene.image).abs().mean()) > 0.005
    assert not torch.equal(source.scene(2).image, scene.image)


@pytest.mark.slow
def test_occlusion_mode_is_nearer_to_the_lens_than_the_classical_one() -> None:
    """Two scenes; the whole comparison is benchmarks/lens_truth.py."""
    size, errors = (96, 96), {"classical": 0.0, "occlusion": 0.0}
    for index in (0, 1):
        staging = draw_staging(Draws("truth", index), ProceduralTextures(), size)
        tracer, view = RayTracer(staging.parts, staging.sky, VARIANT), staging.view
        depth, light = tracer.depth(view), tracer.photograph(view, None, 32, 0)
        between, scale = DepthRange.of(depth), exposure(light)
        lens = between.lens(64.0, 0.8, view.framing)
        truth = develop(tracer.photograph(view, lens, 64, 1) * scale)
        image = torch.from_numpy(light * scale).permute(2, 0, 1)[None] ** (1 / 2.2)
        for mode in errors:
            bokeh, focus = torch.tensor([64.0 * 96 / 512]), torch.tensor([0.8])
            rendered = render_bokeh(image, between.disparity(depth)[None], focus, bokeh, 2.2, mode=mode)
            errors[mode] += float((rendered[0].clamp(0, 1) - truth).square().mean())
    assert 10 * math.log10(errors["classical"] / errors["occlusion"]) > 1.5


def simulate(*arguments: object) -> None:
    assert run_command(command, *arguments) == 0


@pytest.mark.slow
def test_command_gives_the_same_bytes_with_any_workers(photo_folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("DRJIT_LIBLLVM_PATH", raising=False)
    for workers in (1, 2):
        simulate(photo_folder, "--source", "raytraced", "--scenes", 3, "--variants", 2, "--size", "64x80", "--samples",
                 4, "--scenes-per-shard", 2, "--workers", workers, "--output", tmp_path / str(workers))  # fmt: skip
    hashes = [
        [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / str(workers)).glob("*.tar"))]
        for workers in (1, 2)
    ]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 2
    scenes = list(read_shard(tmp_path / "1" / "scenes-000000.tar"))
    assert [len(scene.variants) for scene in scenes] == [2, 2]
    assert all(variant.image is not None for scene in scenes for variant in scene.variants)


def test_variant_that_needs_nothing_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRJIT_LIBLLVM_PATH", raising=False)
    assert choose_variant() == "scalar_rgb"


def test_llvm_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    """In a process of its own: the library is looked for once."""
    code = "from diffcam.simulation.raytraced.raytracer import choose_variant; choose_variant()"
    environment = {**os.environ, "DRJIT_LIBLLVM_PATH": str(tmp_path / "libLLVM.so")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "DiffcamError: DRJIT_LIBLLVM_PATH=" in run.stderr
