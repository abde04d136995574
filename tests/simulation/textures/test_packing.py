"""Photos shrunk to a limit, through the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffcam.commands.cli import run_diffcam
from diffcam.errors import DiffcamError
from diffcam.simulation.textures.packing import SHORT_SIDES, pack_photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos" / "deep"
    folder.mkdir(parents=True)
    for number, size in enumerate([(600, 800), (900, 500), (300, 200)]):
        Image.effect_noise(size, 60).convert("RGB").save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_takes_the_largest_size_that_fits(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole"
    assert pack_photos(photos, whole, 100.0, log=sys.stderr) == SHORT_SIDES[0]
    assert [Image.open(path).size for path in sorted(whole.iterdir())] == [(600, 800), (900, 500), (300, 200)]
    size = sum(path.stat().st_size for path in whole.iterdir())

    packed = tmp_path / "packed"
    assert run_diffcam(["photos", str(photos), str(packed), "--megabytes", str(0.5 * size / 1e6)]) == 0
    files = sorted(packed.iterdir())
    assert sum(path.stat().st_size for path in files) <= 0.5 * size
    side = max(min(Image.open(path).size) for path in files)
    assert f"short side up to {side} pixels" in capsys.readouterr().out
    larger = SHORT_SIDES[SHORT_SIDES.index(side) - 1]
    with pytest.raises(DiffcamError, match="is there already"):
        pack_photos(photos, packed, 1.0, log=sys.stderr)
    assert pack_photos(photos, tmp_path / "just", _bytes_at(photos, tmp_path, larger) / 1e6, log=sys.stderr) == larger
    assert (
        pack_photos(photos, tmp_path / "short", (_bytes_at(photos, tmp_path, larger) - 1) / 1e6, log=sys.stderr) == side
    )
    assert np.asarray(Image.open(files[2]).convert("L")).std() > 10


def _bytes_at(photos: Path, tmp_path: Path, side: int) -> int:
    """Bytes of the photos as JPEG at a short side, made by hand."""
    total = 0
    for path in sorted(photos.rglob("*.png")):
        image = Image.open(path)
        scale = min(1.0, side / min(image.size))
        if scale < 1:
            size = (round(image.width * scale), round(image.height * scale))
            image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        image.save(tmp_path / "one.jpg", quality=85, optimize=True)
        total += (tmp_path / "one.jpg").stat().st_size
    return total


def test_says_what_does_not_fit(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DiffcamError, match=r"3 photos do not fit into 0\.0001 MB"):
        pack_photos(photos, tmp_path / "packed", 1e-4, log=sys.stderr)
    assert not (tmp_path / "packed").exists()
