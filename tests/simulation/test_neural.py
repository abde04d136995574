"""``diffcam simulate --mode bokehme``: stored renditions are what BokehMe's networks make of the stored scene."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from diffcam.commands import simulate as command
from diffcam.data.shards import read_shard
from diffcam.errors import DiffcamError
from diffcam.pretrained.bokehme import ARNet, BokehMe, IUNet

PROCEDURAL = ("--source", "procedural", "--scenes", 1, "--size", 64, "--workers", 1, "--quality", 0)


def simulate(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


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
def test_what_is_missing_is_one_line(release: Path, tmp_path: Path, monkeypatch, options, message) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DiffcamError, match=message) as caught:
        simulate(*PROCEDURAL, *options, "--output", "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
