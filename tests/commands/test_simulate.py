"""``diffcam simulate``: the same bytes whatever the workers, restart after a kill, damaged photos named."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from diffcam.commands import simulate as command
from diffcam.data.rendering import BokehRenderer
from diffcam.data.shards import read_shard, write_shard
from diffcam.errors import DiffcamError
from diffcam.photo import WRITABLE_SUFFIXES
from diffcam.simulation.photographed import review
from diffcam.simulation.photographed.all_in_focus import Sharpness
from diffcam.simulation.photographed.review import REVIEW_PHOTOS, write_review
from tests.command import run_command

LAYERED = ("--size", "96", "--scenes", "6", "--scenes-per-shard", "2", "--variants", "2", "--quality", "90")

simulate = partial(run_command, command)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.tar"))}


@pytest.fixture(scope="module")
def simulated(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six layered scenes in three shards, made by one worker."""
    output = tmp_path_factory.mktemp("one")
    assert simulate(photo_folder, "--output", output, *LAYERED, "--workers", 1) == 0
    return output


def test_shards_hold_what_was_asked_for(simulated: Path) -> None:
    scenes = [scene for path in sorted(simulated.glob("*.tar")) for scene in read_shard(path)]
    assert [scene.key for scene in scenes] == [f"{number:06d}" for number in range(6)]
    for scene in scenes:
        assert scene.image.shape == (3, 96, 96)
        assert len(scene.variants) == 2
        assert all(variant.image is not None for variant in scene.variants)
        assert scene.source == "layered"
        assert scene.kind == "photo"


def test_manifest_counts_and_hashes(simulated: Path) -> None:
    manifest = json.loads((simulated / "scenes.json").read_text())
    assert manifest["counts"] == {
        "scenes": 6,
        "images": 18,
        "bytes": sum(path.stat().st_size for path in simulated.glob("*.tar")),
    }
    assert {shard["name"]: shard["sha256"] for shard in manifest["shards"]} == hashes(simulated)
    assert manifest["settings"]["rendering"]["variants"] == 2


def test_bytes_do_not_depend_on_the_number_of_workers(photo_folder: Path, simulated: Path, tmp_path: Path) -> None:
    simulate(photo_folder, "--output", tmp_path, *LAYERED, "--workers", 2)
    assert hashes(tmp_path) == hashes(simulated)
    assert (tmp_path / "scenes.json").read_text() == (simulated / "scenes.json").read_text()


def test_photos_that_cannot_be_used_are_named(photo_folder: Path, tmp_path: Path, capsys) -> None:
    simulate(photo_folder, "--output", tmp_path, "--size", 64, "--scenes", 1, "--workers", 1)
    lines = capsys.readouterr().err.splitlines()
    assert sum("left out" in line and "damaged.jpg" in line for line in lines) == 1
    assert sum("left out" in line and "small.png" in line for line in lines) == 1
    assert not any("notes.txt" in line for line in lines)


def test_what_is_made_is_not_made_again_and_what_is_missing_is(photo_folder: Path, simulated: Path, capsys) -> None:
    before = hashes(simulated)
    kept = simulated / "scenes-000000.tar"
    modified = kept.stat().st_mtime_ns
    (simulated / "scenes-000001.tar").unlink()
    with open(simulated / "scenes-000002.tar", "r+b") as file:
        file.truncate(700)
    for name in ("scenes.json", "scenes-000001.tar"):  # what a run leaves that is killed while it writes
        (simulated / f".{name}.0123abcd.unfinished").write_text("{")
    simulate(photo_folder, "--output", simulated, *LAYERED, "--workers", 1)
    assert hashes(simulated) == before
    assert kept.stat().st_mtime_ns == modified
    assert not list(simulated.glob(".*"))
    assert "1 of 3 shards are made already" in capsys.readouterr().err


def test_bytes_that_changed_are_found_where_asked(photo_folder: Path, simulated: Path, tmp_path: Path, capsys) -> None:
    for path in simulated.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    changed = tmp_path / "scenes-000001.tar"
    data = bytearray(changed.read_bytes())
    data[5000] ^= 1
    changed.write_bytes(data)
    place = (photo_folder, "--output", tmp_path, *LAYERED, "--workers", 1)
    simulate(*place)
    assert "3 of 3 shards are made already" in capsys.readouterr().err
    simulate(*place, "--verify")
    assert "2 of 3 shards are made already" in capsys.readouterr().err
    assert hashes(tmp_path) == hashes(simulated)


def test_other_settings_are_refused_and_forced(photo_folder: Path, tmp_path: Path) -> None:
    place = (photo_folder, "--output", tmp_path, "--size", 64, "--workers", 1)
    simulate(*place, "--scenes", 2, "--scenes-per-shard", 1)
    with pytest.raises(DiffcamError, match=r"seed: 0 -> 9.*--force") as caught:
        simulate(*place, "--scenes", 2, "--scenes-per-shard", 1, "--seed", 9)
    assert "\n" not in str(caught.value)
    simulate(*place, "--scenes", 2, "--scenes-per-shard", 2, "--seed", 9, "--force")
    assert [path.name for path in tmp_path.glob("*.tar")] == ["scenes-000000.tar"]


@pytest.mark.slow
def test_killed_run_leaves_no_half_shard_and_continues(photo_folder: Path, simulated: Path, tmp_path: Path) -> None:
    program = (
        "import argparse, sys; from diffcam.commands import simulate as command; parser = argparse.ArgumentParser();"
        "command.add_arguments(parser); sys.exit(command.run(parser.parse_args()))"
    )
    script = tmp_path / "run.py"
    script.write_text(f"if __name__ == '__main__':\n    {program}\n")
    output = tmp_path / "out"
    arguments = [photo_folder, "--output", output, *LAYERED, "--workers", "2"]
    run = subprocess.Popen([sys.executable, script, *map(str, arguments)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not list(output.glob("*.tar")) and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    made = hashes(output)
    assert made.items() <= hashes(simulated).items()
    simulate(*arguments)
    assert hashes(output) == hashes(simulated)
    assert not list(output.glob(".*unfinished"))


def test_procedural_scenes_are_of_the_other_kind(tmp_path: Path) -> None:
    simulate("--source", "procedural", "--output", tmp_path, "--size", "64x96", "--scenes", 2, "--workers", 1)
    (first, second) = read_shard(tmp_path / "scenes-000000.tar")
    assert first.kind == second.kind == "ai"
    assert first.image.shape == (3, 64, 96)


def test_whole_surfaces_and_their_lens_pictures(tmp_path: Path) -> None:
    """The pictures in the shard are those of its own surfaces, to the rounding of both."""
    options = ("--size", 64, "--scenes", 2, "--variants", 2, "--quality", 0, "--gamma", 2.2, "--workers", 1)
    output = ("--output", tmp_path, "--surfaces", "--mode", "surfaces")
    assert simulate("--source", "procedural", *options, *output) == 0
    for scene in (scene for path in sorted(tmp_path.glob("*.tar")) for scene in read_shard(path)):
        assert len(scene.surfaces) >= 4
        for variant in scene.variants:
            given = scene.image, scene.disparity, variant.focus_disparity, variant.camera
            exact = BokehRenderer(2.2, mode="surfaces")(*given, surfaces=scene.surfaces)
            assert variant.image is not None
            assert (exact - variant.image).abs().mean() < 1.5 / 255


def test_benchmark_scenes(photo_folder: Path, tmp_path: Path) -> None:
    simulate(photo_folder, "--output", tmp_path, "--size", 96, "--scenes", 2, "--benchmark", "--workers", 1,
             "--attribution", "me, CC0")  # fmt: skip
    for scene in read_shard(tmp_path / "scenes-000000.tar"):
        assert [sample.subtask for sample in scene.samples] == ["refocus"] * 2 + ["add_bokeh"] * 4 + [
            "remove_bokeh"
        ] * 4
        assert scene.metadata["attribution"] == "me, CC0"


@pytest.fixture
def camera_folder(tmp_path: Path) -> Path:
    """Four photos: a good one, one whose map has a NaN, one that is blurred in a region, one without a map."""
    generator = np.random.default_rng(2)
    (tmp_path / "photos").mkdir()
    (tmp_path / "maps").mkdir()
    for name in ("good", "nan", "blurred", "unmapped"):
        pixels = generator.integers(0, 255, (256, 320, 3), dtype=np.uint8)
        if name == "blurred":
            soft = ndimage.gaussian_filter(pixels.astype(float), (3, 3, 0)) - 127
            pixels[64:192, 64:192] = np.clip(127 + 8 * soft, 0, 255)[64:192, 64:192]
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
        disparity = generator.random((256, 320)).astype(np.float32) * 40 + 7
        if name == "nan":
            disparity[3, 4] = np.nan
        if name != "unmapped":
            np.save(tmp_path / "maps" / f"{name}.npy", disparity)
    return tmp_path


def test_photos_with_maps(camera_folder: Path, capsys) -> None:
    options = ("--output", camera_folder / "out", "--source", "camera", "--disparity", camera_folder / "maps")
    simulate(camera_folder / "photos", *options, "--size", 128, "--workers", 1)
    (scene,) = read_shard(camera_folder / "out" / "scenes-000000.tar")
    assert scene.metadata["photo"] == "good.png"
    assert scene.image.shape == (3, 128, 160)
    assert scene.disparity.min() == 0
    assert scene.disparity.max() == 1
    assert scene.source == "camera"
    skipped = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped")]
    assert len(skipped) == 3
    for name, reason in (("nan", "NaN"), ("blurred", "not in focus"), ("unmapped", "no disparity map")):
        assert any(name in line and reason in line for line in skipped)


def test_a_map_that_claims_too_much_is_left_out(camera_folder: Path, capsys) -> None:
    with open(camera_folder / "maps" / "nan.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (200000, 2000000)})
    options = ("--output", camera_folder / "out", "--source", "camera", "--disparity", camera_folder / "maps")
    assert simulate(camera_folder / "photos", *options, "--size", 128, "--workers", 1) == 0
    assert len(list(read_shard(camera_folder / "out" / "scenes-000000.tar"))) == 1
    assert "nan.npy: cannot be read" in capsys.readouterr().err


def test_a_map_of_another_aspect_is_left_out_not_stretched(camera_folder: Path, capsys) -> None:
    np.save(camera_folder / "maps" / "nan.npy", np.random.default_rng(0).random((320, 256)))
    options = ("--output", camera_folder / "out", "--source", "camera", "--disparity", camera_folder / "maps")
    simulate(camera_folder / "photos", *options, "--size", 128, "--workers", 1)
    assert len(list(read_shard(camera_folder / "out" / "scenes-000000.tar"))) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "nan.npy" in line]
    for part in ("skipped", "256x320", "160x128", "EXIF orientation"):
        assert part in line


def test_holes_are_filled_where_asked(camera_folder: Path) -> None:
    options = ("--output", camera_folder / "out", "--source", "phone", "--disparity", camera_folder / "maps")
    simulate(camera_folder / "photos", *options, "--size", 128, "--fill-holes", "--threshold", 0, "--workers", 1)
    scenes = list(read_shard(camera_folder / "out" / "scenes-000000.tar"))
    assert sorted(scene.metadata["photo"] for scene in scenes) == ["blurred.png", "good.png", "nan.png"]


def test_review_writes_a_contact_sheet_and_no_shard(camera_folder: Path, capsys) -> None:
    sheet = camera_folder / "sheet.png"
    simulate(camera_folder / "photos", "--review", sheet)
    assert "3 of 4 photos" in capsys.readouterr().out
    assert Image.open(sheet).size == (4 * 240, 240)
    assert not (camera_folder / "out").exists()


def test_review_of_a_large_folder_shows_those_near_the_threshold(camera_folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(review, "REVIEW_PHOTOS", 2)
    monkeypatch.setattr(command, "REVIEW_PHOTOS", 2)
    sheet = camera_folder / "sheet.png"
    simulate(camera_folder / "photos", "--review", sheet, "--threshold", 0.2)
    printed = capsys.readouterr().out
    assert "3 of 4 photos" in printed
    assert "the 2 nearest" in printed
    shown = np.asarray(Image.open(sheet))
    assert shown.shape == (240, 480, 3)
    assert tuple(shown[1, 360]) == (255, 0, 0)  # the blurred one, which is nearest to the threshold, is shown


def test_every_format_holds_the_largest_review(tmp_path: Path) -> None:
    photo = ("a.jpg", Image.new("RGB", (24, 24)), Sharpness(0.3, torch.full((1, 1), 0.3), 1.0))
    for suffix in WRITABLE_SUFFIXES:
        write_review(tmp_path / f"sheet{suffix}", [photo] * REVIEW_PHOTOS, 0.2)
        assert Image.open(tmp_path / f"sheet{suffix}").size == (1440, 67 * 240)


@pytest.mark.parametrize(
    ("sheet", "message"),
    [("sheet.xyz", "cannot write this format"), ("nowhere/sheet.png", "no folder"), ("old.png", "exists already")],
)
def test_a_review_that_cannot_be_written_is_refused_before_measuring(
    camera_folder: Path, monkeypatch, sheet: str, message: str
) -> None:
    (camera_folder / "old.png").write_bytes(b"mine")
    monkeypatch.setattr(review, "open_photo", None)
    with pytest.raises(DiffcamError, match=message):
        simulate(camera_folder / "photos", "--review", camera_folder / sheet)


def test_photos_that_are_skipped_are_named_by_their_path_in_the_folder(camera_folder: Path, capsys) -> None:
    (camera_folder / "photos" / "more").mkdir()
    (camera_folder / "photos" / "more" / "good.png").write_bytes(b"no picture")
    options = ("--output", camera_folder / "out", "--source", "camera", "--disparity", camera_folder / "maps")
    simulate(camera_folder / "photos", *options, "--size", 128, "--workers", 1)
    assert "skipped: more/good.png: " in capsys.readouterr().err
    simulate(camera_folder / "photos", "--review", camera_folder / "sheet.png")
    assert "left out: more/good.png: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", "--output", "out"), "no such folder"),
        ((".", "--output", "out"), "holds no photo"),
        (("--output", "out"), "needs a folder"),
        ((".", "--output", "out", "--name", "../x"), "--name"),
        ((".", "--output", "out", "--workers", "0"), "--workers"),
        ((".", "--output", "out", "--gamma", "nan"), "--gamma"),
        ((".", "--output", "out", "--threshold", "nan"), "--threshold"),
        ((".", "--review", "sheet.png", "--threshold", "nan"), "--threshold"),
        ((".", "--output", "out", "--benchmark", "--variants", "3"), "--benchmark"),
        ((".", "--output", "out", "--source", "camera"), "holds no photo"),
        (("--output", "file/inside", "--source", "procedural", "--scenes", "1"), "cannot be made"),
        (("--output", "file", "--source", "procedural", "--scenes", "1"), "is a file"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    with pytest.raises(DiffcamError, match=message) as caught:
        simulate(*arguments)
    assert "\n" not in str(caught.value)
    assert not os.path.exists("out")


def test_a_full_disk_is_one_line_and_keeps_what_is_done(photo_folder: Path, tmp_path: Path, monkeypatch) -> None:
    def fail_on_second(path: Path, *arguments: object) -> str:
        if path.name.endswith("1.tar"):
            raise OSError(28, "No space left on device")
        return write_shard(path, *arguments)

    monkeypatch.setattr("diffcam.simulation.jobs.writer.write_shard", fail_on_second)
    options = ("--output", tmp_path, "--size", 64, "--scenes", 2, "--scenes-per-shard", 1, "--workers", 1)
    with pytest.raises(DiffcamError, match=r"scenes-000001.tar: cannot be written \(No space left"):
        simulate(photo_folder, *options)
    assert [shard["name"] for shard in json.loads((tmp_path / "scenes.json").read_text())["shards"]] == [
        "scenes-000000.tar"
    ]


@pytest.mark.parametrize("option", [("--size", "10"), ("--size", "axb"), ("--variants", "500"), ("--variants", "all")])
def test_wrong_values_are_refused_by_the_parser(option) -> None:
    with pytest.raises(SystemExit):
        simulate(".", "--output", "out", *option)
