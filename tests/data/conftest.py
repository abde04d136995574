from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from diffcam.camera import Camera
from diffcam.data import Sample, Scene, Variant, write_shard

MakeScene = Callable[..., Scene]


def _make_scene(
    key: str, kind: str = "photo", height: int = 24, width: int = 32, variants: int = 0, samples: bool = False
) -> Scene:
    """A scene of noise on a disparity ramp, different for each key; stored variants are flat, of level index + 1."""
    generator = torch.Generator().manual_seed(sum(map(ord, key)))
    image = torch.rand(3, height, width, generator=generator)
    disparity = torch.linspace(0, 1, width).expand(1, height, width).contiguous()
    stored = tuple(
        Variant(Camera((0.5, 0.5), index + 1.0), index % 3 / 2, torch.full((3, height, width), (index + 1) / 255))
        for index in range(variants)
    )
    benchmark = (
        Sample("refocus", 0, 1, Camera((0.6, 0.5), 2.0)),
        Sample("add_bokeh", None, 0, Camera((0.1, 0.5), 1.0)),
        Sample("remove_bokeh", 0, None, Camera((0.5, 0.5), 0.0)),
    )
    return Scene(key, image, disparity, "layered", kind, stored, benchmark if samples else (), {"licence": "CC0-1.0"})


@pytest.fixture(scope="session")
def make_scene() -> MakeScene:
    return _make_scene


@pytest.fixture(scope="session")
def mixed_shards(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Pattern of five shards, 11 photos and 7 AI scenes."""
    folder: Path = tmp_path_factory.mktemp("mixed")
    kinds = ["photo"] * 11 + ["ai"] * 7
    scenes = [_make_scene(f"{number:06d}", kind) for number, kind in enumerate(kinds)]
    for shard in range(5):
        write_shard(folder / f"train-{shard:03d}.tar", scenes[shard::5], image_format="png")
    return str(folder / "train-{000..004}.tar")
