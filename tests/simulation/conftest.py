"""Folders of photos that several tests simulate from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos of coloured noise in two folders, one damaged file, one that is too small, one that is no photo."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(5)
    (folder / "more").mkdir()
    for number, (height, width) in enumerate([(140, 160), (150, 150), (130, 200), (200, 130)]):
        tint = generator.integers(60, 255, 3)
        pixels = (generator.random((height, width, 1)) * tint).astype(np.uint8)
        Image.fromarray(pixels).save(folder / ("more" if number % 2 else ".") / f"photo{number}.jpg", quality=95)
    whole = (folder / "photo0.jpg").read_bytes()
    (folder / "damaged.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (30, 500)).save(folder / "small.png")
    (folder / "notes.txt").write_text("no photo")
    return folder
