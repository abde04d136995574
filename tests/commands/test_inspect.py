"""``diffcam inspect`` counts what is there, draws it, and names what is damaged."""

from __future__ import annotations

import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam.camera import Camera
from diffcam.commands import inspect as inspection
from diffcam.data.schema import Scene, Variant
from diffcam.data.shards import write_shard
from diffcam.errors import DiffcamError
from tests.command import run_command

inspect = partial(run_command, inspection)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    image = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
    disparity = torch.linspace(0, 1, 60)[None, None].repeat(1, 40, 1)
    variants = (Variant(Camera((0.5, 0.5), 7), 0.5, torch.ones(3, 40, 60)), Variant(Camera((0, 0), 7), 0.0))
    scenes = [Scene(f"{i}", image, disparity, "camera" if i else "phone", "photo", variants) for i in range(3)]
    write_shard(tmp_path / "a.tar", scenes)
    return tmp_path / "a.tar"


def test_statistics_and_sheet(shard: Path, tmp_path: Path, capsys) -> None:
    assert inspect(shard, "--sheet", tmp_path / "sheet.png") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "scenes: 3" in lines
    assert "source: phone (1), camera (2)" in lines
    assert "size: 60x40 (3)" in lines
    assert "level: 7 (6)" in lines
    assert "focus plane: 0.00 (3), 0.50 (3)" in lines
    assert "variants: 6, 3 of them stored" in lines
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] % (3 * 160) == 0  # image, disparity, one stored rendition
    assert (sheet[30, 325:345] == 255).all()  # the white rendition


def test_damage_is_named_and_the_rest_counted(shard: Path, capsys) -> None:
    with open(shard, "r+b") as file:
        file.truncate(int(shard.stat().st_size * 0.4))
    assert inspect(shard, "--no-sheet") == 1
    captured = capsys.readouterr()
    assert "scenes: 1" in captured.out
    assert "a.tar" in captured.err


def test_what_is_no_scene_is_named_and_is_no_damage(shard: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "readme.txt").write_text("who made this")
    with tarfile.open(shard, "a") as tar:
        tar.add(tmp_path / "readme.txt", "readme.txt")
    assert inspect(shard, "--no-sheet") == 0
    captured = capsys.readouterr()
    assert "scenes: 3" in captured.out
    assert "foreign: " in captured.err
    assert "readme.txt" in captured.err


def test_a_sheet_is_not_overwritten(shard: Path, tmp_path: Path) -> None:
    (tmp_path / "sheet.png").write_text("mine")
    with pytest.raises(DiffcamError, match="exists already"):
        inspect(shard, "--sheet", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_text() == "mine"
    assert inspect(shard, "--sheet", tmp_path / "sheet.png", "--force") == 0


def test_no_shard_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DiffcamError, match="no such shard"):
        inspect(tmp_path / "none.tar")
