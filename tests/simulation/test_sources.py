"""Sources other than plain folders: bursts, pictures of prompts, estimated disparity."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam.commands import simulate as command
from diffcam.data.shards import read_shard
from diffcam.errors import DiffcamError
from diffcam.simulation.layered.scenes import LayeredSource
from diffcam.simulation.photographed.development import Development, EstimatedDisparity
from diffcam.simulation.photographed.generated import GeneratedSource, read_prompts
from diffcam.simulation.photographed.source import merged_results
from diffcam.simulation.textures.photos import PhotoFolder, check_photos, list_photos
from tests.command import run_command
from tests.depth import write_depth_folder

simulate = partial(run_command, command)


@pytest.fixture(scope="module")
def depth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Depth Anything with random weights, saved as the hub's are."""
    return write_depth_folder(tmp_path_factory.mktemp("depth"))


@pytest.fixture
def burst_folder(tmp_path: Path) -> Path:
    """Three bursts: one merged twice, one merged once, one never merged."""
    generator = np.random.default_rng(1)
    root = tmp_path / "20171106"
    for burst, frames in (("0006_1", 3), ("0006_2", 5), ("33TJ_3", 2)):
        (root / "bursts" / burst).mkdir(parents=True)
        for frame in range(frames):
            (root / "bursts" / burst / f"payload_N{frame:03d}.dng").write_bytes(b"raw")
    for date, burst in (("20161014", "0006_1"), ("20171023", "0006_1"), ("20161014", "33TJ_3")):
        folder = root / f"results_{date}" / burst
        folder.mkdir(parents=True)
        Image.fromarray(generator.integers(0, 255, (90, 120, 3), dtype=np.uint8)).save(folder / "final.jpg")
        (folder / "merged.dng").write_bytes(b"raw")
    return root


def test_bursts_take_the_newest_merged_result(burst_folder: Path) -> None:
    assert [path.relative_to(burst_folder).as_posix() for path in merged_results(burst_folder)] == [
        "results_20171023/0006_1/final.jpg",
        "results_20161014/33TJ_3/final.jpg",
    ]
    with pytest.raises(DiffcamError, match="results_DATE"):
        merged_results(burst_folder / "bursts")


def test_bursts_with_estimated_disparity(burst_folder: Path, depth_folder: Path, tmp_path: Path) -> None:
    simulate(burst_folder, "--source", "hdrplus", "--depth-model", depth_folder, "--output", tmp_path / "out",
             "--size", 64, "--workers", 1)  # fmt: skip
    first, second = read_shard(tmp_path / "out" / "scenes-000000.tar")
    assert first.metadata["burst"] == "0006_1"
    assert first.metadata["frames"] == 3
    assert second.metadata["frames"] == 2
    for scene in (first, second):
        assert scene.source == "phone"
        assert scene.kind == "photo"
        assert scene.image.shape == (3, 64, 85)
        assert scene.disparity.min() == 0
        assert scene.disparity.max() == 1
    settings = json.loads((tmp_path / "out" / "scenes.json").read_text())["settings"]
    assert settings["source"]["model"] == str(depth_folder)


@dataclass(frozen=True)
class _Photographer:
    """Noise of the asked size by prompt and seed, blurred where the prompt says so."""

    def __call__(self, prompt: str, seed: int, size: tuple[int, int]) -> torch.Tensor:
        image = torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))
        return torch.nn.functional.avg_pool2d(image, 9, 1, 4) * 4 % 1 if "soft" in prompt else image

    def describe(self) -> dict[str, str]:
        return {"model": "noise"}


def _left_is_near(image_B3HW: torch.Tensor) -> torch.Tensor:
    return torch.linspace(1, 0, image_B3HW.shape[3]).expand(len(image_B3HW), 1, image_B3HW.shape[2], -1)


def test_generated_pictures_record_prompt_and_seed() -> None:
    development = Development(EstimatedDisparity(_left_is_near), source="ai", kind="ai")
    source = GeneratedSource(("a cat", "a dog"), 5, _Photographer(), development=development, size=(64, 96), seed=2)
    scenes = [source.scene(index) for index in range(len(source))]
    assert [scene.metadata["prompt"] for scene in scenes] == ["a cat", "a dog"] * 2 + ["a cat"]
    assert [scene.metadata["seed"] for scene in scenes] == [2_000_000 + index for index in range(5)]
    assert torch.equal(scenes[2].image, _Photographer()("a cat", 2_000_002, (64, 96)))
    assert torch.equal(scenes[0].disparity[0, 0], torch.linspace(1, 0, 96))
    assert {scene.kind for scene in scenes} == {"ai"}


def test_prompts_are_lines(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("# kinds\n\n a cat \nein Hund über dem Zaun\n", encoding="utf-8")
    assert read_prompts(tmp_path / "prompts.txt") == ("a cat", "ein Hund über dem Zaun")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name, reason in (("empty", "no prompt"), ("binary", "cannot be read"), ("missing", "cannot be read")):
        with pytest.raises(DiffcamError, match=reason):
            read_prompts(tmp_path / f"{name}.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--source", "flux"), "--prompts"),
        (("--source", "flux", "--prompts", "p.txt", "--size", "100"), "multiples of 16"),
        (("--source", "flux", "--prompts", "p.txt"), "--depth-model"),
        (("--source", "hdrplus"), "bursts"),
        ((".", "--source", "camera"), "--depth-model"),
        ((".", "--source", "camera", "--disparity", "none"), "no such folder"),
    ],
)
def test_what_a_source_needs_is_said_in_one_line(tmp_path: Path, monkeypatch, options, message) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.txt").write_text("a cat")
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    with pytest.raises(DiffcamError, match=message) as caught:
        simulate(*options, "--output", "out")
    assert "\n" not in str(caught.value)


def test_layered_source_goes_to_workers_without_its_photos(photo_folder: Path) -> None:
    whole, damaged = check_photos(list_photos(photo_folder))
    assert len(whole) == 4
    assert [("small.png" in line) or ("damaged.jpg" in line) for line in damaged] == [True, True]
    source = LayeredSource(PhotoFolder(photo_folder, whole, 128), 3, (64, 64))
    before = source.scene(1)
    packed = pickle.dumps(source)
    assert len(packed) < 5000
    copy = pickle.loads(packed)  # noqa: S301 - made here
    assert torch.equal(copy.scene(1).image, before.image)
    assert copy.describe() == source.describe()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--blades", "6"), "--variants"),
        (("--variants", "2", "--blades", "2"), "blades"),
        (("--variants", "2", "--cat-eye", "1.5"), "cat_eye"),
    ],
)
def test_apertures_that_make_no_sense_are_refused(tmp_path: Path, options, message) -> None:
    with pytest.raises(DiffcamError, match=message):
        simulate("--source", "procedural", *options, "--scenes", 1, "--output", tmp_path / "out")


def test_apertures_and_mode_reach_the_shard(tmp_path: Path) -> None:
    simulate("--source", "procedural", "--scenes", 1, "--size", 64, "--variants", 3, "--blades", 0, 7, "--cat-eye", 0.4,
             "--mode", "occlusion", "--workers", 1, "--output", tmp_path / "out")  # fmt: skip
    (scene,) = read_shard(tmp_path / "out" / "scenes-000000.tar")
    assert {variant.camera.aperture.blades for variant in scene.variants} <= {0, 7}
    assert all(0 < variant.camera.aperture.cat_eye <= 0.4 for variant in scene.variants)
    settings = json.loads((tmp_path / "out" / "scenes.json").read_text())["settings"]["rendering"]
    assert (settings["mode"], settings["openings"]) == ("occlusion", {"blades": [0, 7], "cat_eye": 0.4})
