"""What the README shows is run as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image

from diffcam.commands.cli import run_diffcam

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def photo_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files that the README speaks of."""
    Image.effect_noise((96, 64), 60).convert("RGB").resize((1920, 1280)).save(tmp_path / "photo.jpg")
    Image.linear_gradient("L").resize((1920, 1280)).save(tmp_path / "disparity.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_python_runs(photo_folder: Path) -> None:
    first, second = blocks("python")
    names: dict[str, object] = {}
    exec(first, names)
    assert names["image"].size == (1920, 1280)
    names |= {
        "image": torch.rand(1, 3, 32, 48),
        "disparity": torch.rand(1, 1, 32, 48),
        "focus_disparity": torch.tensor([0.5]),
        "bokeh": torch.tensor([4.0]),
    }
    exec(second, names)
    assert names["blurred"].shape == (1, 3, 32, 48)


@pytest.mark.slow
def test_refocus_commands_run(photo_folder: Path) -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("diffcam refocus")]
    assert len(lines) == 3
    for line in lines:
        assert run_diffcam([*shlex.split(line, comments=True)[1:], "--force"]) == 0
    assert (photo_folder / "photo-refocused.jpg").is_file()


def test_links_lead_somewhere() -> None:
    places = [place for place in re.findall(r"\]\(([^)]+)\)", README) if not place.startswith("http")]
    assert len(places) > 3
    assert [place for place in places if not (Path(__file__).parents[1] / place).exists()] == []


def test_make_targets_exist() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    targets = set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE))
    assert targets >= {"demo", "test"}
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
